"""Fractional repetition: groups of workers that hold the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dask_gradcode.codes.base import Decoder, Decoding, GradientCode, Message
from dask_gradcode.codes.summing import PrefixSum, Sum
from dask_gradcode.codes.validation import check_counts

__all__ = ["FractionalRepetition", "divisible_counts"]


def divisible_counts(n_workers: int, n_stragglers: int) -> str:
    """Name the nearest numbers of workers that fractional repetition can serve: "6 or 9"."""
    size = n_stragglers + 1
    below = n_workers // size * size
    nearest = (below, below + size) if n_workers % size else (n_workers,)
    return " or ".join(str(count) for count in nearest if count)


@dataclass(frozen=True)
class FractionalRepetition(GradientCode):
    """``n / (s + 1)`` disjoint shares of the data, each held by ``s + 1`` workers.

    Workers ``0..s`` hold blocks ``0..s``, the next ``s + 1`` workers the next ``s + 1`` blocks, and
    so on; each sends the plain sum of its blocks. One answer per group is enough, which is usually
    there long before ``n - s`` workers have answered. All coefficients and weights are 1, so the
    decoded sum is as accurate as the sum of the blocks, and the same whoever was late.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks. Must be a multiple of ``n_stragglers + 1``.
    n_stragglers : int
        ``s``, number of silent workers after which decoding is still exact whoever they are.

    Raises
    ------
    ValueError
        If ``n_stragglers + 1`` does not divide ``n_workers``, or an argument is out of range.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding: Avoiding Stragglers in
       Distributed Learning", ICML 2017, Section 4.1.

    Examples
    --------
    >>> code = FractionalRepetition(n_workers=4, n_stragglers=1)
    >>> code.blocks_of(2)
    (2, 3)
    >>> code.decode(np.array([False, True, True, True])).weights
    array([0., 1., 1., 0.])
    """

    n_workers: int
    n_stragglers: int

    def __post_init__(self) -> None:
        check_counts(self)
        if self.n_workers % (self.n_stragglers + 1):
            raise ValueError(
                "FractionalRepetition needs n_stragglers + 1 to divide n_workers, "
                f"got n_workers={self.n_workers} and n_stragglers={self.n_stragglers}.\n"
                f"Use {divisible_counts(self.n_workers, self.n_stragglers)} workers, "
                "or CyclicRepetition, which takes any n_workers."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        size = self.n_stragglers + 1
        ones = (1.0,) * size
        firsts = (worker - worker % size for worker in range(self.n_workers))
        return tuple(
            Message(worker, tuple(range(first, first + size)), ones)
            for worker, first in enumerate(firsts)
        )

    def decoder(self) -> Decoder:
        return _FirstOfEachGroup(self)

    def sum(self) -> Sum:
        return PrefixSum(self.n_stragglers + 1)


class _FirstOfEachGroup(Decoder):
    """Keeps the first answer of each group."""

    def __init__(self, code: FractionalRepetition) -> None:
        self._size = code.n_stragglers + 1
        self._answered = [False] * (code.n_workers // self._size)
        self._n_answered = 0
        self._weights = np.zeros(code.n_workers)

    def add(self, message: int) -> bool:
        group = message // self._size
        if not self._answered[group]:
            self._answered[group] = True
            self._n_answered += 1
            self._weights[message] = 1.0
        return self._n_answered == len(self._answered)

    def decode(self) -> Decoding:
        # Rows of one group are equal and those of different groups orthogonal: with weights of 1,
        # the groups that have answered are also the least-squares approximation.
        share = self._n_answered / len(self._answered)
        return Decoding(self._weights.copy(), 0.0 if share == 1.0 else 1.0, amplification=share)
