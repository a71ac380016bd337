"""Fractional repetition: groups of workers that hold the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.summing import PrefixSum, Sum
from dask_gradcode.codes.uncoded import EveryMessage
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
    so on. A message is the plain sum of a group's blocks. The first worker of the group that sends
    it is enough, usually long before ``n - s`` workers have answered. All coefficients and weights
    are 1, so the decoded sum is as accurate as the sum of the blocks, and the same no matter which
    workers were late.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks. Must be a multiple of ``n_stragglers + 1``.
    n_stragglers : int
        ``s``, number of silent workers, whichever they are, after which decoding is still exact.

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
    >>> code.messages[1], code.senders(1)
    (Message(blocks=(2, 3), coefficients=(1.0, 1.0)), (2, 3))
    >>> code.can_decode(code.available([1, 2]))
    True
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
        ones = (1.0,) * (self.n_stragglers + 1)
        return tuple(Message(group, ones) for group in self._groups)

    def senders(self, message: int) -> tuple[int, ...]:
        return self._groups[message]

    def decoder(self) -> Decoder:
        return EveryMessage(len(self._groups))

    def sum(self) -> Sum:
        return PrefixSum()

    @cached_property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """The workers of each group; its blocks have the same numbers."""
        size = self.n_stragglers + 1
        return tuple(tuple(range(i, i + size)) for i in range(0, self.n_workers, size))
