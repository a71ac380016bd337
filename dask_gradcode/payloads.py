"""What a message carries, and where: no other module knows the layout of a payload.

A payload is one vector, because that is what codes add and what travels. It has *sections*: today
the value, the gradient and, where a round is of second order, the upper triangle of the Hessian. A
section is read and written through :class:`Statistic` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.typing import Matrix, Vector

__all__ = ["Statistic", "slice_of"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """What is summed over rows: a value, then its gradient, then perhaps its Hessian.

    Of the Hessian, which is symmetric, there are the rows of its upper triangle, one after the
    other.

    Parameters
    ----------
    n_parameters : int
        Entries of the gradient.
    order : {1, 2}, default=1
        Up to which order there are derivatives: 2 is with a Hessian.

    Examples
    --------
    >>> statistic = Statistic(n_parameters=3)
    >>> payload = np.zeros(statistic.size)
    >>> statistic.value(payload)[()] = 7.0
    >>> statistic.gradient(payload)[:] = [1.0, 2.0, 3.0]
    >>> payload
    array([7., 1., 2., 3.])
    """

    n_parameters: int
    order: int = 1

    @classmethod
    def at(cls, w: Vector, order: int = 1) -> Statistic:
        """Return what there is of a function with one value at a point.

        Parameters
        ----------
        w : ndarray of shape (n_parameters,)
            The point.
        order : {1, 2}, default=1
            Up to which order there are derivatives.
        """
        return cls(w.size, order)

    @property
    def size(self) -> int:
        """Length of a payload."""
        p = self.n_parameters
        return 1 + p + (p * (p + 1) // 2 if self.order > 1 else 0)

    def value(self, payload: Vector) -> Vector:
        """Return the view of the value.

        Parameters
        ----------
        payload : ndarray of shape (size,)
            What was summed.

        Returns
        -------
        ndarray of shape ()
            ``view[()] += x`` adds to it, in a tenth of the time of ``view += x``.
        """
        return payload[0, ...]

    def gradient(self, payload: Vector) -> Vector:
        """Return the view of the gradient, of shape (n_parameters,)."""
        return payload[1 : 1 + self.n_parameters]

    def hessian(self, payload: Vector) -> Matrix:
        """Return the Hessian, new and whole.

        Parameters
        ----------
        payload : ndarray of shape (size,)
            What was summed, with a triangle.

        Returns
        -------
        ndarray of shape (n_parameters, n_parameters)
            Symmetric.
        """
        whole = np.empty((self.n_parameters, self.n_parameters))
        for i, row in enumerate(self._triangle(payload)):
            whole[i, i:] = whole[i:, i] = row
        return whole

    def add_hessian(self, payload: Vector, hessian: Matrix) -> None:
        """Add to the Hessian in a payload.

        Parameters
        ----------
        payload : ndarray of shape (size,)
            What is summed, with a triangle; changed in place.
        hessian : ndarray of shape (n_parameters, n_parameters)
            Only its upper triangle is read.

        Examples
        --------
        >>> statistic = Statistic(n_parameters=2, order=2)
        >>> payload = np.zeros(statistic.size)
        >>> statistic.add_hessian(payload, np.array([[4.0, 5.0], [5.0, 6.0]]))
        >>> payload
        array([0., 0., 0., 4., 5., 6.])
        """
        for i, row in enumerate(self._triangle(payload)):
            row += hessian[i, i:]

    def _triangle(self, payload: Vector) -> Iterator[Vector]:
        """Yield the views of the triangle's rows."""
        p = self.n_parameters
        stop = 1 + p
        for length in range(p, 0, -1):
            start, stop = stop, stop + length
            yield payload[start:stop]

    def entries(self, parameters: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Return where the payload of some parameters lies in that of all.

        Parameters
        ----------
        parameters : ndarray of int, shape (n_some,)
            Which parameters, ascending.

        Returns
        -------
        ndarray of shape (Statistic(n_some, order).size,)
            For each entry of the one payload its place in the other, ascending: int32, or int64
            where that is too small.

        Examples
        --------
        >>> Statistic(n_parameters=5).entries(np.array([1, 4]))
        array([0, 2, 5], dtype=int32)
        """
        p, some = self.n_parameters, parameters.astype(np.intp)
        parts = [np.zeros(1, dtype=np.intp), 1 + some]
        if self.order > 1:  # the row of parameter i, from its diagonal on, begins here
            begins = 1 + p + some * (2 * p + 1 - some) // 2
            parts += [begins[k] - some[k] + some[k:] for k in range(some.size)]
        entries: NDArray[np.integer[Any]] = np.concatenate(parts)
        return entries.astype(np.int32 if self.size < 2**31 else np.int64)


def slice_of(size: int, i: int, n: int) -> slice:
    """Return where one of ``n`` slices of a payload lies, which differ by one entry at most.

    Where it begins depends on ``i / n`` alone: slices of slices fit together.

    Parameters
    ----------
    size : int
        Length of the payload.
    i, n : int
        Which slice, and of how many: ``0 <= i < n``.

    Returns
    -------
    slice
        Of a payload. Together, in order, the slices are all of it.

    Raises
    ------
    ValueError
        If there is no such slice.

    Examples
    --------
    >>> [slice_of(7, i, 3) for i in range(3)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    if not 0 <= i < n:
        raise ValueError(f"A payload in n slices has slices 0 to n - 1, got i={i} and n={n}.")
    return slice(size * i // n, size * (i + 1) // n)
