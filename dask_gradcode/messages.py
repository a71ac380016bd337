"""What a worker computes: the payload of one message from its blocks, the code and ``w``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.kernels import add_value_and_gradient, never, one_blas_thread
from dask_gradcode.losses import Loss
from dask_gradcode.typing import Rows, Vector

__all__ = ["Block", "BlockFunction", "Work", "compute_payload"]


@dataclass(frozen=True)
class Block:
    """Some rows of the data set: what a block function sees.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
        The features.
    y : ndarray of shape (n_rows,)
        The targets; labels that are not numbers are placed as their index in the sorted labels.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.

    Examples
    --------
    >>> block = Block(np.ones((3, 2)), np.zeros(3))
    >>> block.n_rows, block.nbytes
    (3, 72)
    """

    X: Rows
    y: Any
    sample_weight: Vector | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        X = self.X
        parts = [X.data, X.indices, X.indptr] if issparse(X) else [X]
        parts += [self.y] if self.sample_weight is None else [self.y, self.sample_weight]
        return sum(int(part.nbytes) for part in parts)


BlockFunction = Callable[[Vector, Block], tuple[float, Vector]]
"""``(w, block) -> (value, gradient)``, each a sum over the rows of the block."""

Work = Loss | BlockFunction
"""What to compute on a block: a loss of a linear model, or any function of one's own."""


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
    work : Loss or callable
        What to compute on each block.
    w : ndarray of shape (n_parameters,)
        The point.
    should_stop : callable, optional
        Asked between chunks of rows, or between blocks for a block function.
    out : ndarray of shape (1 + n_parameters,), optional
        Where to put the payload. None: a new array.

    Returns
    -------
    ndarray of shape (1 + n_parameters,) or None
        ``sum_j coefficient_j * [value_j(w), gradient_j(w)]``, or None if told to stop.

    Raises
    ------
    Exception
        Whatever the loss or block function raises, with a note that names the block.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> code = FractionalRepetition(2, 1)
    >>> blocks = {i: Block(np.full((1, 1), float(i)), np.zeros(1)) for i in range(2)}
    >>> def square(w, block):
    ...     return float(w @ w), 2 * w
    >>> compute_payload(code, code.messages[0], blocks, square, np.array([3.0]))
    array([18., 12.])
    """
    total = np.empty(1 + w.size) if out is None else out
    total[:] = 0.0
    wanted = True

    def add(index: int, coefficient: float) -> None:
        nonlocal wanted
        if not wanted:
            return
        block = blocks[index]
        try:
            if isinstance(work, Loss):
                wanted = add_value_and_gradient(
                    work, block.X, block.y, block.sample_weight, w, coefficient, total, should_stop
                )
            elif should_stop():
                wanted = False
            else:
                value, gradient = work(w, block)
                total[0] += coefficient * value
                total[1:] += coefficient * np.asarray(gradient).reshape(w.size)
        except Exception as error:
            error.add_note(f"while computing block {index}")
            raise

    with one_blas_thread():
        code.encode(message, add)
    return total if wanted else None
