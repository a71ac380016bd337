"""Replicas share the sending: what is missing of late ones, the others send in equal parts.

So go the rounds of a code whose messages are slices of sums that a whole *group* of workers
computes. Of a slice one thing counts: it is here, or a role that is believed in owes it, or it is
*open*. At the beginning everybody is asked for its own slices. A role that is late, silent or gone
is believed in no more, though what it sends still counts; its slices are then open. Open slices are
given, one by one, to the role of the group that is believed in and has been asked for fewest, so
that all of these send equally many. What arrives is taken from any other role that owes it.

Which roles are late is known once half of all have answered in full. As to be asked for more costs
nobody computing, it is guessed in each group once its first role has. A role that was late in the
last round is not believed in at the beginning of the next, and asked nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.events import Arrived, Event, Failed, Heard, Lost, Ready, Silent
from dask_gradcode.rounds.orders import Ask, Drop, Order
from dask_gradcode.rounds.plans.base import Planner
from dask_gradcode.rounds.plans.deadlines import Deadlines
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Slicing"]

GUESSED, A_WHILE = 2.0, 0.02
"""As ``PATIENCE`` and ``AT_LEAST``, before half of all have answered, and for what comes later."""

LEARN_EVERY = 16
"""Rounds after which everybody is believed in again: late roles may have become faster."""


class Slicing(Planner):
    """Asks for slices, and for the slices of late workers in the middle of the round.

    Parameters
    ----------
    code : GradientCode
        Messages with the same senders are slices of one sum.
    """

    def __init__(self, code: GradientCode) -> None:
        self._code = code
        self._n_rounds = 0
        self._slow: set[int] = set()  # late when the last round ended
        self._start_anew(0.0)

    def _start_anew(self, now: float) -> None:
        self._began, self._n_seen = now, 0
        self._owes: dict[int, set[int]] = {}  # by role
        self._n_asked: dict[int, int] = {}  # by role, in all
        self._late: set[int] = set()  # not believed in
        self._waiting: set[int] = set()  # that have not yet sent what was asked at the beginning
        self._n_first, self._half = 0, inf  # how many they were, when half of them had answered
        self._groups, self._again = Deadlines(), Deadlines()  # by group's first role, and by role

    def copy(self) -> Planner:
        other = super().copy()
        assert isinstance(other, Slicing)
        other._start_anew(self._began)  # as every round does
        return other

    def begin(self, state: State, now: float) -> list[Order]:
        self._start_anew(now)
        self._n_rounds += 1
        if self._n_rounds % LEARN_EVERY:
            self._late = self._slow.difference(state.lost)
        asks = {role: list(first) for role in state.ready() if (first := state.unasked(role))}
        for role, messages in asks.items():
            self._owes[role], self._n_asked[role] = set(messages), len(messages)
        self._waiting, self._n_first = set(asks), len(asks)
        for role in list(self._late):
            if self._late.issuperset(self._group(role)):
                self._late.difference_update(self._group(role))
        for role, messages in self._shared_out(self._late | state.lost.keys(), state).items():
            asks[role] += messages
        self.look_at = None
        return [Ask(role, tuple(messages)) for role, messages in asks.items()]

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        self._n_seen = len(state.answers)
        orders: list[Order] = []
        changed: Iterable[int] = ()
        if isinstance(event, Arrived):
            orders += self._dropped(event, state)
            if self._take(event.role, event.message, now):
                changed = (event.role,)
        elif event is not None:
            changed = self._note(event)
        changed = {*changed, *self._late_by(now)}
        for role, messages in self._shared_out(changed, state).items():
            orders.append(Ask(role, tuple(messages)))
            usual = min(self._half, now - self._began)
            times = max(1.0, len(messages) / len(self._code.first(role)))
            self._again.set(role, now + GUESSED * times * usual + A_WHILE)
        due = min(self._groups.next, self._again.next)
        self.look_at = due if due < inf else None
        return orders

    def end(self, record: RoundRecord) -> None:
        for role, message, seconds, _ in record.answers[self._n_seen :]:  # which ended the round
            self._take(role, message, self._began + seconds)
        self._slow = set(self._late)

    # ---- what happens

    def _take(self, role: int, message: int, now: float) -> bool:
        """Take in an answer; True if that is all that a role owed."""
        owes = self._owes.get(role, set())
        owes.discard(message)
        if owes:
            return False
        self._late.discard(role)
        self._again.forget(role)
        if role in self._waiting:
            self._waiting.remove(role)
            self._set_due(role, now)
        return True

    def _set_due(self, role: int, now: float) -> None:
        """Take in that a role has sent what it was asked at first: others should have, soon."""
        took, first = now - self._began, self._group(role)[0]
        n_done = self._n_first - len(self._waiting)
        if self._half == inf and 2 * n_done >= self._n_first:
            self._half = took
            for group in {self._group(other)[0] for other in self._waiting}:
                self._groups.set(group, self._began + PATIENCE * took + AT_LEAST)
        elif self._half == inf and self._groups.get(first) is None:
            self._groups.set(first, self._began + GUESSED * took + A_WHILE)
        if self._waiting.isdisjoint(self._group(role)):
            self._groups.forget(first)

    def _dropped(self, event: Arrived, state: State) -> list[Order]:
        """Take what has arrived from all others that owe it."""
        orders: list[Order] = []
        if not state.arrived[event.message]:  # it cannot be right
            self._late.add(event.role)
            return orders
        for other in self._group(event.role):
            owes = self._owes.get(other, set())
            if other != event.role and event.message in owes:
                owes.remove(event.message)
                orders.append(Drop(other, (event.message,)))
                if not owes:
                    self._again.forget(other)
        return orders

    def _note(self, event: Event) -> tuple[int, ...]:
        """Take in what is no answer; return the roles of which there is news."""
        match event:
            case Lost(role) | Failed(_, role) | Silent(role):
                self._late.add(role)
                self._waiting.discard(role)
            case Ready(role):
                self._owes[role], self._n_asked[role] = set(), 0
                self._late.discard(role)
            case Heard(role):
                self._late.discard(role)
            case _:
                return ()
        return (event.role,)

    def _late_by(self, now: float) -> set[int]:
        """Return which roles are late now."""
        late = set(self._again.take(now))
        for group in self._groups.take(now):
            late.update(self._waiting.intersection(self._group(group)))
        self._late |= late
        return late

    # ---- which roles are asked for more

    def _shared_out(self, roles: Iterable[int], state: State) -> dict[int, list[int]]:
        """Give what is open in the groups of some roles to the members that are believed in.

        Where there are none, the ones that are there have to do.
        """
        given: dict[int, list[int]] = {}
        for group in {self._group(role) for role in roles}:
            there = [r for r in group if not (r in state.lost or r in state.errors)]
            able = [role for role in there if role not in self._late] or there
            owed = set().union(*(self._owes.get(role, ()) for role in able))
            for message in self._code.messages_of[group[0]] if able else ():
                if state.pending[message] and message not in owed:
                    role = min(able, key=lambda role: self._n_asked.get(role, 0))
                    self._n_asked[role] = self._n_asked.get(role, 0) + 1
                    self._owes.setdefault(role, set()).add(message)
                    given.setdefault(role, []).append(message)
        return given

    def _group(self, role: int) -> tuple[int, ...]:
        return self._code.senders(self._code.first(role)[0])
