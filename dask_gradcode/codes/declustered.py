"""Declustered repetition: each worker computes its own share, and others hold it in parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from math import gcd

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder, Decoding, mask_of
from dask_gradcode.codes.fractional import divisible_counts
from dask_gradcode.codes.summing import Sum
from dask_gradcode.codes.trees import Covered, Trees, TreeSum
from dask_gradcode.codes.validation import check_counts, check_int
from dask_gradcode.typing import Mask, Payload, Vector

__all__ = ["DeclusteredRepetition"]

GROUP = "group"
"""The spread by which a share lies whole on the workers of its owner's group."""


@dataclass(frozen=True)
class DeclusteredRepetition(GradientCode):
    """One share of the data per worker, with parts of it on others: no work is done twice.

    There are as many shares as workers, each cut into ``n_leaves`` blocks. Worker ``i`` *owns*
    share ``i``. The share is also cut into ``spread`` parts, of each of which ``s`` others hold a
    replica: part ``j`` of share ``i`` lies on worker ``i`` and on ``i + steps[j s + k]`` for
    ``k < s``, all modulo ``n``. So every worker holds ``(s + 1) / n`` of the data, as in the codes
    of the paper, and any ``s`` of them may be missing. The steps are far apart, so that neighbours,
    which may be slow together, do not help each other; they come in pairs ``d`` and ``n - d``, so
    that of two workers each holds parts of the other's share, or neither does; and they have no
    divisor in common with ``n`` where that can be, so that replicas lie on different hosts where
    hosts take turns.

    In a round everybody is asked for the sum of what it owns, which is ``1 / n`` of the work. Only
    when somebody is late, others compute what is missing of it, each a part: the more parts, the
    more workers help. A message is the sum over an aligned run of a share's blocks, a node of a
    binary tree, and is computed by adding the two halves of the run, on workers and client alike.
    All coefficients are 1. The sum has the same bits, no matter which workers were late or helped.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of shares.
    n_stragglers : int
        ``s``, number of silent workers, whichever they are, after which decoding is still exact.
    spread : int or "group", optional
        Number of parts of a share whose replicas lie apart: a power of two up to ``n_leaves``. 1 is
        a ring. "group" puts all of a share on the other workers of a group of ``s + 1``, as
        fractional repetition does. None: 4, or ``n_leaves`` where that is less. The larger it is,
        the sooner others have computed what somebody leaves undone, and the more sets of more than
        ``s`` workers lost at once leave the sum incomplete until they are replaced.
    n_leaves : int, default=8
        Number of blocks of a share: a power of two. The more, the finer work can be divided, and
        the more additions a message costs.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Hsiao and DeWitt, "Chained Declustering: A New Availability Strategy for Multiprocessor
       Database Machines", ICDE 1990.
    .. [2] Cidon, Rumble, Stutsman, Katti, Ousterhout and Rosenblum, "Copysets: Reducing the
       Frequency of Data Loss in Cloud Storage", USENIX ATC 2013.

    Examples
    --------
    >>> code = DeclusteredRepetition(n_workers=4, n_stragglers=1, spread=2, n_leaves=2)
    >>> code.first(1), code.messages[3]
    ((3,), Message(blocks=(2, 3), coefficients=(1.0, 1.0)))

    The first half of share 1 is message 4, the second message 5; another worker holds each:

    >>> code.children(3), code.senders(3), code.senders(4), code.senders(5)
    ((4, 5), (1,), (1, 2), (0, 1))
    """

    n_workers: int
    n_stragglers: int
    spread: int | str | None = None
    n_leaves: int = 8

    def __post_init__(self) -> None:
        check_counts(self)
        check_int(self, "n_leaves", 1, None, "[1, inf)")
        if self.n_leaves & (self.n_leaves - 1):
            raise ValueError(
                f"The 'n_leaves' of DeclusteredRepetition must be a power of two. Got "
                f"n_leaves={self.n_leaves} instead."
            )
        if self.spread is None:
            object.__setattr__(self, "spread", min(4, self.n_leaves))
        elif self.spread == GROUP:
            self._check_groups()
        else:
            self._check_spread()

    def _check_spread(self) -> None:
        check_int(
            self, "spread", 1, self.n_leaves + 1, f'[1, n_leaves={self.n_leaves}], or "group"'
        )
        assert isinstance(self.spread, int)
        if self.spread & (self.spread - 1):
            raise ValueError(
                "The 'spread' of DeclusteredRepetition must be a power of two or \"group\". Got "
                f"spread={self.spread} instead."
            )

    def _check_groups(self) -> None:
        n, s = self.n_workers, self.n_stragglers
        if n % (s + 1):
            raise ValueError(
                f'spread="group" needs n_stragglers + 1 to divide n_workers, got n_workers={n} and '
                f"n_stragglers={s}.\nUse {divisible_counts(n, s)} workers, or a number as spread."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers * self.n_leaves

    @cached_property
    def messages(self) -> Trees:
        return Trees(self.n_workers, self.n_leaves)

    def senders(self, message: int) -> tuple[int, ...]:
        found = self._senders.get(message)
        if found is None:
            found = self._senders[message] = self._sent(message)
        return found

    @cached_property
    def _senders(self) -> dict[int, tuple[int, ...]]:
        """The senders that have been asked for, by message."""
        return {}

    def _sent(self, message: int) -> tuple[int, ...]:
        share, leaves = self.messages.leaves(message)
        first, last = self._part(leaves[0]), self._part(leaves[-1])
        parts = self._holders_of_parts[share][first : last + 1]
        if len(parts) == 1:
            return parts[0]
        return tuple(sorted(set(parts[0]).intersection(*parts[1:])))

    def first(self, worker: int) -> tuple[int, ...]:
        return (worker * self.messages.n_nodes,)

    def parent(self, message: int) -> int | None:
        return self.messages.parent(message)

    def children(self, message: int) -> tuple[int, ...]:
        return self.messages.children(message)

    def decoder(self) -> Decoder:
        return Covered(self, self.messages)

    def sum(self) -> Sum:
        return TreeSum(self, self.messages)

    def combine(self, decoding: Decoding, payloads: Mapping[int, Payload]) -> Vector:
        total = self.sum()
        for message in decoding.weights.nonzero()[0].tolist():
            total.add(message, payloads[message])
        return total.total(decoding)

    def can_decode(self, available: Mask) -> bool:
        return bool(self.messages.cover(mask_of(available, self.messages)).all())

    def blocks_of(self, worker: int) -> tuple[int, ...]:
        return self._held[worker]

    @cached_property
    def holders(self) -> tuple[tuple[int, ...], ...]:
        leaves = range(self.n_leaves)
        return tuple(parts[self._part(leaf)] for parts in self._holders_of_parts for leaf in leaves)

    @cached_property
    def messages_of(self) -> tuple[tuple[int, ...], ...]:
        return tuple(map(self._sent_by, range(self.n_workers)))

    def _sent_by(self, worker: int) -> tuple[int, ...]:
        """Return the nodes of which a worker holds all blocks."""
        q, n_nodes = self.n_leaves, self.messages.n_nodes
        held: dict[int, list[bool]] = {}  # by share: of each node, from 1
        for block in self._held[worker]:
            held.setdefault(block // q, [False] * (2 * q))[q + block % q] = True
        for nodes in held.values():
            for node in range(q - 1, 0, -1):
                nodes[node] = nodes[2 * node] and nodes[2 * node + 1]
        return tuple(
            share * n_nodes + node - 1
            for share, nodes in held.items()
            for node in range(1, 2 * q)
            if nodes[node]
        )

    @cached_property
    def _held(self) -> tuple[tuple[int, ...], ...]:
        """The blocks of each worker, ascending."""
        held: list[list[int]] = [[] for _ in range(self.n_workers)]
        for block, holders in enumerate(self.holders):
            for worker in holders:
                held[worker].append(block)
        return tuple(map(tuple, held))

    @cached_property
    def _holders_of_parts(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each share and each of its parts the workers that hold it, ascending."""
        n, s = self.n_workers, self.n_stragglers
        if self.spread == GROUP:
            groups = [tuple(range(i, i + s + 1)) for i in range(0, n, s + 1)]
            return tuple((groups[share // (s + 1)],) for share in range(n))
        assert isinstance(self.spread, int)
        steps = cycle(_steps(n, self.spread * s))
        parts = [list(islice(steps, s)) for _ in range(self.spread)]
        return tuple(
            tuple(tuple(sorted((i, *((i + step) % n for step in part)))) for part in parts)
            for i in range(n)
        )

    def _part(self, leaf: int) -> int:
        """Return the part of a share in which a leaf is."""
        return 0 if self.spread == GROUP else leaf * int(self.spread or 1) // self.n_leaves


def _steps(n: int, n_steps: int) -> list[int]:
    """Return the steps to the workers that hold parts of a worker's share, ascending in [1, n)."""
    if n_steps >= n - 1:
        return list(range(1, n))
    found: set[int] = set()
    for q in range(1, n_steps // 2 + 1):
        step = _nearest(n * q / (n_steps + 1), set(range(1, (n + 1) // 2)) - found, n)
        found |= {step, n - step}
    if n_steps % 2:
        found.add(_nearest(n / 2, set(range(1, n)) - found, n))
    return sorted(found)


def _nearest(wanted: float, steps: set[int], n: int) -> int:
    """Return the nearest step, if possible one that has no common divisor with ``n``."""
    return min(steps, key=lambda step: (gcd(step, n) > 1, abs(step - wanted), step))
