"""How long workers take for a block: known from the last rounds, and from this one as it goes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from statistics import median_low

__all__ = ["Speeds"]

REMEMBERED = 5
"""Rounds by which a worker's speed is known."""


AWAKE = 2.0
"""How many times faster than before a worker must be for what was before to count no more."""


class Speeds:
    """Keeps how many seconds each role takes for a block, its *pace*.

    A role is *busy* from when it is asked for something until it owes nothing more, or has given
    up the rest. What it sends in between gives its pace. Of a role that is still busy when a round
    ends it is only known that it takes longer than that for all that it was asked for.

    Parameters
    ----------
    n_roles : int
        How many there are.

    Examples
    --------
    >>> speeds = Speeds(2)
    >>> speeds.begin()
    >>> for role in range(2):
    ...     speeds.ask(role, n_blocks=4, now=0.0)
    >>> speeds.done(0, n_blocks=4)
    >>> speeds.rest(0, now=1.0)
    >>> speeds.end(now=5.0)
    >>> speeds.pace(0), speeds.pace(1)
    (0.25, 0.25)

    One slow round says little; worker 1 is as late in the next one:

    >>> speeds.begin()
    >>> speeds.ask(1, n_blocks=4, now=10.0)
    >>> speeds.end(now=15.0)
    >>> speeds.pace(1)
    1.25
    """

    def __init__(self, n_roles: int) -> None:
        self._past = [deque[float](maxlen=REMEMBERED) for _ in range(n_roles)]
        self._now: dict[int, float] = {}  # paces in this round
        self._in_order: list[float] = []  # the same, ascending
        self._before = 0.0  # the usual pace by the last rounds; 0 if nothing is known
        self._paused: set[int] = set()  # in this round
        self._since: dict[int, float] = {}  # when the busy roles began to be
        self._asked: dict[int, int] = {}  # blocks, since then
        self._done: dict[int, int] = {}  # blocks, since then

    def copy(self) -> Speeds:
        """Return speeds that learn apart."""
        other = Speeds(0)
        other._past = [past.copy() for past in self._past]
        other._before = self._before
        for name in ("_now", "_in_order", "_paused", "_since", "_asked", "_done"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def begin(self) -> None:
        """Note that a round begins; nobody is busy with it."""
        self._paused.clear()
        self._in_order.clear()
        for found in (self._now, self._since, self._asked, self._done):
            found.clear()

    def end(self, now: float) -> None:
        """Note that the round ends, and remember what it has shown."""
        for role, since in self._since.items():
            # of roles that are not done no more is known: the rest may be all but finished
            least = (now - since) / self._asked[role]
            if least > self.pace(role):
                self._see(role, least)
        for role, pace in self._now.items():
            past = self._past[role]
            if past and pace * AWAKE < median_low(past):
                past.clear()
            past.append(pace)
        self._now.clear()
        self._in_order.clear()
        known = [median_low(past) for past in self._past if past]
        self._before = median_low(known) if known else 0.0

    def _see(self, role: int, pace: float) -> None:
        """Take in how many seconds a role takes for a block in this round."""
        before, in_order = self._now.get(role), self._in_order
        if before is not None:
            del in_order[bisect_left(in_order, before)]
        self._now[role] = pace
        insort(in_order, pace)

    # ---- what roles do

    def ask(self, role: int, n_blocks: int, now: float) -> None:
        """Note that a role has been asked for so many blocks more."""
        if role not in self._since:
            self._since[role], self._asked[role], self._done[role] = now, 0, 0
        self._asked[role] += n_blocks

    def done(self, role: int, n_blocks: int) -> None:
        """Note that a role has sent so many blocks."""
        if role in self._since:
            self._done[role] += n_blocks

    def is_done(self, role: int) -> bool:
        """Say whether a role has sent all that it has been asked for since it began to be busy."""
        return role in self._since and self._done[role] >= self._asked[role]

    def rest(self, role: int, now: float) -> None:
        """Note that a role owes nothing more."""
        # after a pause it was in the middle of a block: how long that took is not known
        if self._done.get(role) and role not in self._paused:
            self._see(role, (now - self._since[role]) / self._done[role])
        self.stop(role)

    def pause(self, role: int, now: float) -> None:
        """Note that all that a role has finished is here, although it owes more."""
        if role in self._since:
            # and half of the block that it is at, say
            if role not in self._paused:
                self._see(role, (now - self._since[role]) / (self._done[role] + 0.5))
                self._paused.add(role)
            self.stop(role)

    def stop(self, role: int) -> None:
        """Note that a role is busy no more, which says nothing of its pace."""
        for found in (self._since, self._asked, self._done):
            found.pop(role, None)

    # ---- what is known

    def pace(self, role: int) -> float:
        """Return the seconds that a role takes for a block, or what others take; or 0."""
        found = self._now.get(role)
        found = self._learned(role) if found is None else found
        return self.usual() if found is None else found

    def usual(self) -> float:
        """Return the seconds that roles usually take for a block; 0 if nothing is known."""
        known = self._in_order
        return known[(len(known) - 1) // 2] if known else self._before

    def free_at(self, role: int, now: float) -> float:
        """Return when a role will be done with what it has been asked for."""
        if role not in self._since:
            return now
        return max(now, self._since[role] + self._asked[role] * self.pace(role))

    def _learned(self, role: int) -> float | None:
        past = self._past[role]
        if len(past) == 1:  # one slow round says little
            return min(past[0], self.usual())
        return median_low(past) if past else None
