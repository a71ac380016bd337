"""Each computes its own share; what somebody leaves undone, others compute.

So go the rounds of a code whose workers can send more than they compute unasked. Of each block one
thing counts. It is *in*, as part of something that has arrived; or *in work*, as a role that is
believed in owes it; or *open*, and to be given to some role.

At the beginning everybody is asked for its own share. Once half of them have answered it is known
how long a share takes, and when the others should have answered; before that it is only a guess,
and they have several times as long. A role that has not answered by then is told to
*yield*: it sends what it has finished, and goes on with nothing but the block that it is at. The
rest is open. A role that does not even answer that is *doubted*: all that it owes is open, although
it may still come, and then counts.

Open blocks are given to their holders, the slow owner among them, so that all should finish
together by the speeds that are known. When these should have answered is known, too, and so on.
Where blocks arrive that another role owes, that is dropped.
"""

from __future__ import annotations

from math import inf

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
from dask_gradcode.rounds.orders import Ask, Order, Yield
from dask_gradcode.rounds.plans.base import Planner, asking
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE
from dask_gradcode.rounds.plans.giving import Giving, Slow
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Helping"]

ANSWERS_WITHIN = 0.005
"""Seconds in which a role told to yield should answer, or a quarter of a block's if longer."""


class Helping(Giving):
    """Divides what is left undone among its holders.

    Parameters
    ----------
    code : GradientCode
        Says which role holds what.
    hurry : bool, default=True
        Whether late roles are told to yield. If not, others compute only what is lost.
    """

    def __init__(self, code: GradientCode, hurry: bool = True) -> None:
        super().__init__(code, hurry)

    def copy(self) -> Planner:
        other = super().copy()
        assert isinstance(other, Helping)
        other._speeds = self._speeds.copy()
        other._start_anew(self._began)  # as every round does
        return other

    def begin(self, state: State, now: float) -> list[Order]:
        self._start_anew(now)
        self._speeds.begin()
        self.look_at = None
        orders = self._ask_first(state)
        much = {order.role: self._note(order, now) for order in orders}
        if sum(much.values()) < self._code.n_blocks:
            self._work = work = self._seen(state)
            for order in orders:
                work.note(order.role, self._blocks.within(order.messages), counts=True)
            given = self._give(work.open, state, now)
            for order in given:
                count = self._blocks.count(order.messages)
                much[order.role] = much.get(order.role, 0) + count
            orders += given
        lasting = {role: self._lasting(role, n_blocks) for role, n_blocks in much.items()}
        self._dues.begin(now, lasting, max(lasting.values(), default=0.0) if self._knows else 0.0)
        return [*orders]

    def _ask_first(self, state: State) -> list[Ask]:
        """Return which role is asked for what at the beginning."""
        first = ((role, state.unasked(role)) for role in state.ready())
        return [asking(role, messages) for role, messages in first if messages]

    def _lasting(self, role: int, n_blocks: int) -> float:
        """Return how long so many blocks should take a role, in any unit until speeds are known."""
        return n_blocks * (self._speeds.usual() or 1.0)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        self._n_seen = len(state.answers)
        orders, changed = self._take_note(event, state, now)
        if self._work or not isinstance(event, Arrived) or event.role in state.lost:
            orders += self._share_out(changed, state, now)
        at = min(self._dues.next, self._told.next)
        self.look_at = None if at == inf else at
        return orders

    def _take_note(
        self, event: Event | None, state: State, now: float
    ) -> tuple[list[Order], list[int]]:
        """Take in what has happened; return orders, and the roles of which there is news."""
        match event:
            case Arrived(_, role, message):
                return [], self._take(role, message, state, now)
            case Yielded(_, role, running):
                self._pause(role, running, state, now)
            case Ready(role) | Lost(role) | Failed(_, role):
                self._forget(role)
            case Silent(role):
                self._doubted.add(role)
            case Heard(role):
                self._doubted.discard(role)
        if event is not None:
            return [], [event.role]
        doubted = self._told.take(now)  # they have not even answered that
        self._doubted.update(doubted)
        return self._hurry_up(now), doubted

    def end(self, record: RoundRecord) -> None:
        for role, message, seconds, _ in record.answers[self._n_seen :]:  # which ended the round
            self._speeds.done(role, len(self._code.messages[message].blocks))
            if self._speeds.is_done(role):
                self._speeds.rest(role, self._began + seconds)
        for role in self._doubted:  # as far as anybody knows they have done nothing
            self._speeds.pause(role, self._began + record.seconds)
        self._speeds.end(self._began + record.seconds)

    # ---- what happens

    def _take(self, role: int, message: int, state: State, now: float) -> list[int]:
        """Take in a message, which says how fast its sender is; return the roles that owe any."""
        if not state.arrived[message]:  # it cannot be right
            self._forget(role)
            return [role]
        came = self._code.messages[message].blocks
        self._left.difference_update(came)
        self._speeds.done(role, len(came))
        if not state.owed(role):
            self._speeds.rest(role, now)
            self._forget(role)
            if self._hurry:
                self._dues.answered(role, now)
        return [] if self._work is None else sorted({role, *self._work.arrive(came)})

    def _pause(self, role: int, running: int | None, state: State, now: float) -> None:
        """Take in that a role has given up all but the block that it is at, say in the middle."""
        self._doubted.discard(role)
        if not state.owed(role) - {running}:  # it has not been asked for more since
            self._slow_down(role, running, now)

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
        self._slow[role] = Slow(blocks, since, now + left)

    def _hurry_up(self, now: float) -> list[Order]:
        """Tell the late roles to yield."""
        late = self._dues.take(now)
        for role in late:
            self._told.set(role, now + max(ANSWERS_WITHIN, 0.25 * self._speeds.usual()))
        return [Yield(role) for role in late]
