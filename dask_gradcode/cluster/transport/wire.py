"""What travels on a stream: frames of a small header and one raw array."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from socket import MSG_DONTWAIT, socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Closed", "Frame", "Kind", "Outbox", "Reader", "pack"]

_HEADER = struct.Struct("<bqqq")  # kind, round, message, bytes of the body
_BUFFERS = 16  # handed to the kernel in one call


class Closed(Exception):
    """The other side is gone."""


class Kind(IntEnum):
    """What a frame says."""

    JOB = 0  # to the worker: the pickled code and loss, once a fit
    BEGIN = 1  # to the worker: w, which supersedes every older round
    ASK = 2  # to the worker: which messages of the round to compute, in order
    ANSWER = 3  # from the worker: a payload
    ERROR = 4  # from the worker: the pickled exception in a message's place


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame; its body as bytes, 8-byte aligned."""

    kind: Kind
    round: int
    message: int
    body: NDArray[np.uint8]


def pack(kind: Kind, round: int, message: int, body: Any) -> tuple[bytes, memoryview]:
    """Return the two buffers of a frame; the body is not copied."""
    view = memoryview(body).cast("B")
    return _HEADER.pack(kind, round, message, view.nbytes), view


class Reader:
    """Reads frames from a socket, as far as they have come.

    Parameters
    ----------
    sock : socket.socket
        Whether it blocks does not matter: ``read`` does not.
    """

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._header = bytearray(_HEADER.size)
        self._body: NDArray[np.uint8] | None = None
        self._into = memoryview(self._header)

    def read(self) -> Frame | None:
        """Return the next frame if all of it has come, else None.

        Raises
        ------
        Closed
            If the other side has closed the connection.
        """
        while True:
            while self._into:
                try:
                    n = self._sock.recv_into(self._into, 0, MSG_DONTWAIT)
                except BlockingIOError:
                    return None
                except OSError as error:
                    raise Closed(str(error)) from error
                if n == 0:
                    raise Closed("it closed the connection")
                self._into = self._into[n:]
            if self._body is None:
                size = _HEADER.unpack(self._header)[3]
                self._body = np.empty(size, dtype=np.uint8)
                self._into = self._body.data
            else:
                kind, round_, message, _ = _HEADER.unpack(self._header)
                frame = Frame(Kind(kind), round_, message, self._body)
                self._body, self._into = None, memoryview(self._header)
                return frame

    def begun(self) -> Kind | None:
        """Return the kind of the frame of which the header alone, or more, has come."""
        return None if self._body is None else Kind(self._header[0])


class Outbox:
    """Writes frames to a socket and sends only the newest round.

    The frames of a round that are waiting behind an unfinished one are dropped when a newer round
    comes: whoever reads slowly gets the newest ``w`` next, and nothing piles up here.

    Parameters
    ----------
    sock : socket.socket
        If it does not block, then neither does ``flush``.
    """

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._now: deque[memoryview] = deque()  # begun: must be finished
        self._next: list[memoryview] = []

    def replace(self, frames: Iterable[Sequence[Any]]) -> None:
        """Send these frames next, in place of all that have not been begun."""
        self._next = [memoryview(part) for frame in frames for part in frame]

    def add(self, frame: Sequence[Any]) -> None:
        """Send this frame after all others."""
        (self._next if self._next else self._now).extend(memoryview(part) for part in frame)

    def flush(self) -> bool:
        """Write what the socket takes now; True if nothing is left.

        Raises
        ------
        Closed
            If the connection is broken.
        """
        while self._now or self._next:
            if not self._now:
                self._now.extend(self._next)
                self._next = []
            try:
                sent = self._sock.sendmsg(list(self._now)[:_BUFFERS])
            except BlockingIOError:
                return False
            except OSError as error:
                raise Closed(str(error)) from error
            while self._now and sent >= self._now[0].nbytes:
                sent -= self._now.popleft().nbytes
            if self._now:
                self._now[0] = self._now[0][sent:]
        return True
