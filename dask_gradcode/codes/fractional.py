"""Fractional repetition: groups of workers that hold the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dask_gradcode.codes.base import Decoder, Decoding, GradientCode, Message
from dask_gradcode.codes.sizes import check_sizes

__all__ = ["FractionalRepetition", "GroupDecoder"]


@dataclass(frozen=True)
class FractionalRepetition(GradientCode):
    """``n / (s + 1)`` disjoint shares of the data, each held by ``s + 1`` workers.

    A round is over as soon as one worker of each group has answered, usually long before ``n - s``
    answers; the sum is then exact, without cancellation, and the same bit for bit whoever answered.

    Parameters
    ----------
    n_workers : int
        ``n``. Must be a multiple of ``n_stragglers + 1``.
    n_stragglers : int
        ``s``, the number of missing workers after which decoding is still exact.

    Raises
    ------
    ValueError
        If ``n_stragglers + 1`` does not divide ``n_workers``, or ``s`` is not in ``[0, n)``.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 4.1.

    Examples
    --------
    >>> code = FractionalRepetition(n_workers=4, n_stragglers=1)
    >>> code.encoding_matrix
    array([[1., 1., 0., 0.],
           [1., 1., 0., 0.],
           [0., 0., 1., 1.],
           [0., 0., 1., 1.]])
    >>> code.decode(np.array([False, True, True, True])).weights
    array([0., 1., 1., 0.])
    """

    n_workers: int
    n_stragglers: int

    def __post_init__(self) -> None:
        check_sizes(type(self).__name__, self.n_workers, self.n_stragglers)
        size = self.n_stragglers + 1
        if self.n_workers % size:
            below = self.n_workers // size * size
            raise ValueError(
                "FractionalRepetition needs n_stragglers + 1 to divide n_workers, got "
                f"n_workers={self.n_workers} and n_stragglers={self.n_stragglers}.\n"
                f"Use {below} or {below + size} workers, or CyclicRepetition, which takes any "
                "n_workers."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        size = self.n_stragglers + 1
        ones = (1.0,) * size
        firsts = (worker // size * size for worker in range(self.n_workers))
        return tuple(
            Message(worker, tuple(range(first, first + size)), ones)
            for worker, first in enumerate(firsts)
        )

    def decoder(self) -> Decoder:
        return GroupDecoder(self.n_workers, self.n_stragglers + 1)


class GroupDecoder(Decoder):
    """Takes the first answer of each group of equal messages.

    Parameters
    ----------
    n_messages : int
        Number of messages.
    size : int
        Messages per group; groups are consecutive and each covers ``size`` blocks.
    """

    def __init__(self, n_messages: int, size: int) -> None:
        self._n_messages, self._size = n_messages, size
        self._first: dict[int, int] = {}  # group -> its first answer

    def add(self, message: int) -> bool:
        self._first.setdefault(message // self._size, message)
        return len(self._first) * self._size == self._n_messages

    def decode(self) -> Decoding:
        weights = np.zeros(self._n_messages)
        weights[list(self._first.values())] = 1.0
        share = len(self._first) * self._size / self._n_messages
        # Each block has coefficient 1 where its group has answered, else 0.
        return Decoding(weights, residual=0.0 if share == 1.0 else 1.0, amplification=share)
