"""One answers in full, and the others confirm it by digests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.events import Announced, Arrived, Event, Ready, Relocated
from dask_gradcode.rounds.ledger import Kept
from dask_gradcode.rounds.orders import Announce, Ask, Order
from dask_gradcode.rounds.plans.base import Planner, Policy
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Confirming"]

GRACE, AT_LEAST = 0.1, 0.001
"""For how long a role that was asked in full may be later than the roles that agree: in times of
what these took, and in seconds."""

_WEIGHT = 0.25
"""Of the newest round in how long a role usually takes."""


@dataclass(frozen=True)
class Confirming(Policy):
    """Ask everybody for each sum: one for all of it, the others for its digest.

    For rounds with verified sums. The role that has usually been first sends the sum. If it is
    late or lost when enough of the others agree, one of these is asked for the sum, which it has
    kept. Where roles do not round alike, digests of equal sums differ, so one role of each kind
    sends its sum in full. So does a role that has gone to another worker.

    Parameters
    ----------
    ways : tuple of int, optional
        For each role, a number that roles share if they compute the same bits. Empty: all do.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Lost, Round
    >>> code = FractionalRepetition(3, 2)
    >>> round_ = Round(0, code, planner=Confirming().start(code))
    >>> round_.begin([Lost(0, "it is dead")], now=0.0)
    [Ask(role=1, messages=(0,)), Announce(role=2, messages=(0,))]
    """

    ways: tuple[int, ...] = ()

    def start(self, code: GradientCode) -> Planner:
        return _Confirming(code, self.ways or (0,) * code.n_workers)


class _Confirming(Planner):
    def __init__(self, code: GradientCode, ways: tuple[int, ...]) -> None:
        self._code, self._ways = code, ways
        self._moved: set[int] = set()
        self._usual: dict[int, float] = {}  # seconds
        self._full: set[tuple[int, int]] = set()  # roles and messages, asked for in full
        self._due: dict[int, float] = {}  # when to ask another for a message that is wanted
        self._looks: dict[int, float] = {}  # when to look at a message again

    def begin(self, state: State, now: float) -> list[Order]:
        self._full, self._due, self._looks, self.look_at = set(), {}, {}, None
        self._moved |= state.restored | state.placed | state.relocated
        able = {role: set(state.unasked(role)) for role in state.ready()}
        for message in range(len(self._code.messages)):
            senders = [i for i in self._code.senders(message) if message in able.get(i, ())]
            for role in self._firsts(senders):
                self._full.add((role, message))
        orders: list[Order] = []
        for role, messages in able.items():
            full = tuple(m for m in self._code.first(role) if (role, m) in self._full)
            rest = tuple(m for m in self._code.first(role) if m in messages and m not in full)
            orders += [Ask(role, full)] if full else []
            orders += [Announce(role, rest)] if rest else []
        return orders

    def _firsts(self, roles: Iterable[int]) -> list[int]:
        """Return which roles send a sum in full: the first to be expected of each kind."""
        first: dict[tuple[bool, int], int] = {}
        for role in sorted(roles, key=self._expected):
            kind = (True, role) if role in self._moved else (False, self._ways[role])
            first.setdefault(kind, role)
        return list(first.values())

    def _expected(self, role: int) -> tuple[float, int]:
        return self._usual.get(role, 0.0), role

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        orders = super().react(event, state, now)
        if isinstance(event, Ready | Relocated):
            self._moved.add(event.role)
        for order in orders:
            if isinstance(order, Ask):
                self._full.update((order.role, message) for message in order.messages)
        self._looks = {m: when for m, when in self._looks.items() if m in state.kept}
        for message in self._concerned(event, state, now):
            look_at = self._fetch(message, state.kept[message], state, now, orders)
            self._looks.pop(message, None)
            if look_at is not None:
                self._looks[message] = look_at
        self.look_at = min(self._looks.values(), default=None)
        return orders

    def _concerned(self, event: Event | None, state: State, now: float) -> list[int]:
        """Return the messages that may now have to be asked for."""
        is_due = self.look_at is not None and now >= self.look_at
        if isinstance(event, Announced | Arrived) and not is_due:
            return [event.message] if event.message in state.kept else []
        return list(state.kept)

    def _fetch(
        self, message: int, kept: Kept, state: State, now: float, orders: list[Order]
    ) -> float | None:
        """Ask for a sum that is kept if it must be asked for; return when to look again."""
        gone = state.lost.keys() | state.silent.keys() | state.errors.keys()
        owing = {
            role
            for role in self._code.senders(message)
            if (role, message) in self._full and message in state.owed(role)
        }
        able = sorted(set(kept.roles) - gone - owing, key=self._expected)
        if not able:
            return None
        if owing - gone:
            if not kept.is_wanted:
                return None
            grace = max(AT_LEAST, GRACE * (now - state.started))
            due = self._due.setdefault(message, now + grace)
            if now < due:
                return due
        orders.append(Ask(able[0], (message,)))
        self._full.add((able[0], message))
        self._due[message] = now + max(AT_LEAST, now - state.started)  # then of another
        return self._due[message]

    def end(self, record: RoundRecord) -> None:
        came = {answer.role: answer.seconds for answer in record.answers}
        latest = max(came.values(), default=0.0)
        for role in range(self._code.n_workers):
            took = came.get(role, 2 * latest)  # a silent role takes longer than all
            before = self._usual.get(role, took)
            self._usual[role] = before + _WEIGHT * (took - before)
