"""Sliced repetition: replicas share the sending, so that each sends no more than it must."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lcm

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder
from dask_gradcode.codes.fractional import divisible_counts
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.mixing import MixedGroups, mixing_weights, worst_condition
from dask_gradcode.codes.slices import Slices
from dask_gradcode.codes.summing import LaterSum, PrefixSum, Sum
from dask_gradcode.codes.uncoded import EveryMessage
from dask_gradcode.codes.validation import check_counts, check_int

__all__ = ["SlicedRepetition"]

MOST_REPLICAS = 8
"""So many can share a payload in 840 slices; ten would need 2520, and more time than they save."""

_MAX_CONDITION = 1e6  # ten digits of sixteen are left


@dataclass(frozen=True)
class SlicedRepetition(GradientCode):
    """The groups of fractional repetition, whose workers send slices of their sum.

    As in :class:`FractionalRepetition`, groups of workers hold the same blocks, and each computes
    the whole sum of its group. It sends less: for workers whose uplinks are the bottleneck.

    Without ``n_slices`` there are ``r = s + 1`` workers in a group, and worker ``j`` sends slice
    ``j`` of ``r`` at first. In the middle of the round the others are asked, in equal parts, for
    what is missing of late ones: with ``s'`` late workers in a group each of the others sends
    ``p / (r - s')`` numbers of ``p``, for any ``s'`` up to ``s``, which is the least there can be.
    Slices are sent as they are, so there is nothing to solve, and the sum has the bits that
    :class:`FractionalRepetition` gives, no matter which workers were late. A late worker's own
    slice still counts if it comes first.

    With ``n_slices = m`` nothing is asked for in mid-round: groups are of ``r = s + m`` workers,
    each of which sends ``p / m`` numbers, a weighted sum of ``m`` slices. Any ``m`` of them make a
    system of ``m`` equations, of which the slices are the solution. That is exact to rounding.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks. Must be a multiple of ``r``.
    n_stragglers : int
        ``s``, number of silent workers, whichever they are, after which decoding is still exact; 7
        at most without ``n_slices``.
    n_slices : int, optional
        ``m``, 2 at least. None: workers send as much as the stragglers of each round make
        necessary.

    Raises
    ------
    ValueError
        If ``r`` does not divide ``n_workers``, an argument is out of range, or slices could not be
        had accurately from as few sums.

    Notes
    -----
    Without ``n_slices`` a message is one of ``L = lcm(1, ..., r)`` slices, of which any number of
    workers up to ``r`` can send equally many.

    References
    ----------
    .. [1] Cao, Yan, Tang and Han, "Adaptive Gradient Coding", arXiv 2006.04845.
    .. [2] Ye and Abbe, "Communication-Computation Efficient Gradient Coding", ICML 2018.

    Examples
    --------
    Three workers hold the same blocks, and each sends a third of their sum, which is two slices of
    six. If one is late, the others are asked for one more each:

    >>> code = SlicedRepetition(n_workers=6, n_stragglers=2)
    >>> code.resolution, code.first(4), code.senders(8)
    (6, (8, 9), (3, 4, 5))
    >>> code.messages[8].slices
    Slices(n_slices=6, first=2, weights=(1.0,))

    With two slices, four workers hold the same blocks, and any two of them are enough:

    >>> code = SlicedRepetition(n_workers=8, n_stragglers=2, n_slices=2)
    >>> code.can_decode(code.available([1, 3, 4, 6]))
    True
    """

    n_workers: int
    n_stragglers: int
    n_slices: int | None = None

    def __post_init__(self) -> None:
        check_counts(self)
        if self.n_slices is not None:
            self._check_slices()
        elif self.n_stragglers >= MOST_REPLICAS:
            raise ValueError(
                f"Without n_slices SlicedRepetition needs n_stragglers below {MOST_REPLICAS}, as "
                f"so many workers at most share a payload, got {self!r}.\nUse fewer, or n_slices."
            )
        size = self.n_replicas
        if self.n_workers % size:
            what = "n_stragglers + " + ("1" if self.n_slices is None else "n_slices")
            raise ValueError(
                f"SlicedRepetition needs {what} to divide n_workers, got {self!r}.\n"
                f"Use {divisible_counts(self.n_workers, size - 1)} workers."
            )
        if self.n_slices is not None:
            self._check_condition(self.n_slices)

    def _check_slices(self) -> None:
        if self.n_slices == 1:
            raise ValueError(
                "The 'n_slices' of SlicedRepetition must be 2 at least, got n_slices=1.\n"
                "Use FractionalRepetition, whose messages are whole."
            )
        check_int(self, "n_slices", 2, self.n_workers + 1, "[2, n_workers]")

    def _check_condition(self, n_slices: int) -> None:
        condition = worst_condition(self.n_replicas, n_slices)
        if condition > _MAX_CONDITION:
            raise ValueError(
                f"{n_slices} slices of {self!r} may be had from {n_slices} of {self.n_replicas} "
                f"sums, which would amplify rounding errors {condition:.0e} times, and "
                f"{_MAX_CONDITION:.0e} is the limit.\nUse fewer n_slices, or fewer n_stragglers."
            )

    @property
    def n_replicas(self) -> int:
        """``r``, number of workers that hold a block."""
        return self.n_stragglers + (self.n_slices or 1)

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @property
    def resolution(self) -> int:
        return self.n_slices or lcm(*range(1, self.n_replicas + 1))

    @property
    def mixes(self) -> bool:
        return self.n_slices is not None

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        ones = (1.0,) * self.n_replicas
        weights = mixing_weights(self.n_replicas, self.n_slices or 1).tolist()
        if self.n_slices is None:
            slices = [Slices(self.resolution, i) for i in range(self.resolution)]
        else:
            slices = [Slices(self.n_slices, 0, tuple(row)) for row in weights]
        return tuple(Message(group, ones, some) for group in self._groups for some in slices)

    def senders(self, message: int) -> tuple[int, ...]:
        if self.n_slices is not None:
            return (message,)
        return self._groups[message // self.resolution]

    def first(self, worker: int) -> tuple[int, ...]:
        if self.n_slices is not None:
            return (worker,)
        own = self.resolution // self.n_replicas
        return tuple(range(worker * own, (worker + 1) * own))

    def decoder(self) -> Decoder:
        if self.n_slices is not None:
            return MixedGroups(self, self.n_slices, self.n_replicas)
        return EveryMessage(len(self.messages))

    def sum(self) -> Sum:
        # group after group: as the columns of groups may differ, so may the places of their slices
        return PrefixSum() if self.n_slices is None else LaterSum(self.combine)

    @cached_property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """The workers of each group; its blocks have the same numbers."""
        size = self.n_replicas
        return tuple(tuple(range(i, i + size)) for i in range(0, self.n_workers, size))
