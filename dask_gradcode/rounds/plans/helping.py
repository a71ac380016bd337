"""Each computes its own share; what somebody leaves undone, others compute.

So go the rounds of a code whose workers can send more than they compute unasked. Of each block one
thing counts: it is *in*, as part of something that has arrived; or *in work*, as somebody who is
believed in owes it; or else *open*, and to be given to somebody.

At the beginning everybody is asked for its own share. Once half of them have answered it is known
how long a share takes, and when the others should have answered; before that it is only a guess,
and they have several times as long. Whoever has not answered by then is told to
*yield*: it sends what it has finished, and goes on with nothing but the block that it is at. The
rest is open. Whoever does not even answer that is *doubted*: all that it owes is open, although it
may still come, and then counts.

Open blocks are given to those who hold them, the slow owner among them, so that all should finish
together by the speeds that are known. When these should have answered is known, too, and so on.
Where blocks arrive that somebody else owes, that is dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.events import (
    Arrived,
    Event,
    Failed,
    Heard,
    Lost,
    Ready,
    Silent,
    Yielded,
)
from dask_gradcode.rounds.orders import Ask, Drop, Order, Yield
from dask_gradcode.rounds.plans.base import Planner
from dask_gradcode.rounds.plans.blocks import Blocks
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE, Dues
from dask_gradcode.rounds.plans.speeds import Speeds
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Helping"]

ANSWERS_WITHIN = 0.005
"""Seconds in which whoever is told to yield should answer, or a quarter of a block's if longer."""


class _Slow(NamedTuple):
    """Somebody who has yielded."""

    blocks: frozenset[int]  # that it is at
    since: float  # when that was said first
    ends: float  # when it should be done


