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
_SCRATCH = 1 << 16
_BUFFERS = 16  # handed to the kernel in one call


class Closed(Exception):
    """The other side is gone."""


class Kind(IntEnum):
    """What a frame says."""

    JOB = 0  # to the worker: the pickled code and loss, once a fit
    BEGIN = 1  # to the worker: asks as below, then w, which supersedes every older round
    ASK = 2  # to the worker: which messages of the round to compute, in order
    ANSWER = 3  # from the worker: a payload
    ERROR = 4  # from the worker: the pickled exception in a message's place


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame; its body as bytes, 8-byte aligned.

    ``message`` is the number of messages asked for where there may be several.
    """

    kind: Kind
    round: int
    message: int
    body: NDArray[np.uint8]


def pack(kind: Kind, round: int, message: int, *body: Any) -> list[Any]:
    """Return the buffers of a frame; those of its body are not copied."""
    views = [memoryview(part).cast("B") for part in body]
    size = sum(view.nbytes for view in views)
    return [memoryview(_HEADER.pack(kind, round, message, size)), *views]


class Reader:
    """Reads frames from a socket, as far as they have come.

    Small frames come many at a call; the body of a large one is read into its place.

    Parameters
    ----------
    sock : socket.socket
        Whether it blocks does not matter: ``read`` does not.
    reuse : bool, default=False
        Whether the body of a large frame may lie where that of the last one lay, which is then
        overwritten. Dask has its workers give freed memory back at once, so that large arrays
        cost more time to get than to fill.
    """

    def __init__(self, sock: socket, reuse: bool = False) -> None:
        self._sock, self._reuse = sock, reuse
        self._large = np.empty(0, dtype=np.uint8)  # the last large body
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._start = self._stop = 0  # of what is read but not yet taken from scratch
        self._header: tuple[int, ...] | None = None  # of the frame whose body is being read
        self._body = np.empty(0, dtype=np.uint8)
        self._filled = 0  # bytes of the body

    def read(self) -> Frame | None:
        """Return the next frame if all of it has come, else None.

        Raises
        ------
        Closed
            If the other side has closed the connection.
        """
        frame = self._take()
        while frame is None and self._receive():
            frame = self._take()
        return frame

    @property
    def has_more(self) -> bool:
        """Whether bytes have been received that are not yet part of a frame.

        Right after a frame, if not, whatever else may come is for the next call: to ask the socket
        would cost as much as to read from it.
        """
        return self._start < self._stop

    def begun(self) -> Kind | None:
        """Return the kind of the frame of which the header, but not all of the body, has come."""
        return None if self._header is None else Kind(self._header[0])

    def _take(self) -> Frame | None:
        """Take from scratch what belongs to the next frame, and return it if it is whole."""
        if self._header is None:
            if self._stop - self._start < _HEADER.size:
                return None
            self._header = _HEADER.unpack_from(self._scratch, self._start)
            self._start += _HEADER.size
            self._body, self._filled = self._room(self._header[3]), 0
        count = min(self._stop - self._start, self._body.size - self._filled)
        self._body.data[self._filled : self._filled + count] = self._scratch[
            self._start : self._start + count
        ]
        self._start, self._filled = self._start + count, self._filled + count
        if self._filled < self._body.size:
            return None
        kind, round_, message, _ = self._header
        self._header = None
        return Frame(Kind(kind), round_, message, self._body)

    def _room(self, size: int) -> NDArray[np.uint8]:
        if not self._reuse or size < _SCRATCH:
            return np.empty(size, dtype=np.uint8)
        if self._large.size != size:
            self._large = np.empty(size, dtype=np.uint8)
        return self._large

    def _receive(self) -> bool:
        """Read once; False if nothing has come."""
        left = self._body.size - self._filled
        if self._header is not None and left >= _SCRATCH:
            n = self._receive_into(self._body.data[self._filled :])
            self._filled += n
            return n > 0
        rest = self._stop - self._start  # less than a header
        self._scratch[:rest] = self._scratch[self._start : self._stop]
        n = self._receive_into(self._scratch[rest:])
        self._start, self._stop = 0, rest + n
        return n > 0

    def _receive_into(self, buffer: memoryview) -> int:
        try:
            n = self._sock.recv_into(buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Closed(str(error)) from error
        if n == 0:
            raise Closed("it closed the connection")
        return n


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
            try:
                sent = self._sock.sendmsg(parts[:_BUFFERS])
            except BlockingIOError:
                return False
            except OSError as error:
                raise Closed(str(error)) from error
            if not self._now:  # the next round has begun: it must be finished
                self._now.extend(self._next)
                self._next = []
            while self._now and sent >= self._now[0].nbytes:
                sent -= self._now.popleft().nbytes
            if self._now:
                self._now[0] = self._now[0][sent:]
        return True
