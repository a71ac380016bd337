"""Until when each of some roles has time; the first to run out of it is known at once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import inf

__all__ = ["Deadlines"]


class Deadlines:
    """A time for each of some roles.

    To set, forget or look costs the same however many there are, but for a logarithm.

    Examples
    --------
    >>> deadlines = Deadlines()
    >>> deadlines.set(3, 2.0), deadlines.set(1, 1.0), deadlines.set(1, 4.0)
    (None, None, None)
    >>> deadlines.next, deadlines.take(3.0), deadlines.next, list(deadlines)
    (2.0, [3], 4.0, [1])
    """

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # with what no longer holds

    def set(self, role: int, until: float) -> None:
        """Give a role until then, whatever it had."""
        if self._until.get(role) != until:
            self._until[role] = until
            heapq.heappush(self._heap, (until, role))

    def get(self, role: int) -> float | None:
        """Return until when a role has time, None if it has no deadline."""
        return self._until.get(role)

    def forget(self, role: int) -> None:
        """Let a role have no deadline."""
        self._until.pop(role, None)

    @property
    def next(self) -> float:
        """The earliest, inf if there is none."""
        heap = self._heap
        while heap and self._until.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else inf

    def take(self, now: float) -> list[int]:
        """Return the roles whose time is up, ascending, and forget their deadlines."""
        found: list[int] = []
        while self.next <= now < inf:
            _, role = heapq.heappop(self._heap)
            del self._until[role]
            found.append(role)
        return sorted(found)

    def __iter__(self) -> Iterator[int]:
        return iter(self._until)

    def __contains__(self, role: object) -> bool:
        return role in self._until

    def __len__(self) -> int:
        return len(self._until)
