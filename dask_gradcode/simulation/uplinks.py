"""What virtual workers have to send, one message after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["Uplinks"]


class Uplinks:
    """The links by which virtual workers send; what has been begun is sent to its end.

    Parameters
    ----------
    seconds : sequence of float
        For each role how long it takes to send a whole payload.

    Examples
    --------
    Role 0 has two halves of a payload to send, which takes it four seconds:

    >>> uplinks = Uplinks([4.0])
    >>> uplinks.add(0, message=7, share=0.5, now=10.0), uplinks.add(0, 8, 0.5, now=11.0)
    ((7, 12.0), None)
    >>> uplinks.next(0, now=12.0)
    (8, 14.0)
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds
        self._free_at = [0.0] * len(seconds)
        self._queues: list[deque[tuple[int, float]]] = [deque() for _ in seconds]
        self._sending = [-1] * len(seconds)  # or what was sent last

    def busy_until(self, role: int) -> float:
        """Return when a role will have sent what it is sending."""
        return self._free_at[role]

    def add(self, role: int, message: int, share: float, now: float) -> tuple[int, float] | None:
        """Have a role send a message, of that share of a payload.

        Returns
        -------
        tuple of int and float or None
            What is sent now, and when it is there; None if it has to wait for ``next``.
        """
        if message not in (self._sending[role], *(waiting for waiting, _ in self._queues[role])):
            self._queues[role].append((message, share))  # else it need not be sent again
        return self.next(role, now)

    def next(self, role: int, now: float) -> tuple[int, float] | None:
        """Begin to send what is next, if anything is and the link is free, as from ``add``."""
        if now < self._free_at[role] or not self._queues[role]:
            return None
        message, share = self._queues[role].popleft()
        self._sending[role] = message
        self._free_at[role] = now + share * self._seconds[role]
        return message, self._free_at[role]

    def drop(self, role: int, messages: Sequence[int]) -> None:
        """Give up messages that have not been begun."""
        queue = self._queues[role]
        self._queues[role] = deque(waiting for waiting in queue if waiting[0] not in messages)

    def clear(self, role: int) -> None:
        """Give up all that has not been begun."""
        self._queues[role].clear()
        self._sending[role] = -1
