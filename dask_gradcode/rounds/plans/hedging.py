"""The likely senders are asked first, the others when these are late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.events import Event, Failed, Lost, Ready
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.plans.base import Planner, Policy, ask
from dask_gradcode.rounds.plans.dues import PATIENCE
from dask_gradcode.rounds.plans.helping import Helping
from dask_gradcode.rounds.plans.repeating import Repeating
from dask_gradcode.rounds.plans.slicing import Slicing
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Hedging"]

AT_ONCE = 0.001
"""Seconds; less than what epoll can count would be as long."""

LEARN_EVERY = 16
"""Rounds after which the workers that were not needed come first: they may be faster now."""

TOLERABLE, TOO_LITTLE = 1.5, 0.005
"""In times that rounds take, and in seconds beyond: how long a round may last in which the others
were needed, without it having been wrong to spare them. A machine that does other things now and
then takes as much; and a worker that is not spared may work on the same machine, in vain."""

_FIRST = 2  # rounds without waiting at first: one alone, with its connections, says little
_LEAST, _MOST = 16, 1024  # rounds without waiting, after a round that has shown it to be wrong
_CHANGES = Ready, Lost, Failed  # of which roles can be asked


@dataclass(frozen=True)
class Hedging(Policy):
    """Ask the workers whose answers the last round used, and the others when these are late.

    While no worker straggles, the ones that were not needed in the last round are spared: they are
    asked only when the round has lasted 1.15 times as long as rounds do. They take no processor
    from the others where they share one, nor the client's connection, and redundancy costs nothing.
    The first round in which they were needed after all, or in which a wait rule wanted more than
    the others had sent, lasts up to 2.15 times as long. If it lasts 1.5 times as long, nobody is
    spared for at least 16 rounds after it, and twice as many with each such round that comes soon
    again: the others are asked a millisecond after the first. Nor is anybody spared in the first
    two rounds.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> late = FixedDelay(0.2, workers=[0])
    >>> history = simulate(FractionalRepetition(2, 1), late, plan=Hedging(), n_rounds=4)
    >>> [record.spared for record in history]
    [(), (), (0,), (0,)]
    """

    def start(self, code: GradientCode) -> Planner:
        if code.exchanges:
            return Repeating()
        if code.shares_sending:
            return Slicing(code)
        return Helping(code) if code.divides else _Hedging()


class _Hedging(Planner):
    """Learns from round to round which roles are needed, and whether the others are."""

    def __init__(self) -> None:
        self._n_rounds = 0
        self._likely: frozenset[int] | None = None  # needed in the last round
        self._others: deque[int] = deque()  # not yet asked in this round
        self._seconds: deque[float] = deque(maxlen=8)
        self._others_waited = False  # in the round that is running
        self._n_at_once = _FIRST  # rounds yet in which nobody is spared
        self._penalty, self._n_calm = _LEAST, 0  # and how many such rounds come after an error
        self._tolerable = 0.0  # seconds of this round

    def begin(self, state: State, now: float) -> list[Order]:
        self._n_rounds += 1
        self._others_waited = False
        self._others.clear()
        self.look_at = None
        roles, likely = state.ready(), self._likely
        if likely is None or not likely.issubset(roles):
            return ask(roles, state)
        if self._n_rounds % LEARN_EVERY == 0:
            return ask(sorted(roles, key=lambda role: role in likely), state)
        self._others.extend(role for role in roles if role not in likely)
        self._others_waited = self._n_at_once == 0
        usual = median_low(self._seconds)
        self._tolerable = max(TOLERABLE * usual, usual + TOO_LITTLE)
        wait = max(PATIENCE * usual, AT_ONCE) if self._others_waited else AT_ONCE
        if self._others:
            self.look_at = now + wait
        return ask(sorted(likely), state)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        orders = super().react(event, state, now)
        if not self._others:
            return orders
        is_time = event is None
        if isinstance(event, _CHANGES):
            if event.role in self._others:
                self._others.remove(event.role)
            elif not isinstance(event, Ready):
                self.look_at, is_time = now, True  # the others are needed in its place
        if is_time and self.look_at is not None and self.look_at <= now:
            # one at a time, so that answers that have come meanwhile are read in between
            while self._others and not (asked := ask([self._others.popleft()], state)):
                pass  # all that it could send has come from others
            orders += asked
            self.look_at = now
        if not self._others:
            self.look_at = None
        return orders

    def end(self, record: RoundRecord) -> None:
        needed = frozenset(np.flatnonzero(record.used).tolist())
        if self._others_waited and self._likely is not None:
            enough = needed <= self._likely and not self._wanted_more(record)
            self._judge(enough or record.seconds <= self._tolerable)
        self._n_at_once = max(0, self._n_at_once - 1)
        self._likely = needed
        self._seconds.append(record.seconds)

    def _wanted_more(self, record: RoundRecord) -> bool:
        """Say whether a round went on after all that were likely needed had answered."""
        assert self._likely is not None
        silent = {*record.late, *record.not_needed, *record.lost, *record.unplaced}
        arrived_at = record.arrived_at[list(self._likely)]
        return self._likely.isdisjoint(silent) and bool((arrived_at < record.seconds).all())

    def _judge(self, well: bool) -> None:
        """Take in whether it was well to spare the roles that were not likely needed."""
        self._n_calm = self._n_calm + 1 if well else 0
        if not well:
            self._n_at_once = self._penalty + 1  # this round counts too
            self._penalty = min(2 * self._penalty, _MOST)
        elif self._n_calm >= self._penalty:
            self._penalty = _LEAST
