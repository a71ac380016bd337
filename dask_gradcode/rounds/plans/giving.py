"""Which roles compute the blocks that nobody is at work on."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.orders import Ask, Drop, Order
from dask_gradcode.rounds.plans.base import Planner
from dask_gradcode.rounds.plans.blocks import Blocks
from dask_gradcode.rounds.plans.deadlines import Deadlines
from dask_gradcode.rounds.plans.dividing import divided
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE, Dues
from dask_gradcode.rounds.plans.in_work import InWork
from dask_gradcode.rounds.plans.speeds import Speeds
from dask_gradcode.rounds.state import State

__all__ = ["Giving", "Slow"]


class Slow(NamedTuple):
    """A role that has yielded."""

    blocks: frozenset[int]  # that it is at
    since: float  # when that was said first
    ends: float  # when it should be done


class Giving(Planner):
    """Knows what is left in a round, and gives what is open to its holders.

    What has changed is taken in role by role; a block that could be given to nobody is looked at
    again when there is news of a role that holds it. So an event costs as much as one role
    holds, not as much as there is.

    Parameters
    ----------
    code : GradientCode
        Says which role holds what.
    hurry : bool
        Whether it is to be known when somebody is late.
    """

    def __init__(self, code: GradientCode, hurry: bool) -> None:
        self._code, self._hurry = code, hurry
        self._blocks, self._speeds = Blocks(code), Speeds(code.n_workers)
        self._start_anew(0.0)

    def _start_anew(self, now: float) -> None:
        self._began = now
        self._left = set(range(self._code.n_blocks))  # blocks that are not in
        self._dues = Dues()
        self._told = Deadlines()  # until when roles told to yield may answer
        self._doubted: set[int] = set()
        self._slow: dict[int, Slow] = {}  # roles that have yielded
        self._n_seen = 0  # how many answers
        self._work: InWork | None = None  # made when something may have to be given away
        self._n_changes = 0  # of which roles are there, as far as is taken in
        self._helped = False  # whether anything has been given away

    @property
    def _knows(self) -> bool:
        """Whether it is known from earlier when somebody is late."""
        return self._hurry and self._speeds.usual() > 0.0

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
        self._told.forget(role)
        self._doubted.discard(role)
        self._slow.pop(role, None)
        self._speeds.stop(role)

    def _share_out(self, changed: Collection[int], state: State, now: float) -> list[Order]:
        """Drop what is in, and give away what is open and may be given since roles have changed."""
        work, suspects = self._work, changed
        if work is None or self._n_changes != state.n_changes:
            work = self._work = self._seen(state)
            suspects, wanted = list(state.asked), {*work.open}
        else:
            for role in changed:
                self._see(role, work, state)
            wanted = {block for role in changed for block in self._blocks.held(role)} & work.open
            if wanted and not self._helped:  # some were tried with what has come from others
                suspects = list(state.asked)
        drops = self._drop(suspects, state, now) if wanted or self._helped else []
        return [*drops, *self._give(wanted, state, now)]

    def _seen(self, state: State) -> InWork:
        """Return which roles are at work on what."""
        work = InWork(self._left)
        for role in state.asked:
            self._see(role, work, state)
        self._n_changes = state.n_changes
        return work

    def _see(self, role: int, work: InWork, state: State) -> None:
        counts = role not in self._slow and self._is_believed(role, state)
        work.note(role, self._blocks.within(state.owed(role)), counts)

    def _drop(self, roles: Collection[int], state: State, now: float) -> list[Order]:
        """Drop what any of some roles owes of which all is in."""
        orders: list[Order] = []
        for role in roles:
            owed = state.owed(role)
            done = tuple(m for m in sorted(owed) if self._left.isdisjoint(self._blocks.within([m])))
            if done and self._is_there(role, state):
                orders.append(Drop(role, done))
                if len(done) == len(owed):
                    self._release(role, now)
        return orders

    def _is_there(self, role: int, state: State) -> bool:
        return role not in state.lost and role not in state.errors

    def _is_believed(self, role: int, state: State) -> bool:
        return role not in self._doubted and self._is_there(role, state)

    def _give(self, blocks: Collection[int], state: State, now: float) -> list[Ask]:
        """Divide blocks among their holders, so that all should finish together."""
        if not blocks:
            return []
        self._helped = True
        given, finish = divided(
            {block: self._able(block, state) for block in blocks},
            free_at=lambda role: self._speeds.free_at(role, now),
            pace=self._speeds.pace,
            done_at=lambda block: self._in_slow_work(block, state, now),
            # a holder that may be faster says soon how far it is
            waits=lambda block, role: (
                role in self._slow and any(holder in self._told for holder in state.holders(block))
            ),
        )
        last = max(finish.values(), default=now)
        due = now + PATIENCE * (last - now) + AT_LEAST if self._knows else inf
        orders = [Ask(role, self._blocks.merged(given[role])) for role in sorted(given)]
        for order in orders:
            self._expect(order, now, due)
            self._add(order, state)
        return orders

    def _add(self, order: Ask, state: State) -> None:
        """Note that a role is at work on more."""
        assert self._work is not None
        role = order.role
        counts = role not in self._slow and self._is_believed(role, state)
        blocks = self._blocks.within(order.messages).union(self._work.owed(role))
        self._work.note(role, blocks, counts)

    def _able(self, block: int, state: State) -> list[int]:
        """Return which roles may be asked for a block: doubted ones if there are no others."""
        assert self._work is not None
        owers = self._work.owers(block)
        able = [
            role
            for role in state.holders(block)
            if self._is_there(role, state) and role not in self._told and role not in owers
        ]
        return [role for role in able if role not in self._doubted] or able

    def _in_slow_work(self, block: int, state: State, now: float) -> float:
        """Return when a slow role should be done with a block, inf if none will be."""
        assert self._work is not None
        ends = (
            slow.ends if block in slow.blocks else self._speeds.free_at(role, now)
            for role in self._work.owers(block)
            if (slow := self._slow.get(role)) and self._is_believed(role, state)
        )
        return min(ends, default=inf)

    def _expect(self, order: Ask, now: float, due: float) -> None:
        """Note what a role has been asked for, and until when."""
        self._note(order, now)
        self._dues.expect(order.role, due)

    def _note(self, order: Ask, now: float) -> int:
        """Note what a role has been asked for; return how many blocks it is."""
        n_blocks = self._blocks.count(order.messages)
        self._speeds.ask(order.role, n_blocks, now)
        return n_blocks
