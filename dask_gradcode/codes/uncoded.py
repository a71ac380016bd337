"""No code: every worker holds one block, and everybody is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.summing import PrefixSum, Sum
from dask_gradcode.codes.validation import check_counts

__all__ = ["EveryMessage", "Uncoded"]


@dataclass(frozen=True)
class Uncoded(GradientCode):
    """One block per worker, no redundancy; the baseline of every comparison.

    Decoded early, it gives the sum over the blocks that arrived: the paper's "ignore stragglers".

    Parameters
    ----------
    n_workers : int
        Number of workers, and of blocks.

    Attributes
    ----------
    n_stragglers : int
        Always 0: one silent worker and the sum is no longer exact.

    Raises
    ------
    ValueError
        If ``n_workers`` is not a positive int.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding: Avoiding Stragglers in
       Distributed Learning", ICML 2017, Section 5 (the "naive" scheme).

    Examples
    --------
    >>> code = Uncoded(n_workers=4)
    >>> code.decode(np.array([True, False, True, True]))
    Decoding(weights=array([1., 0., 1., 1.]), residual=1.0, error=0.25, amplification=0.75)
    """

    n_workers: int
    n_stragglers: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_counts(self)

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return tuple(Message((worker,), (1.0,)) for worker in range(self.n_workers))

    def decoder(self) -> Decoder:
        return EveryMessage(len(self.messages))

    def sum(self) -> Sum:
        return PrefixSum()


class EveryMessage(Decoder):
    """Counts until all messages are in, which are sums of disjoint blocks, equally many.

    No two of them have a block in common. So where some are missing, the messages that have arrived
    are added as they are: that is also the least-squares approximation.

    Parameters
    ----------
    n_messages : int
        How many there are.
    """

    def __init__(self, n_messages: int) -> None:
        self._weights = np.zeros(n_messages)
        self._n_missing = n_messages

    def add(self, message: int) -> bool:
        if not self._weights[message]:
            self._weights[message] = 1.0
            self._n_missing -= 1
        return self._n_missing == 0

    def decode(self) -> Decoding:
        n = self._weights.size
        share = (n - self._n_missing) / n
        return Decoding(self._weights.copy(), 0.0 if share == 1.0 else 1.0, 1.0 - share, share)
