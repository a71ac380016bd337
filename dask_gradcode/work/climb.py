"""A message on its way: computed leaf by leaf, and added up its tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import Forest, leaves
from dask_gradcode.typing import Vector

__all__ = ["Climb", "compute_message"]


class Climb:
    """What there is of a message that is being computed.

    Most messages have no children: they are their own only leaf.

    Parameters
    ----------
    code : GradientCode
        Says which messages are children of which.
    message : int
        What is wanted, by its index in ``code.messages``.
    spare : list of ndarray of shape (n_entries,), optional
        Arrays that may be written to: taken from it, and put back once they have been added.

    Attributes
    ----------
    message : int
        What is wanted; less after ``cut``.
    running : int or None
        The leaf that is next, None once all are there.

    Examples
    --------
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> climb = Climb(DeclusteredRepetition(2, 1, n_leaves=4), message=0)
    >>> for value in (1.0, 2.0, 4.0):
    ...     climb.take(np.array([value]))
    >>> climb.cut()
    {1: array([3.]), 5: array([4.])}
    >>> climb.message, climb.running
    (6, 6)
    >>> climb.take(np.array([8.0]))
    >>> climb.running, climb.payload
    (None, array([8.]))
    """

    def __init__(self, code: GradientCode, message: int, spare: list[Vector] | None = None) -> None:
        self.message = message
        self._spare: list[Vector] = [] if spare is None else spare
        self._sums = Forest(code, self._added, message)
        self._leaves = leaves(code, message)
        self.running: int | None = next(self._leaves)

    @property
    def payload(self) -> Vector:
        """The message's payload, once nothing is running."""
        return self._sums.sums[self.message]

    def room(self, size: int) -> Vector:
        """Return an array for the next leaf's payload."""
        while self._spare:
            array = self._spare.pop()
            if array.size == size:
                return array
        return np.empty(size)

    def take(self, payload: Vector) -> None:
        """Take in the payload of the leaf that was running."""
        assert self.running is not None
        self._sums.put(self.running, payload)
        self.running = next(self._leaves, None)

    def finish(self, compute: Callable[[int], Vector | None]) -> Vector | None:
        """Compute all leaves that are left, and return the message's payload.

        Parameters
        ----------
        compute : callable
            ``compute(leaf)`` returns the payload of a message without children, which is then
            written to; or None if told to stop.

        Returns
        -------
        ndarray of shape (n_entries,) or None
            None if told to stop.
        """
        while self.running is not None:
            payload = compute(self.running)
            if payload is None:
                return None
            self.take(payload)
        return self.payload

    def cut(self) -> dict[int, Vector]:
        """Want no more than the leaf that is running, and return all that is there.

        Returns
        -------
        dict of int to ndarray
            The largest sums, by message.
        """
        assert self.running is not None
        there = self._sums.clear()
        self.message, self._leaves = self.running, iter(())
        return there

    def _added(self, left: Vector, right: Vector) -> Vector:
        left += right
        self._spare.append(right)
        return left


def compute_message(
    code: GradientCode, message: int, compute: Callable[[int], Vector | None]
) -> Vector | None:
    """Compute the payload of a message, leaf by leaf.

    Parameters
    ----------
    code : GradientCode
        Says which messages are children of which.
    message : int
        Its index in ``code.messages``.
    compute : callable
        As for :meth:`Climb.finish`.

    Returns
    -------
    ndarray of shape (n_entries,) or None
        None if told to stop.

    Examples
    --------
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> code = DeclusteredRepetition(2, 1, n_leaves=2)
    >>> compute_message(code, 3, lambda leaf: np.array([float(leaf)]))
    array([9.])
    """
    return Climb(code, message).finish(compute)
