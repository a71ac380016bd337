"""Cheap sums by which a data set is known again, however it is cut into chunks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_gradcode.typing import Rows, Vector

__all__ = ["Moments", "as_numbers", "project"]

ROUNDING = 1e-12
"""How far sums of the same rows may be apart, relative to the sum of absolute values."""

_AT_ONCE = 1024  # rows: float32 is not copied to float64 as a whole


@dataclass(frozen=True)
class Moments:
    """The sum of one number per row, and of each times its place: they add up over chunks.

    Parameters
    ----------
    n_rows : int
        Rows.
    total, moment, size : float
        The sum of the numbers, of the numbers times their row's index, of their absolute values.

    Examples
    --------
    >>> rows = np.array([1.0, -2.0, 4.0])
    >>> Moments.of(rows[:1]) + Moments.of(rows[1:])
    Moments(n_rows=3, total=3.0, moment=6.0, size=7.0)
    """

    n_rows: int = 0
    total: float = 0.0
    moment: float = 0.0
    size: float = 0.0

    @classmethod
    def of(cls, numbers: Vector) -> Moments:
        """Return the sums of the numbers of some rows."""
        n_rows = len(numbers)
        with np.errstate(all="ignore"):  # sums of huge numbers overflow, and are then no help
            moment = float((np.arange(n_rows) * numbers).sum())
            return cls(n_rows, float(numbers.sum()), moment, float(np.abs(numbers).sum()))

    def __add__(self, below: Moments) -> Moments:
        """Return the sums of these rows and of those that come after them."""
        return Moments(
            self.n_rows + below.n_rows,
            self.total + below.total,
            self.moment + below.moment + self.n_rows * below.total,
            self.size + below.size,
        )

    def matches(self, other: Moments) -> bool:
        """Say whether both are sums of the same rows in the same order, to within rounding."""
        apart = ROUNDING * max(self.size, other.size)
        differ = (
            self.n_rows != other.n_rows
            or abs(self.total - other.total) > apart
            or abs(self.moment - other.moment) > apart * self.n_rows
        )
        return not differ


def project(X: Rows) -> Vector:
    """Return one number per row that depends on each of its features and on their order.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_rows, n_features)
        Rows.
    """
    direction = np.cos(np.arange(X.shape[1], dtype=float))
    numbers = np.empty(X.shape[0])
    with np.errstate(all="ignore"):
        for start in range(0, X.shape[0], _AT_ONCE):
            numbers[start : start + _AT_ONCE] = X[start : start + _AT_ONCE] @ direction
    return numbers


def as_numbers(y: Any) -> Vector:
    """Return targets as numbers; any others are hashed, equally in every process.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        Targets.

    Examples
    --------
    >>> as_numbers(np.array([True, False]))
    array([1., 0.])
    """
    if y.dtype.kind in "biuf":
        return np.asarray(y, dtype=np.float64)
    labels, index = np.unique(y, return_inverse=True)
    hashes = [zlib.crc32(str(label).encode()) / 2**32 for label in labels]
    return np.array(hashes, dtype=np.float64)[index]
