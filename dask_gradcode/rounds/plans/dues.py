"""When roles should have sent what they owe: guessed at first, known once half have sent it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from dask_gradcode.rounds.plans.deadlines import Deadlines

__all__ = ["AT_LEAST", "PATIENCE", "Dues"]

PATIENCE = 1.15
"""In expected times: a role that takes longer is late."""

AT_LEAST = 0.001
"""Seconds of lateness below which nobody is late."""

MANY_LATE = 4.0, 16.0
"""As ``PATIENCE``, before half of them have answered: by what is known from earlier rounds, and by
the last answer of this one. All may be slow, and so many would be told in vain."""

A_WHILE = 0.1
"""As ``AT_LEAST``, before half of them have answered."""


class Dues:
    """Until when each role should have sent what it owes.

    For what is asked at the beginning that follows from how much it is. Little more than three
    numbers, of the roles that have answered, tell it for all others. Only roles asked for more in
    the middle of a round have times of their own. So an answer costs the same in a round of a
    thousand as in one of ten.

    Examples
    --------
    Four are asked for as much, and two have answered after a second:

    >>> dues = Dues()
    >>> dues.begin(now=10.0, first=dict.fromkeys(range(4), 1.0))
    >>> dues.next
    inf
    >>> dues.answered(2, now=11.0)
    >>> round(dues.next, 3)
    26.1
    >>> dues.answered(0, now=11.0)
    >>> round(dues.next, 3)
    11.151
    >>> dues.take(12.0)
    [1, 3]
    """

    def __init__(self) -> None:
        self.begin(0.0, {})

    def begin(self, now: float, first: Mapping[int, float], longest: float = 0.0) -> None:
        """Note that a round begins.

        Parameters
        ----------
        now : float
            When.
        first : mapping of int to float
            How long each role should take for what it is asked first, in any unit.
        longest : float, default=0.0
            How many seconds the last of them should take; 0 if that is not known.
        """
        self._began, self._first, self._n_done = now, first, 0
        self._from_the_start = now + MANY_LATE[0] * longest + A_WHILE if longest else inf
        self._soonest = self._pace = inf  # the first answer, the least seconds for one of a unit
        self._half: tuple[float, float] | None = None  # the answer by which half had come
        # asked for nothing since: the roles that were asked for least are due first
        self._waiting = set(first)
        self._in_order = sorted(first, key=lambda role: (first[role], role))
        self._n_passed = 0  # of these, how many are not waiting any more
        self._again = Deadlines()  # of the others

    @property
    def next(self) -> float:
        """When the first of them is due, inf if none is."""
        role = self._least()
        again = self._again.next
        return again if role is None else min(self._due(role), again)

    def _least(self) -> int | None:
        """Return which of the roles still waiting was asked for least."""
        in_order, waiting = self._in_order, self._waiting
        while self._n_passed < len(in_order):
            role = in_order[self._n_passed]
            if role in waiting:
                return role
            self._n_passed += 1
        return None

    def _due(self, role: int) -> float:
        """Return until when a role has time for what it was asked first."""
        much, until = self._first[role], self._from_the_start
        if self._soonest < inf:
            least = max(self._soonest, much * self._pace)
            until = min(until, self._began + MANY_LATE[1] * least + A_WHILE)
        if self._half:
            took, asked = self._half
            usual = took * max(1.0, much / asked)
            until = min(until, self._began + PATIENCE * usual + AT_LEAST)
        return until

    def expect(self, role: int, until: float) -> None:
        """Note that a role has been asked for something; it may take as long as for all before."""
        before = self._again.get(role)
        if role in self._waiting:
            before = self._due(role)
            self._waiting.remove(role)
        self._again.set(role, until if before is None else max(until, before))

    def forget(self, role: int) -> None:
        """Expect nothing of a role."""
        self._waiting.discard(role)
        self._again.forget(role)

    def answered(self, role: int, now: float) -> None:
        """Note that a role has sent all that it owes: the first half tell which roles are late."""
        self.forget(role)
        if role not in self._first or 2 * self._n_done >= len(self._first):
            return
        self._n_done += 1
        took, asked = now - self._began, self._first[role]
        is_half = 2 * self._n_done >= len(self._first)
        if is_half:
            self._half = took, asked
        else:
            self._soonest, self._pace = min(self._soonest, took), min(self._pace, took / asked)
        times, at_least = (PATIENCE, AT_LEAST) if is_half else (MANY_LATE[1], A_WHILE)
        for other in list(self._again):
            usual = took * max(1.0, self._first.get(other, 0.0) / asked)
            by_then, until = self._began + times * usual + at_least, self._again.get(other)
            assert until is not None
            self._again.set(other, min(until, by_then))

    def take(self, now: float) -> list[int]:
        """Return the late roles, from which nothing more is expected, ascending."""
        late = self._again.take(now)
        while (role := self._least()) is not None and self._due(role) <= now:
            self._waiting.remove(role)
            late.append(role)
        return sorted(late)
