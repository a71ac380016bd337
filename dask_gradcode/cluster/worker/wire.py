"""What travels on a stream: frames of a small header and one raw array.

A header begins with a mark and the version of all this, so that rubbish and another version are
known for what they are before anything is done with them. Neither side takes memory on the word of
a header: a large body gets it as it comes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from socket import MSG_DONTWAIT, socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TO_CLIENT",
    "TO_WORKER",
    "VERSION",
    "Closed",
    "Frame",
    "Kind",
    "Reader",
    "Unreadable",
    "pack",
]

VERSION = 7
"""Grows whenever frames, or what their bodies mean, are no longer the same."""

_HEADER = struct.Struct("<2sBBqqq")  # mark, version, kind, round, number, bytes of the body
_MARK = b"GC"
_NUMBER = 8  # bytes of a float64 or an int64
DIGEST_SIZE = 16
_SCRATCH = 1 << 16
_GRANT = 1 << 26  # bytes that a body gets at once; the system lends them, and only what is written
_LARGEST = 1 << 40  # bytes of a body: no machine would hold more


class Closed(Exception):
    """The other side is gone."""


class Unreadable(RuntimeError):
    """The other side sent what is no frame, or none for this side."""


class Kind(IntEnum):
    """What a frame says."""

    JOB = 0  # to the worker: the pickled code and loss, once a fit
    BEGIN = 1  # to the worker: asks as below, order, n_points, w; it supersedes every older round
    ASK = 2  # to the worker: which messages of the round, in order; ~i for the digest of message i
    ANSWER = 3  # from the worker: a payload, or slices of one
    ERROR = 4  # from the worker: the packed exception in a message's place
    REFUSAL = 5  # from the worker: the packed exception for which it ends the connection
    YIELD = 6  # to the worker: send what is finished of the round, give up what is not begun
    DROP = 7  # to the worker: which messages of the round to give up
    YIELDED = 8  # from the worker, after what was finished: the leaf that it is at; -1 for none
    DIGEST = 9  # from the worker: that of a payload, which it keeps until the next round


TO_WORKER = (Kind.JOB, Kind.BEGIN, Kind.ASK, Kind.YIELD, Kind.DROP)
TO_CLIENT = (Kind.ANSWER, Kind.ERROR, Kind.REFUSAL, Kind.YIELDED, Kind.DIGEST)

_FITS: Mapping[Kind, Callable[[int, int], bool]] = {  # whether number and bytes go together
    Kind.JOB: lambda number, size: True,
    Kind.BEGIN: lambda number, size: (
        not size % _NUMBER and 0 <= _NUMBER * number <= size - 2 * _NUMBER
    ),
    Kind.ASK: lambda number, size: size == _NUMBER * number,
    Kind.ANSWER: lambda number, size: not size % _NUMBER,  # of a slice there may be nothing
    Kind.ERROR: lambda number, size: True,
    Kind.REFUSAL: lambda number, size: True,
    Kind.YIELD: lambda number, size: size == 0,
    Kind.DROP: lambda number, size: size == _NUMBER * number,
    Kind.YIELDED: lambda number, size: size == 0,
    Kind.DIGEST: lambda number, size: size == DIGEST_SIZE,
}


@dataclass(
    eq=False, slots=True
)  # made for each message: one that is frozen takes three times as long
class Frame:
    """One frame; its body as bytes, 8-byte aligned.

    ``number`` says which message it is about, and how many where it asks for messages.
    """

    kind: Kind
    round: int
    number: int
    body: NDArray[np.uint8]


def pack(kind: Kind, round: int, number: int, *body: Any) -> list[Any]:
    """Return the buffers of a frame; those of its body are not copied."""
    frame, size = [memoryview(b"")], 0
    for part in body:
        view = memoryview(part)
        if view.nbytes:  # nothing cannot be cast
            view = view.cast("B")
            size += view.nbytes
            frame.append(view)
    frame[0] = memoryview(_HEADER.pack(_MARK, VERSION, kind, round, number, size))
    return frame


class Reader:
    """Reads frames from a socket, as far as they have come.

    Small frames come many at a call; the body of a large one is read into its place.

    Parameters
    ----------
    sock : socket.socket
        Whether it blocks does not matter: ``read`` does not.
    kinds : collection of Kind
        What the other side may send.
    reuse : bool, default=False
        Whether the body of a large frame may lie where that of the last one lay, which is then
        overwritten. Dask has its workers give freed memory back at once, so that large arrays
        cost more time to get than to fill.
    """

    def __init__(self, sock: socket, kinds: Collection[Kind], reuse: bool = False) -> None:
        self._sock, self._reuse = sock, reuse
        self._known = {int(kind): (kind, _FITS[kind]) for kind in kinds}
        self._large = np.empty(0, dtype=np.uint8)  # the last large body
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._start = self._stop = 0  # of what is read but not yet taken from scratch
        self._kind: Kind | None = None  # of the frame whose body is being read, as what follows
        self._round = self._number = self._size = 0
        self._body = np.empty(0, dtype=np.uint8)  # room for all of it, or for what has come so far
        self._filled = 0  # bytes of the body

    def read(self) -> Frame | None:
        """Return the next frame if all of it has come, else None.

        Raises
        ------
        Closed
            If the other side has closed the connection.
        Unreadable
            If it sent something else; nothing more can then be read.
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
        return self._kind

    def _take(self) -> Frame | None:
        """Take from scratch what belongs to the next frame, and return it if it is whole."""
        if self._kind is None:
            if self._stop - self._start < _HEADER.size:
                return None
            self._begin()
        count = min(self._stop - self._start, self._size - self._filled)
        if self._filled + count > self._body.size:
            self._grow()
        self._body.data[self._filled : self._filled + count] = self._scratch[
            self._start : self._start + count
        ]
        self._start, self._filled = self._start + count, self._filled + count
        if self._filled < self._size:
            return None
        frame = Frame(self._kind, self._round, self._number, self._body)  # type: ignore[arg-type]
        self._kind = None
        return frame

    def _begin(self) -> None:
        """Take a header from scratch and make room for its body."""
        header = _HEADER.unpack_from(self._scratch, self._start)
        mark, version, code, round_, number, size = header
        kind, fits = self._known.get(code, (None, None))
        if (
            mark != _MARK
            or version != VERSION
            or fits is None
            or not 0 <= size <= _LARGEST
            or not fits(number, size)
        ):
            raise Unreadable(self._why(*header))
        self._start += _HEADER.size
        self._kind, self._round, self._number, self._size = kind, round_, number, size
        self._filled = 0
        if not self._reuse or size < _SCRATCH:
            self._body = np.empty(min(size, _GRANT), dtype=np.uint8)
            return
        if self._large.size != size:
            self._large = np.empty(min(size, _GRANT), dtype=np.uint8)
        self._body = self._large

    def _why(self, mark: bytes, version: int, code: int, round: int, number: int, size: int) -> str:
        """Say why a header cannot be read."""
        if mark != _MARK:
            came = bytes(self._scratch[self._start : self._start + _HEADER.size])
            return f"Every frame of a stream begins with {_MARK!r}, but {came!r} came."
        if version != VERSION:
            return (
                f"A frame of wire version {version} came where version {VERSION} is understood: "
                "the client and all workers need the same version of dask_gradcode."
            )
        if code not in self._known:
            kinds = ", ".join(kind.name for kind, _ in self._known.values())
            return f"A frame of kind {code} came where one of {kinds} is expected."
        name = Kind(code).name
        return f"A frame {name} of {size} bytes came, which does not fit its number {number}."

    def _grow(self) -> None:
        """Make more room for a body that has filled all it has, in proportion to what has come."""
        body = np.empty(min(self._size, 2 * self._body.size), dtype=np.uint8)
        body[: self._filled] = self._body[: self._filled]
        self._body = body
        if self._reuse:
            self._large = body

    def _receive(self) -> bool:
        """Read once; False if nothing has come."""
        left = self._body.size - self._filled
        if self._kind is not None and left >= _SCRATCH:
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
