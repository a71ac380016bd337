"""What a message carries, and where: no other module knows the layout of a payload.

A payload is one vector, because that is what codes add and what travels. It has *sections*: today
the value and the gradient. A section is read and written through the view that :class:`Statistic`
gives of it, so that a further one is a further field here, and nothing elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.typing import Vector

__all__ = ["Statistic"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """What is summed over rows: a value, then its gradient.

    Parameters
    ----------
    n_parameters : int
        Entries of the gradient.

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

    @classmethod
    def at(cls, w: Vector) -> Statistic:
        """Return what there is of a function with one value at a point.

        Parameters
        ----------
        w : ndarray of shape (n_parameters,)
            The point.
        """
        return cls(w.size)

    @property
    def size(self) -> int:
        """Length of a payload."""
        return 1 + self.n_parameters

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

    def entries(self, parameters: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Return where the payload of some parameters lies in that of all.

        Parameters
        ----------
        parameters : ndarray of int, shape (n_some,)
            Which parameters, ascending.

        Returns
        -------
        ndarray of int32, or of int64 where that is too small, shape (Statistic(n_some).size,)
            For each entry of the one payload its place in the other, ascending.

        Examples
        --------
        >>> Statistic(n_parameters=5).entries(np.array([1, 4]))
        array([0, 2, 5], dtype=int32)
        """
        entries = np.concatenate([[0], 1 + parameters])
        return entries.astype(np.int32 if self.size < 2**31 else np.int64)

    def part(self, i: int, n: int) -> slice:
        """Return where one of ``n`` parts of a payload lies, which differ by one entry at most.

        Parameters
        ----------
        i, n : int
            Which part, and of how many: ``0 <= i < n``.

        Returns
        -------
        slice
            Of a payload. Together, in order, the parts are all of it.

        Raises
        ------
        ValueError
            If there is no such part.

        Examples
        --------
        >>> [Statistic(n_parameters=6).part(i, 3) for i in range(3)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
        """
        if not 0 <= i < n:
            raise ValueError(f"A payload in n parts has parts 0 to n - 1, got i={i} and n={n}.")
        return slice(self.size * i // n, self.size * (i + 1) // n)
