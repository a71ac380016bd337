"""The one thing that workers do in a round, the same on all of them and in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.kernels import never, one_blas_thread
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work

__all__ = ["compute_payload"]


def compute_payload(
    code: GradientCode,
    message: Message,
    blocks: Mapping[int, Block],
    work: Work,
    w: Vector,
    should_stop: Callable[[], bool] = never,
    out: Vector | None = None,
) -> Vector | None:
    """Compute the payload of one message.

    Parameters
    ----------
    code : GradientCode
        Says how blocks are combined.
    message : Message
        Which blocks, with which coefficients.
    blocks : mapping of int to Block
        The blocks that this worker holds.
    work : Work
        What to compute on each block.
    w : ndarray of shape (n_parameters,)
        The point.
    should_stop : callable, optional
        Asked by the work, from time to time.
    out : ndarray of shape (work.statistic(w).size,), optional
        Where to put the payload. None: a new array.

    Returns
    -------
    ndarray of shape (work.statistic(w).size,) or None
        The sum of what the work computes on each block, times the block's coefficient; None if
        told to stop.

    Raises
    ------
    Exception
        Whatever the work raises, with a note that names the block.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.work import as_work
    >>> code = FractionalRepetition(2, 1)
    >>> blocks = {i: Block(np.full((1, 1), float(i)), np.zeros(1)) for i in range(2)}
    >>> def square(w, block):
    ...     return float(w @ w), 2 * w
    >>> compute_payload(code, code.messages[0], blocks, as_work(square), np.array([3.0]))
    array([18., 12.])
    """
    total = np.empty(work.statistic(w).size) if out is None else out
    total[:] = 0.0
    wanted = True

    def add(index: int, coefficient: float) -> None:
        nonlocal wanted
        if not wanted:
            return
        try:
            wanted = work.add(blocks[index], w, coefficient, total, should_stop)
        except Exception as error:
            error.add_note(f"while computing block {index}")
            raise

    with one_blas_thread():
        code.encode(message, add)
    return total if wanted else None
