"""Dense rows in several arrays, one after another: a matrix that was never copied together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dask_gradcode.typing import Matrix

__all__ = ["StackedRows", "within"]


def within(ends: Sequence[int], start: int, stop: int) -> list[tuple[int, int, int]]:
    """Return where rows are that lie in parts one after another: in which, and from where to where.

    Parameters
    ----------
    ends : sequence of int
        Where each part ends.
    start, stop : int
        Which rows.

    Examples
    --------
    >>> within([2, 5, 9], 1, 6)
    [(0, 1, 2), (1, 0, 3), (2, 0, 1)]
    """
    found = []
    for k, (begin, end) in enumerate(pairwise([0, *ends])):
        first, last = max(start, begin), min(stop, end)
        if first < last:
            found.append((k, first - begin, last - begin))
    return found


class StackedRows:
    """A matrix whose rows lie in several arrays.

    Chunks that come to a worker stay where they lie: copying them together would take as long as
    their way there, and twice the memory.

    Parameters
    ----------
    parts : sequence of ndarray of shape (n_rows, n_features)
        C-ordered, of one dtype. At least one.

    Examples
    --------
    >>> rows = StackedRows([np.zeros((2, 3)), np.ones((2, 3))])
    >>> rows.shape, rows[1:3]
    ((4, 3), array([[0., 0., 0.],
           [1., 1., 1.]]))
    """

    def __init__(self, parts: Sequence[Matrix]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts]).tolist()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._ends[-1], self._parts[0].shape[1]

    @property
    def dtype(self) -> Any:
        """Of all parts."""
        return self._parts[0].dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self._parts)

    def __getitem__(self, rows: slice) -> Matrix:
        """Return some rows: as they lie where they lie in one part, otherwise copied together."""
        start, stop, _ = rows.indices(self._ends[-1])
        found = self._views(start, stop)
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else self._parts[0][:0]

    def between(self, start: int, stop: int) -> Matrix | StackedRows:
        """Return rows ``start`` to ``stop``, at least one, as they lie."""
        found = self._views(start, stop)
        return found[0] if len(found) == 1 else StackedRows(found)

    def matrix(self) -> Matrix:
        """Return all rows as one array, which from then on is their only place."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
            self._ends = self._ends[-1:]
        return self._parts[0]

    def _views(self, start: int, stop: int) -> list[Matrix]:
        """Return some rows in as many arrays as they lie in."""
        return [self._parts[k][i:j] for k, i, j in within(self._ends, start, stop)]
