"""A message on its way: computed leaf by leaf, and added up its tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import Forest, leaves
from dask_gradcode.kernels import never, one_blas_thread
from dask_gradcode.typing import Vector
from dask_gradcode.work.crew import ALONE, Crew
from dask_gradcode.work.pairs import Pairs
from dask_gradcode.work.payload import Piece, add_up

__all__ = ["Climb", "compute_message"]


class _Step(NamedTuple):
    leaf: int
    pairs: Pairs  # of the leaf
    place: int  # among them
    piece: Piece


class Climb:
    """What there is of a message that is being computed.

    Most messages have no children: they are their own only leaf. Leaves are begun in order; where
    several threads compute, one may be done before another that was begun earlier.

    Parameters
    ----------
    code : GradientCode
        Says which messages are children of which.
    message : int
        What is wanted, by its index in ``code.messages``.
    unused : list of ndarray of shape (n_entries,), optional
        Arrays that may be written to: taken from it, and put back once they have been added.

    Attributes
    ----------
    message : int
        What is wanted; less after ``cut``.
    running : int or None
        The first leaf that is not there, None once all are.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> climb = Climb(DeclusteredRepetition(2, 1, n_leaves=4), message=0)
    >>> for value in (1.0, 2.0, 4.0):
    ...     climb.take(climb.running, np.array([value]))
    >>> climb.cut()
    {1: array([3.]), 5: array([4.])}
    >>> climb.message, climb.running
    (6, 6)
    >>> climb.take(6, np.array([8.0]))
    >>> climb.running, climb.payload
    (None, array([8.]))
    """

    def __init__(
        self, code: GradientCode, message: int, unused: list[Vector] | None = None
    ) -> None:
        self.message = message
        self._unused: list[Vector] = [] if unused is None else unused
        self._sums = Forest(code, self._added, message)
        self._left = dict.fromkeys(leaves(code, message))
        self._lock = threading.RLock()
        self.running: int | None = next(iter(self._left))

    @property
    def payload(self) -> Vector:
        """The message's payload, once nothing is running."""
        return self._sums.sums[self.message]

    def take(self, leaf: int, payload: Vector) -> None:
        """Take in the payload of a leaf, unless it is no longer wanted."""
        with self._lock:
            if leaf in self._left:
                self._sums.put(leaf, payload)
                del self._left[leaf]
                self.running = next(iter(self._left), None)

    def finish(
        self,
        cut: Callable[[int], Sequence[Piece]],
        should_stop: Callable[[], bool] = never,
        crew: Crew = ALONE,
    ) -> Vector | None:
        """Compute all leaves that are left, and return the message's payload.

        Parameters
        ----------
        cut : callable
            ``cut(leaf)`` returns the pieces of a message without children.
        should_stop : callable, optional
            Asked by the work, from time to time, on any thread.
        crew : Crew, optional
            The threads that compute. The caller alone if not given.

        Returns
        -------
        ndarray of shape (n_entries,) or None
            None if told to stop.
        """
        if crew.n_threads > 1:
            done = crew.each(self._compute, self._steps(cut), should_stop)
            return self.payload if done else None
        with one_blas_thread():
            while self.running is not None:
                payload = add_up(cut(self.running), self._unused, should_stop)
                if payload is None:
                    return None
                self.take(self.running, payload)
        return self.payload

    def cut(self) -> dict[int, Vector]:
        """Want no more than the first leaf that is not there, and return all that is.

        Returns
        -------
        dict of int to ndarray
            The largest sums, by message. None of them if nothing is left to compute.
        """
        with self._lock:
            if self.running is None:
                return {}
            self.message = self.running
            self._left = {self.message: None}
            return self._sums.clear()

    def _steps(self, cut: Callable[[int], Sequence[Piece]]) -> Iterator[_Step]:
        for leaf in [*self._left]:
            if leaf in self._left:
                pieces = cut(leaf)
                pairs = Pairs(len(pieces), self._unused)
                for place, piece in enumerate(pieces):
                    yield _Step(leaf, pairs, place, piece)

    def _compute(self, step: _Step, should_stop: Callable[[], bool]) -> None:
        leaf, pairs, place, piece = step
        if leaf not in self._left:
            return
        with self._lock:
            out = pairs.room(piece.size)
        with one_blas_thread():  # on each thread, as some builds of BLAS want it
            done = piece.compute(out, lambda: should_stop() or leaf not in self._left)
        if not done:
            self._unused.append(out)
            return
        with self._lock:
            payload = pairs.put(place, out)
            if payload is not None:
                self.take(leaf, payload)

    def _added(self, left: Vector, right: Vector) -> Vector:
        left += right
        self._unused.append(right)
        return left


def compute_message(
    code: GradientCode,
    message: int,
    cut: Callable[[int], Sequence[Piece]],
    should_stop: Callable[[], bool] = never,
    crew: Crew = ALONE,
) -> Vector | None:
    """Compute the payload of a message, leaf by leaf.

    Parameters
    ----------
    code : GradientCode
        Says which messages are children of which.
    message : int
        Its index in ``code.messages``.
    cut : callable
        ``cut(leaf)`` returns the pieces of a message without children.
    should_stop : callable, optional
        Asked by the work, from time to time, on any thread.
    crew : Crew, optional
        The threads that compute. The caller alone if not given.

    Returns
    -------
    ndarray of shape (n_entries,) or None
        None if told to stop.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> from dask_gradcode.work import Block, as_work, pieces_of
    >>> code = DeclusteredRepetition(2, 1, n_leaves=2)
    >>> blocks = {i: Block(np.ones((i, 1)), np.zeros(i)) for i in range(code.n_blocks)}
    >>> work = as_work(lambda w, block: (block.n_rows, w))
    >>> def cut(leaf):
    ...     return pieces_of(code, code.messages[leaf], blocks, work, np.array([0.5]))
    >>> compute_message(code, 3, cut)
    array([5., 1.])
    """
    return Climb(code, message).finish(cut, should_stop, crew)