class Helping(Planner):
    """Divides what is left undone among those who hold it.

    Parameters
    ----------
    code : GradientCode
        Says who holds what.
    hurry : bool, default=True
        Whether those who are late are told to yield. If not, others compute only what is lost.
    """

    def __init__(self, code: GradientCode, hurry: bool = True) -> None:
        self._code, self._hurry = code, hurry
        self._blocks, self._speeds = Blocks(code), Speeds(code.n_workers)
        self._began = 0.0
        self._left: set[int] = set()  # blocks that are not in
        self._dues = Dues()
        self._told: dict[int, float] = {}  # until when those who were told to yield may answer
        self._doubted: set[int] = set()
        self._slow: dict[int, _Slow] = {}  # those who have yielded
        self._n_seen = 0  # how many answers
        self._helped = False  # whether anything has been given away

    def copy(self) -> Planner:
        other = super().copy()
        assert isinstance(other, Helping)
        other._speeds = self._speeds.copy()
        return other

    def begin(self, state: State, now: float) -> list[Order]:
        self._began, self._left = now, set(range(self._code.n_blocks))
        self._told, self._doubted, self._slow = {}, set(), {}
        self._n_seen, self._helped = 0, False
        self._speeds.begin()
        self.look_at = None
        orders = self._ask_first(state)
        first = {order.role: self._lasting(order.role, self._note(order, now)) for order in orders}
        known = self._hurry and self._speeds.usual() > 0.0
        self._dues.begin(now, first, max(first.values(), default=0.0) if known else 0.0)
        if len(orders) == self._code.n_workers:
            return [*orders]
        asked = self._blocks.within(message for order in orders for message in order.messages)
        return [*orders, *self._give(self._left - asked, state, now)]

    def _ask_first(self, state: State) -> list[Ask]:
        """Return who is asked for what at the beginning."""
        first = ((role, state.unasked(role)) for role in state.ready())
        return [Ask(role, messages) for role, messages in first if messages]

    def _lasting(self, role: int, n_blocks: int) -> float:
        """Return how long so many blocks should take a role, in any unit until speeds are known."""
        return n_blocks * (self._speeds.usual() or 1.0)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        orders: list[Order] = []
        self._n_seen = len(state.answers)
        match event:
            case Arrived(_, role, message):
                orders = self._take(role, message, state, now)
            case Yielded(_, role, running):
                orders = self._pause(role, running, state, now)
            case Ready(role) | Lost(role) | Failed(_, role):
                self._forget(role)
            case Silent(role):
                self._doubted.add(role)
            case Heard(role):
                self._doubted.discard(role)
            case _:
                orders = self._look(now)
        if self._helped or not isinstance(event, Arrived) or event.role in state.lost:
            orders += self._give(self._open(state), state, now)
        at = min(self._dues.next, min(self._told.values(), default=inf))
        self.look_at = None if at == inf else at
        return orders

    def end(self, record: RoundRecord) -> None:
        for role, message, seconds, _ in record.answers[self._n_seen :]:  # which ended the round
            self._speeds.done(role, len(self._code.messages[message].blocks))
            if self._speeds.is_done(role):
                self._speeds.rest(role, self._began + seconds)
        for role in self._doubted:  # as far as anybody knows they have done nothing
            self._speeds.pause(role, self._began + record.seconds)
        self._speeds.end(self._began + record.seconds)

    # ---- what happens

    def _take(self, role: int, message: int, state: State, now: float) -> list[Order]:
        """Take in a message: it says how fast its sender is, and what others need not send."""
        if not state.arrived[message]:  # it cannot be right
            self._forget(role)
            return []
        came = self._code.messages[message].blocks
        self._left.difference_update(came)
        self._speeds.done(role, len(came))
        if not state.owed(role):
            self._speeds.rest(role, now)
            self._forget(role)
            if self._hurry:
                self._dues.answered(role, now)
        return self._drop(state, now) if self._helped else []

    def _pause(self, role: int, running: int | None, state: State, now: float) -> list[Order]:
        """Take in that a role has given up all but the block that it is at, say in the middle."""
        self._doubted.discard(role)
        if not state.owed(role) - {running}:  # else it has been asked for more since it was told
            self._slow_down(role, running, now)
        return self._drop(state, now) if self._helped else []

    def _slow_down(self, role: int, running: int | None, now: float) -> None:
        before = self._slow.get(role)
        self._speeds.pause(role, now)
        self._forget(role)
        if running is None:
            return
        blocks = frozenset(self._blocks.within([running]))
        since = before.since if before and before.blocks == blocks else now
        left = max(0.5 * self._speeds.pace(role), now - since)
        self._expect(Ask(role, (running,)), now, now + PATIENCE * left + AT_LEAST)
        self._slow[role] = _Slow(blocks, since, now + left)

    def _drop(self, state: State, now: float) -> list[Order]:
        """Drop what somebody owes of which all is in."""
        orders: list[Order] = []
        for role in list(state.asked):
            owed = state.owed(role)
            done = tuple(m for m in sorted(owed) if self._left.isdisjoint(self._blocks.within([m])))
            if done and self._is_there(role, state):
                orders.append(Drop(role, done))
                if len(done) == len(owed):
                    self._release(role, now)
        return orders

    def _look(self, now: float) -> list[Order]:
        """Tell those who are late to yield, and doubt those who have not answered that."""
        for role in [role for role, until in self._told.items() if until <= now]:
            del self._told[role]
            self._doubted.add(role)
        late = self._dues.take(now)
        for role in late:
            self._told[role] = now + max(ANSWERS_WITHIN, 0.25 * self._speeds.usual())
        return [Yield(role) for role in late]

    def _release(self, role: int, now: float) -> None:
        """Note that a role owes nothing more; if it is doubted, it is until it sends something."""
        is_doubted = role in self._doubted
        if is_doubted:
            self._speeds.pause(role, now)
        self._forget(role)
        if is_doubted:
            self._doubted.add(role)

    def _forget(self, role: int) -> None:
        self._dues.forget(role)
        self._told.pop(role, None)
        self._doubted.discard(role)
        self._slow.pop(role, None)
        self._speeds.stop(role)

    # ---- who computes what is open

    def _open(self, state: State) -> set[int]:
        """Return the blocks that are neither in nor in work, as far as that is not slow."""
        found = set(self._left)
        for role in state.asked:
            if role not in self._slow and self._is_believed(role, state):
                found -= self._blocks.within(state.owed(role))
        return found

    def _is_there(self, role: int, state: State) -> bool:
        return role not in state.lost and role not in state.errors

    def _is_believed(self, role: int, state: State) -> bool:
        return role not in self._doubted and self._is_there(role, state)

    def _give(self, blocks: Collection[int], state: State, now: float) -> list[Ask]:
        """Divide blocks among those who hold them, so that all should finish together."""
        able = {block: self._able(block, state) for block in blocks}
        free: dict[int, float] = {}
        given: dict[int, list[int]] = {}
        for block in sorted(blocks, key=lambda block: (len(able[block]), block)):
            best, end = -1, self._in_slow_work(block, state, now)
            for role in able[block]:
                at = free.get(role)
                at = self._speeds.free_at(role, now) if at is None else at
                if at + self._speeds.pace(role) < end:
                    best, end = role, at + self._speeds.pace(role)
            if best in self._slow and not self._told.keys().isdisjoint(state.holders(block)):
                continue  # who may be faster says soon how far it is
            if best >= 0:
                free[best] = end
                given.setdefault(best, []).append(block)
        self._helped |= bool(blocks)
        known = self._hurry and self._speeds.usual() > 0.0
        finish = max(free.values(), default=now)
        due = now + PATIENCE * (finish - now) + AT_LEAST if known else inf
        orders = [Ask(role, self._blocks.merged(given[role])) for role in sorted(given)]
        for order in orders:
            self._expect(order, now, due)
        return orders

    def _able(self, block: int, state: State) -> list[int]:
        """Return who may be asked for a block: if there is nobody else, those who are doubted."""
        able = [
            role
            for role in state.holders(block)
            if self._is_there(role, state)
            and role not in self._told
            and block not in self._blocks.within(state.owed(role))
        ]
        return [role for role in able if role not in self._doubted] or able

    def _in_slow_work(self, block: int, state: State, now: float) -> float:
        """Return when a block should be done by somebody who is slow, inf if by nobody."""
        ends = (
            slow.ends if block in slow.blocks else self._speeds.free_at(role, now)
            for role, slow in self._slow.items()
            if self._is_believed(role, state) and block in self._blocks.within(state.owed(role))
        )
        return min(ends, default=inf)

    def _expect(self, order: Ask, now: float, due: float) -> None:
        """Note what a role has been asked for, and until when."""
        self._note(order, now)
        self._dues.expect(order.role, due)

    def _note(self, order: Ask, now: float) -> int:
        """Note what a role has been asked for; return how many blocks it is."""
        n_blocks = len(self._blocks.within(order.messages))
        self._speeds.ask(order.role, n_blocks, now)
        return n_blocks
