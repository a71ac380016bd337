"""How long workers take for a block: known from the last rounds, and from this one as it goes."""

from __future__ import annotations

from collections import deque
from statistics import median_low

__all__ = ["Speeds"]

REMEMBERED = 5
"""Rounds by which a worker's speed is known."""


class Speeds:
    """Keeps how many seconds each role takes for a block, its *pace*.

    A role is *busy* from when it is asked for something until it owes nothing more, or has given
    up the rest. What it sends in between gives its pace. Of a role that has sent nothing it is only
    known that its pace is no better than the time that it has had.

    Parameters
    ----------
    n_roles : int
        How many there are.

    Examples
    --------
    >>> speeds = Speeds(2)
    >>> speeds.begin(now=0.0)
    >>> for role in range(2):
    ...     speeds.ask(role, n_blocks=4, now=0.0)
    >>> speeds.done(0, n_blocks=4)
    >>> speeds.rest(0, now=1.0)
    >>> speeds.end(now=5.0)
    >>> speeds.pace(0), speeds.pace(1)
    (0.25, 10.0)
    """

    def __init__(self, n_roles: int) -> None:
        self._past = [deque[float](maxlen=REMEMBERED) for _ in range(n_roles)]
        self._now: dict[int, float] = {}  # paces in this round
        self._since: dict[int, float] = {}  # when those who are busy began to be
        self._asked: dict[int, int] = {}  # blocks, since then
        self._done: dict[int, int] = {}  # blocks, since then

    def copy(self) -> Speeds:
        """Return speeds that learn apart."""
        other = Speeds(0)
        other._past = [past.copy() for past in self._past]
        for name in ("_now", "_since", "_asked", "_done"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def begin(self, now: float) -> None:
        """Note that a round begins; nobody is busy with it."""
        for found in (self._now, self._since, self._asked, self._done):
            found.clear()

    def end(self, now: float) -> None:
        """Note that the round ends, and remember what it has shown."""
        for role in list(self._since):
            self.pause(role, now)
        for role, pace in self._now.items():
            self._past[role].append(pace)

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

    def rest(self, role: int, now: float) -> None:
        """Note that a role owes nothing more."""
        if self._done.get(role):
            self._now[role] = (now - self._since[role]) / self._done[role]
        self.stop(role)

    def pause(self, role: int, now: float) -> None:
        """Note that a role is not done when it is asked how far it is."""
        if role in self._since:
            done = self._done[role] + 0.5  # and half a block that it is at, say
            pace = (now - self._since[role]) / done
            # of a role that has hardly begun nothing is known
            self._now[role] = max(pace, self._now.get(role, 0.0), self._learned(role) or 0.0)
            self.stop(role)

    def stop(self, role: int) -> None:
        """Note that a role is busy no more, which says nothing of its pace."""
        for found in (self._since, self._asked, self._done):
            found.pop(role, None)

    # ---- what is known

    def pace(self, role: int) -> float:
        """Return the seconds that a role takes for a block, or those that others take; or 0."""
        found = self._now.get(role)
        found = self._learned(role) if found is None else found
        return self.usual() if found is None else found

    def usual(self) -> float:
        """Return the seconds that roles usually take for a block; 0 if nothing is known."""
        known = list(self._now.values()) or [median_low(past) for past in self._past if past]
        return median_low(known) if known else 0.0

    def free_at(self, role: int, now: float) -> float:
        """Return when a role will be done with what it has been asked for."""
        if role not in self._since:
            return now
        return max(now, self._since[role] + self._asked[role] * self.pace(role))

    def _learned(self, role: int) -> float | None:
        past = self._past[role]
        return median_low(past) if past else None
