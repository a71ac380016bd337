"""What a side of a stream has yet to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from socket import socket
from typing import Protocol

from dask_gradcode.cluster.worker.wire import Closed

__all__ = ["Outbox"]

_BUFFERS = 16  # handed to the kernel in one call


class Pace(Protocol):
    """How much may be sent when."""

    def allowance(self, wanted: int) -> int:
        """Return how many of the wanted bytes may be sent now."""
        ...

    def spend(self, n_bytes: int) -> None:
        """Note that so many bytes have been sent."""
        ...


class Outbox:
    """Writes frames to a socket and sends only the newest round.

    The frames of a round that are waiting behind an unfinished one are dropped when a newer round
    comes: a slow reader gets the newest ``w`` next, and nothing piles up here.

    Parameters
    ----------
    sock : socket.socket
        If it does not block, then neither does ``flush``.
    pace : Pace, optional
        How much may be sent when. None: whatever the socket takes.
    """

    def __init__(self, sock: socket, pace: Pace | None = None) -> None:
        self._sock, self._pace = sock, pace
        self._now: deque[memoryview] = deque()  # begun: must be finished
        self._next: list[memoryview] = []

    def replace(self, frames: Iterable[Sequence[memoryview]]) -> None:
        """Send these frames next, in place of all that have not been begun."""
        self._next = [part for frame in frames for part in frame]

    def add(self, frame: Sequence[memoryview]) -> None:
        """Send this frame after all others."""
        (self._next if self._next else self._now).extend(frame)

    def flush(self) -> bool:
        """Write what the socket takes now; True if nothing is left.

        Raises
        ------
        Closed
            If the connection is broken.
        """
        while self._now or self._next:
            parts = list(self._now) or self._next
            batch = parts[:_BUFFERS]
            if self._pace is not None:
                batch = _head(batch, self._pace.allowance(sum(part.nbytes for part in batch)))
                if not batch:
                    return False
            try:
                sent = self._sock.sendmsg(batch)
            except BlockingIOError:
                return False
            except OSError as error:
                raise Closed(str(error)) from error
            if self._pace is not None:
                self._pace.spend(sent)
            if not self._now:  # the next round has begun: it must be finished
                self._now.extend(self._next)
                self._next = []
            while self._now and sent >= self._now[0].nbytes:
                sent -= self._now.popleft().nbytes
            if self._now:
                self._now[0] = self._now[0][sent:]
        return True


def _head(parts: Sequence[memoryview], n_bytes: int) -> list[memoryview]:
    """Return the first bytes of some buffers."""
    head = []
    for part in parts:
        if n_bytes <= 0:
            break
        head.append(part[:n_bytes])
        n_bytes -= part.nbytes
    return head
