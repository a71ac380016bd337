"""A worker that is known to be slow is asked for less from the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.orders import Ask, Order
from dask_gradcode.rounds.plans.assignment import shortest
from dask_gradcode.rounds.plans.base import Planner, Policy, asking
from dask_gradcode.rounds.plans.dues import AT_LEAST
from dask_gradcode.rounds.plans.hedging import Hedging
from dask_gradcode.rounds.plans.helping import Helping
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Balancing"]

WORTH_IT = 1.05
"""How many times as long rounds must last without it for blocks to be given to others."""

LOOK_EVERY = 5
"""Rounds after which workers that are asked for nothing get one block, as they may have become
faster, and after which blocks are divided anew at the earliest: that takes the client's time."""

MUCH = 1.5
"""How many times as long rounds must last for blocks to be divided anew before that."""


@dataclass(frozen=True)
class Balancing(Policy):
    """Divide each round's work by the speeds that workers have shown, and hedge the rest.

    A worker that was slow, or silent, in several rounds is asked for fewer blocks from the start,
    and the other holders of these for more. So machines that differ, noisy neighbours and frozen
    workers cost no more than their part of the work. A worker that is late nevertheless is helped
    as by :class:`Hedging`, which this is for codes whose workers compute all that they can send.

    Examples
    --------
    Worker 1 computes three times slower. From the third round on others do most of its work:

    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import Slowdown
    >>> slow, code = Slowdown(3.0, workers=[1]), DeclusteredRepetition(4, 1)
    >>> history = simulate(code, slow, plan=Balancing(), work=4.0, n_rounds=3)
    >>> [round(record.seconds, 2) for record in history]
    [1.4, 1.4, 1.25]
    """

    def start(self, code: GradientCode) -> Planner:
        return Balanced(code) if code.divides else Hedging().start(code)


class Balanced(Helping):
    """Asks everybody for as much as it can compute while the others do.

    Parameters
    ----------
    code : GradientCode
        Says which role holds what.
    """

    def __init__(self, code: GradientCode) -> None:
        super().__init__(code)
        self._n_rounds = 0
        self._owners: list[int] = []  # by block, made when it is needed
        self._look_again_at = 0  # the round in which it is next worth while to divide anew
        self._workers: Sequence[int] = ()  # by block, the role asked for it; nothing: its owner
        self._best = 0.0  # seconds of a round as it was divided last
        self._well = inf  # seconds of a round that is divided well, as far as that is known

    def begin(self, state: State, now: float) -> list[Order]:
        orders = super().begin(state, now)
        self._n_rounds += 1
        if self._workers and self._n_rounds % LOOK_EVERY == 0:
            orders += self._try_idle(orders, state, now)
        return orders

    def _ask_first(self, state: State) -> list[Ask]:
        if not self._workers:
            return super()._ask_first(state)
        ready, blocks = set(state.ready()), dict[int, list[int]]()
        for block, worker in enumerate(self._workers):
            if worker in ready:
                blocks.setdefault(worker, []).append(block)
        return [asking(role, self._blocks.merged(blocks[role])) for role in sorted(blocks)]

    def _try_idle(self, orders: Sequence[Order], state: State, now: float) -> list[Ask]:
        """Ask roles that are asked for nothing for a block, which others compute as well."""
        asked = {order.role for order in orders}
        tried = []
        for role in state.ready():
            if role not in asked:
                block = self._owners.index(role)
                order = Ask(role, (self._blocks.smallest(block),))
                self._doubted.add(role)
                self._expect(order, now, inf)
                if self._work is not None:
                    self._add(order, state)
                tried.append(order)
        return tried

    def _lasting(self, role: int, n_blocks: int) -> float:
        pace = self._speeds.pace(role)
        # nobody has longer than a round would last if blocks were divided well
        return min(n_blocks * pace, self._well + self._speeds.usual()) if pace else n_blocks

    def end(self, record: RoundRecord) -> None:
        super().end(record)
        paces = [self._speeds.pace(role) for role in range(self._code.n_workers)]
        if all(paces):
            self._divide(paces)

    def _divide(self, paces: Sequence[float]) -> None:
        """Give blocks to others than before, if rounds will be clearly shorter for it."""
        if not self._owners:
            self._owners = self._blocks.owners()
        bound = len(self._owners) / sum(1.0 / pace for pace in paces)
        if not self._is_better(bound, self._lasts(self._owners, paces)):
            self._workers, self._best, self._well = (), 0.0, bound
            return
        now = self._lasts(self._workers or self._owners, paces)
        is_time = self._n_rounds >= self._look_again_at or now > MUCH * max(bound, self._best)
        if self._is_better(bound, now) and is_time:
            self._look_again_at = self._n_rounds + LOOK_EVERY
            self._best, workers = shortest(self._code.holders, self._owners, paces)
            if self._is_better(self._best, now):
                self._workers = workers
        self._well = max(bound, self._best)

    def _is_better(self, seconds: float, now: float) -> bool:
        return now > WORTH_IT * seconds and now - seconds > AT_LEAST

    def _lasts(self, workers: Sequence[int], paces: Sequence[float]) -> float:
        """Return how long a round should last in which these compute the blocks."""
        counts = [0] * len(paces)
        for worker in workers:
            counts[worker] += 1
        return max(count * pace for count, pace in zip(counts, paces, strict=True))
