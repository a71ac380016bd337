"""The one thing that workers do in a round, the same on all of them and in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.kernels import never, one_blas_thread
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work
from dask_gradcode.work.pairs import Pairs

__all__ = ["Piece", "add_up", "compute_payload", "pieces_of"]


class Piece(NamedTuple):
    """A part of a message that has an array of its own, so that it can be computed apart.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,)
        The point.
    size : int
        Entries of a payload.
    sums : sequence of tuple
        What is added up in the array: a block's index, the block, its coefficient, and the work.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.work import as_work
    >>> block, out = Block(np.array([[1.0], [3.0]]), np.zeros(2)), np.empty(2)
    >>> piece = Piece(np.ones(1), out.size, [(0, block, 2.0, as_work(Squared()))])
    >>> piece.compute(out, lambda: False), out
    (True, array([10., 20.]))
    """

    w: Vector
    size: int
    sums: Sequence[tuple[int, Block, float, Work]]

    def compute(self, out: Vector, should_stop: Callable[[], bool]) -> bool:
        """Compute the piece, with as many BLAS threads as are set: let it be one.

        Parameters
        ----------
        out : ndarray of shape (size,)
            Where to put it.
        should_stop : callable
            Asked by the work, from time to time.

        Returns
        -------
        bool
            False if told to stop: ``out`` is then of no use.

        Raises
        ------
        Exception
            Whatever the work raises, with a note that names the block.
        """
        out[:] = 0.0
        for index, block, coefficient, work in self.sums:
            try:
                block = block.loaded() if work.is_foreign else block
                if not work.add(block, self.w, coefficient, out, should_stop):
                    return False
            except Exception as error:
                error.add_note(f"while computing block {index}")
                raise
        return True


def pieces_of(
    code: GradientCode, message: Message, blocks: Mapping[int, Block], work: Work, w: Vector
) -> list[Piece]:
    """Return the pieces of a message, which :class:`Pairs` adds up.

    What they are depends on the data alone. Hence so do the bits of their sum, on any worker and
    any number of threads. A block of which the work has several parts has a piece for each,
    and so has a block on which a user's code is called. All others share one: to add up arrays
    would take longer than to compute them.

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

    Returns
    -------
    list of Piece
        In the order in which they are begun.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.work import as_work
    >>> code, work = FractionalRepetition(2, 1), as_work(Logistic())
    >>> small, large = (Block(np.ones((n, 100)), np.zeros(n)) for n in (20, 20_000))
    >>> w = np.zeros(100)
    >>> len(pieces_of(code, code.messages[0], {0: small, 1: small}, work, w))
    1
    >>> len(pieces_of(code, code.messages[0], {0: small, 1: large}, work, w))
    3
    """
    together: list[tuple[int, Block, float, Work]] = []
    apart: list[tuple[int, Block, float, Work]] = []

    def add(index: int, coefficient: float) -> None:
        block = blocks[index]
        parts = work.parts(block, w)
        where = apart if work.is_foreign or len(parts) > 1 else together
        where.extend((index, block, coefficient, part) for part in parts)

    code.encode(message, add)
    size = work.statistic(w).size
    pieces = [Piece(w, size, [one]) for one in apart]
    return [*pieces, Piece(w, size, together)] if together else pieces


def compute_payload(
    code: GradientCode,
    message: Message,
    blocks: Mapping[int, Block],
    work: Work,
    w: Vector,
    should_stop: Callable[[], bool] = never,
) -> Vector | None:
    """Compute the payload of one message, on this thread.

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
    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.work import as_work
    >>> code = FractionalRepetition(2, 1)
    >>> blocks = {i: Block(np.full((1, 1), float(i)), np.zeros(1)) for i in range(2)}
    >>> def square(w, block):
    ...     return float(w @ w), 2 * w
    >>> compute_payload(code, code.messages[0], blocks, as_work(square), np.array([3.0]))
    array([18., 12.])
    """
    with one_blas_thread():
        return add_up(pieces_of(code, message, blocks, work, w), [], should_stop)


def add_up(
    pieces: Sequence[Piece], unused: list[Vector], should_stop: Callable[[], bool]
) -> Vector | None:
    """Compute pieces one after another, and return their sum; None if told to stop.

    Parameters
    ----------
    pieces : sequence of Piece
        All of a message.
    unused : list of ndarray
        As for :class:`Pairs`.
    should_stop : callable
        As for :meth:`Piece.compute`.
    """
    pairs, total = Pairs(len(pieces), unused), None
    for place, piece in enumerate(pieces):
        out = pairs.room(piece.size)
        if not piece.compute(out, should_stop):
            unused.append(out)
            return None
        total = pairs.put(place, out)
    return total
