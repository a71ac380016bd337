"""When those who owe something should have sent it: guessed at first, known once half have."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

__all__ = ["AT_LEAST", "PATIENCE", "Dues"]

PATIENCE = 1.15
"""In expected times: whoever takes longer is late."""

AT_LEAST = 0.001
"""Seconds of lateness below which nobody is late."""

MANY_LATE = 4.0, 16.0
"""As ``PATIENCE``, before half of them have answered: by what is known from earlier rounds, and by
the last answer of this one. All may be slow, and so many would be told in vain."""

A_WHILE = 0.1
"""As ``AT_LEAST``, before half of them have answered."""


class Dues:
    """Until when each role should have sent what it owes.

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
        self._began = 0.0
        self._until: dict[int, float] = {}
        self._first: Mapping[int, float] = {}  # how long each should take, in any unit
        self._n_done = 0  # how many of these have sent all that they were asked for first

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
        until = now + MANY_LATE[0] * longest + A_WHILE if longest else inf
        self._until = dict.fromkeys(first, until)

    @property
    def next(self) -> float:
        """When the first of them is due, inf if none is."""
        return min(self._until.values(), default=inf)

    def expect(self, role: int, until: float) -> None:
        """Note that a role has been asked for something; it may take as long as for all before."""
        self._until[role] = max(until, self._until.get(role, 0.0))

    def forget(self, role: int) -> None:
        """Expect nothing of a role."""
        self._until.pop(role, None)

    def answered(self, role: int, now: float) -> None:
        """Note that a role has sent all that it owes: by the first half it is known who is late."""
        self.forget(role)
        if role not in self._first or 2 * self._n_done >= len(self._first):
            return
        self._n_done += 1
        is_half = 2 * self._n_done >= len(self._first)
        times, at_least = (PATIENCE, AT_LEAST) if is_half else (MANY_LATE[1], A_WHILE)
        for other, until in self._until.items():
            more = max(1.0, self._first.get(other, 0.0) / self._first[role])
            by_then = self._began + times * (now - self._began) * more + at_least
            self._until[other] = min(until, by_then)

    def take(self, now: float) -> list[int]:
        """Return who is late, of whom nothing more is expected."""
        late = [role for role, until in self._until.items() if until <= now]
        for role in late:
            del self._until[role]
        return late
