"""Where columns lie and how far they spread: weighted means and squares that add up over rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.typing import Mask, Rows, Vector

__all__ = ["Spread", "rounded"]

_AT_ONCE = 2**17  # values: they stay in cache between the mean and the squares around it

_AT_ONCE_SPARSE = 2**20  # values stored

_VALUES_OF_COLUMN = 16  # to put two parts together takes as long for a column

_NOISE = (64.0 * np.finfo(float).eps) ** 2
"""A column that spreads less than 64 roundings of its mean is taken for a constant: squared."""


_FAR = 30.0
"""So many of its deviations from zero is far for a column. To measure nearer ones from zero costs a
model without an intercept some rounds at most, and leaves indicators as they are."""

_ALIKE = 1e-9
"""How much shares of rows, and squares of indicators, may differ by rounding."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Weight, mean and sum of squared deviations of each column of some rows.

    Parameters
    ----------
    weight : float
        Sum of the rows' weights.
    mean : ndarray of shape (n_columns,)
        Weighted mean of each column.
    squares : ndarray of shape (n_columns,)
        Weighted sum of the squared deviations from it.
    present : ndarray of shape (n_columns,)
        Weight of the rows in which the column is not 0.

    References
    ----------
    .. [1] Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance: Analysis and
       Recommendations", The American Statistician 37, 1983 (how the sums of parts are put together
       without cancellation).

    Examples
    --------
    >>> rows = 1e9 + np.array([[1.0], [2.0], [3.0]])
    >>> whole = Spread.of(rows[:1]) + Spread.of(rows[1:])
    >>> whole.mean - 1e9, whole.squares
    (array([2.]), array([2.]))
    """

    weight: float
    mean: Vector
    squares: Vector
    present: Vector

    @classmethod
    def of(cls, X: Rows, sample_weight: Vector | None = None) -> Spread:
        """Return the spread of some rows.

        Parameters
        ----------
        X : ndarray, anything that gives slices of rows, or csr_array of shape (n_rows, n_columns)
            The rows.
        sample_weight : ndarray of shape (n_rows,), optional
            None means one for every row.
        """
        n_rows, n_columns = X.shape
        weight = np.ones(n_rows) if sample_weight is None else sample_weight
        nothing = cls(0.0, *np.zeros((3, n_columns)))
        with np.errstate(over="ignore", invalid="ignore"):  # huge values are then of no help
            n_stored = getattr(X, "nnz", None)  # of sparse rows, wherever they lie
            if n_stored is None:
                of_part, step = _of_dense, _AT_ONCE // max(n_columns, 1)
            else:
                least = max(_AT_ONCE_SPARSE, _VALUES_OF_COLUMN * n_columns)
                of_part, step = _of_sparse, n_rows * least // max(n_stored, 1)
            starts = range(0, n_rows, max(1, step))
            parts = (of_part(X[i : i + step], weight[i : i + step]) for i in starts)
            return reduce(Spread.__add__, parts, nothing)

    def __add__(self, other: Spread) -> Spread:
        """Return the spread of the rows of both."""
        if not self.weight:
            return other
        weight = self.weight + other.weight
        with np.errstate(over="ignore", invalid="ignore"):
            apart = other.mean - self.mean
            mean = self.mean + apart * (other.weight / weight)
            between = apart * apart * (self.weight * other.weight / weight)
            squares = self.squares + other.squares + between
        return Spread(weight, mean, squares, self.present + other.present)

    def widened(self, columns: NDArray[np.integer[Any]], n_columns: int) -> Spread:
        """Return the same among more columns, the others of which are zero.

        Parameters
        ----------
        columns : ndarray of int
            Which of them these are.
        n_columns : int
            How many there are.
        """
        wide = np.zeros((3, n_columns))
        wide[:, columns] = self.mean, self.squares, self.present
        return Spread(self.weight, *wide)

    def deviation(self, *, centred: bool) -> Vector:
        """Return how far each column spreads: around its mean, or around zero.

        A column that is constant spreads as far as it is from zero, and one of zeros by 1, so that
        one can divide by it. Rounded as by :func:`rounded`.

        Parameters
        ----------
        centred : bool
            Around the mean.
        """
        size, around = self._size_and_squares()
        with np.errstate(over="ignore", invalid="ignore"):
            spread = np.where((around > _NOISE * size) & centred, around, around + size)
            found = np.sqrt(spread)
        return rounded(np.where(np.isfinite(found) & (found > 0.0), found, 1.0))

    @property
    def far(self) -> Mask:
        """Which columns are so far from zero that it is no place to measure their values from."""
        return np.abs(self.mean) > _FAR * self.deviation(centred=True)

    @property
    def constant(self) -> Mask:
        """Which columns have one value, not zero, in all rows."""
        size, around = self._size_and_squares()
        return (around <= _NOISE * size) & (size > 0.0)

    @property
    def adding_up_to_one(self) -> Vector | None:
        """Coefficients with which indicators side by side add up to one, as dummies do, or None.

        Told by the shares of the rows that have them: that these are in all 1 by chance is as
        likely as that one row in so many is another.
        """
        share = self.present / (self.weight or 1.0)
        size, around = self._size_and_squares()
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.abs(around * share - size * (1.0 - share))
            is_one = apart <= _ALIKE * size  # or nowhere: a category that no row has
        ends = np.cumsum(np.append(0.0, np.where(is_one, share, 2.0)))
        last = np.searchsorted(ends, ends + (1.0 - _ALIKE))
        gap = np.append(ends, np.inf)[last] - ends - 1.0
        found = np.flatnonzero((np.abs(gap) <= _ALIKE) & (last > np.arange(len(ends)) + 1))
        if not len(found):
            return None
        one = np.zeros(len(share))
        some = slice(found[0], last[found[0]])
        one[some] = share[some] / np.where(share[some] > 0.0, self.mean[some], 1.0)
        return one

    def _size_and_squares(self) -> tuple[Vector, Vector]:
        """Return the squared mean and the mean square around it, of the rows that are not zero."""
        with np.errstate(over="ignore", invalid="ignore"):
            weight = np.where(self.present > 0.0, self.present, 1.0)
            size = self.mean * self.mean * ((self.weight or 1.0) / weight)
            return size, self.squares / weight


def rounded(x: Vector) -> Vector:
    """Return numbers to 24 bits.

    However rows are cut into chunks, what is so rounded is the same, but for rare ties.

    Examples
    --------
    >>> rounded(np.array([0.1 + 0.2, 0.3])).tolist() == [0.30000001192092896] * 2
    True
    """
    mantissa, exponent = np.frexp(x)
    found: Vector = np.ldexp(np.rint(mantissa * 2.0**24), exponent - 24)
    return found


def _of_dense(X: Any, weight: Vector) -> Spread:
    rows = np.asarray(X, dtype=np.float64)
    total = float(weight.sum())
    if not total:
        return Spread(0.0, *np.zeros((3, rows.shape[1])))
    # The first pass's mean is off by its rounding; around it the second pass sees the rest.
    rough = (weight @ rows) / total
    apart = rows - rough
    rest = (weight @ apart) / total
    apart *= apart
    squares = np.maximum(weight @ apart - total * rest * rest, 0.0)
    return Spread(total, rough + rest, squares, weight @ (rows != 0.0))


def _of_sparse(X: Any, weight: Vector) -> Spread:
    n_columns = X.shape[1]
    total = float(weight.sum())
    stored = np.repeat(weight, np.diff(X.indptr))
    values = X.data.astype(np.float64)

    def by_column(numbers: Vector) -> Vector:
        return np.bincount(X.indices, numbers, n_columns).astype(np.float64)

    mean = by_column(stored * values) / (total or 1.0)
    apart = values - mean[X.indices]
    absent = np.maximum(total - by_column(stored), 0.0)  # the weight of zeros that are not stored
    squares = by_column(stored * apart * apart) + absent * mean * mean
    return Spread(total, mean, squares, by_column(stored * (values != 0.0)))
