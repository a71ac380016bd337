"""Arrays that are added up in pairs."""

from __future__ import annotations

import numpy as np

from dask_gradcode.typing import Vector

__all__ = ["Pairs"]


class Pairs:
    """The sum of some arrays, always added in the same order, in whichever order they come.

    Parameters
    ----------
    n : int
        How many arrays. At least one.
    unused : list of ndarray, optional
        Arrays that may be written to: taken from it, and put back once they have been added.

    Examples
    --------
    >>> pairs = Pairs(3)
    >>> for place in (2, 0, 1):
    ...     total = pairs.put(place, np.array([10.0**place]))
    >>> total
    array([111.])
    """

    def __init__(self, n: int, unused: list[Vector] | None = None) -> None:
        self._n, self._there = n, dict[int, Vector]()
        self._unused = [] if unused is None else unused

    def room(self, size: int) -> Vector:
        """Return an array that may be written to.

        Parameters
        ----------
        size : int
            Its number of entries.
        """
        while self._unused:
            array = self._unused.pop()
            if array.size == size:
                return array
        return np.empty(size)

    def put(self, place: int, array: Vector) -> Vector | None:
        """Take in an array, and return the sum once all are there.

        Parameters
        ----------
        place : int
            Which of the ``n`` it is, from zero.
        array : ndarray of shape (n_entries,)
            Written to.
        """
        node = self._n + place  # of a heap: node k is the sum of nodes 2 k and 2 k + 1
        while (other := self._there.pop(node ^ 1, None)) is not None:
            left, right = (other, array) if node % 2 else (array, other)
            left += right
            self._unused.append(right)
            node, array = node // 2, left
        if node == 1:
            return array
        self._there[node] = array
        return None
