"""Slices of a payload: what a message carries that is less than a whole sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.payloads import slice_of
from dask_gradcode.typing import Part, Payload, Vector

__all__ = ["WHOLE", "Slices", "add_slices"]


@dataclass(frozen=True)
class Slices:
    """Which slices of its sum a message carries: one as it is, or several added up.

    A payload is cut into ``n_slices`` whose lengths differ by one entry at most. A message carries
    ``sum_t weights[t] * slice[first + t]``, where the shorter slices count as if zeros followed.
    One slice with weight 1 is *plain*: it travels as it is, and needs no decoding.

    Parameters
    ----------
    n_slices : int, default=1
        Into how many slices a payload is cut.
    first : int, default=0
        The first slice that the message carries.
    weights : tuple of float, default=(1.0,)
        What they are multiplied by, from the first on.

    Examples
    --------
    >>> payload = np.array([1.0, 2.0, 3.0, 40.0, 50.0, 60.0])
    >>> Slices(3, first=1).of(payload)
    array([ 3., 40.])
    >>> Slices(2, weights=(1.0, -1.0)).of(payload)
    array([-39., -48., -57.])
    """

    n_slices: int = 1
    first: int = 0
    weights: tuple[float, ...] = (1.0,)

    @property
    def is_whole(self) -> bool:
        """Whether the message carries the sum as it is."""
        return self.n_slices == 1 and self.is_plain

    @property
    def is_plain(self) -> bool:
        """Whether the message carries one slice as it is."""
        return self.weights == (1.0,)

    def terms(self) -> Iterator[tuple[int, float]]:
        """Yield each slice with its weight."""
        return enumerate(self.weights, self.first)

    def length(self, size: int) -> int:
        """Return how many numbers are sent of a payload of so many."""
        if self.is_plain:
            place = slice_of(size, self.first, self.n_slices)
            return int(place.stop - place.start)
        return -(-size // self.n_slices)

    def of(self, payload: NDArray[Any]) -> NDArray[Any]:
        """Return what is sent of a payload.

        Parameters
        ----------
        payload : ndarray of shape (size,)
            The whole sum.

        Returns
        -------
        ndarray of shape (length(size),)
            A view of the payload where that is plain.
        """
        if self.is_plain:
            return payload[slice_of(payload.size, self.first, self.n_slices)]
        sent = np.zeros(self.length(payload.size))
        for t, weight in self.terms():
            piece = payload[slice_of(payload.size, t, self.n_slices)]
            sent[: piece.size] += weight * piece
        return sent

    def carried(self, sent: Vector, size: int) -> Payload:
        """Return what has been sent, as a code adds it up.

        Parameters
        ----------
        sent : ndarray of shape (length(size),)
            By ``of``. Of another length, it is returned as it is: it cannot be right.
        size : int
            Of the whole payload.

        Returns
        -------
        ndarray or Part
            A part where less than the whole was sent.
        """
        if self.is_whole or sent.size != self.length(size):
            return sent
        place = slice_of(size, self.first, self.n_slices) if self.is_plain else None
        return Part(sent, place, size)


WHOLE = Slices()
"""All of the sum."""


def add_slices(total: Vector, weights: Vector, sent: Vector) -> None:
    """Add to each slice of a sum a multiple of what one message has sent.

    Parameters
    ----------
    total : ndarray of shape (size,)
        The sum, changed in place.
    weights : ndarray of shape (n_slices,)
        The multiples.
    sent : ndarray of shape (ceil(size / n_slices),)
        Of the shorter slices its last entry is left out.

    Examples
    --------
    >>> total = np.zeros(3)
    >>> add_slices(total, np.array([1.0, 2.0]), np.array([5.0, 7.0]))
    >>> total
    array([ 5., 10., 14.])
    """
    for t, weight in enumerate(weights.tolist()):
        if weight:
            piece = total[slice_of(total.size, t, weights.size)]
            piece += weight * sent[: piece.size]
