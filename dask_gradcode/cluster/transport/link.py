"""One role's connection to its desk, on the client."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.outbox import Outbox
from dask_gradcode.cluster.worker.visitor import Job
from dask_gradcode.cluster.worker.wire import (
    TO_CLIENT,
    Closed,
    Frame,
    Kind,
    Reader,
    Unreadable,
    pack,
)
from dask_gradcode.codes import GradientCode, Message

__all__ = ["Link", "Refused", "int64s"]


@lru_cache(maxsize=1 << 14)  # the same in nearly every round
def int64s(*numbers: int) -> bytes:
    """Return numbers as the body of a frame."""
    return np.array(numbers, dtype=np.int64).tobytes()


class Refused(Exception):
    """The worker has ended the connection, for the ``error`` that it told."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"it ended the connection: {error!r}")
        self.error = error


class Link:
    """Sends a role's job and the frames of the newest round, now or once there is a connection.

    Parameters
    ----------
    role : int
        The role.
    address : str
        Its worker.
    code : GradientCode
        Says which messages are the role's.
    work : bytes
        The pickled work.

    Attributes
    ----------
    sock : socket.socket or None
        The connection, once there is one.
    wanted : int
        What it waits for: ``EVENT_READ``, with ``EVENT_WRITE`` while there is more to send.
    watched : int
        What the selector of its owner waits for.
    """

    def __init__(self, role: int, address: str, code: GradientCode, work: bytes) -> None:
        self.role, self.address = role, address
        self._messages: Mapping[int, Message] = {
            index: code.messages[index] for index in code.messages_of[role]
        }
        self._job = pack(Kind.JOB, -1, -1, dumps(Job(code, self._messages, work)))
        self._frames: list[Any] = []  # of the newest round that has asked it, without connection
        self._answered: set[int] = set()  # of this round
        self._round = -1
        self.sock: socket.socket | None = None
        self.wanted = self.watched = selectors.EVENT_READ

    def connect(self, sock: socket.socket) -> None:
        """Take a connection, and send what there is."""
        sock.setblocking(False)
        self.sock, self._reader, self.outbox = sock, Reader(sock, TO_CLIENT), Outbox(sock)
        self.outbox.add(self._job)
        for frame in self._frames:
            self.outbox.add(frame)
        self._frames.clear()
        self.flush()

    def forget(self, round: int) -> None:
        """Note that a round begins; until it asks the role, older frames are still to be sent."""
        self._round = round
        self._answered.clear()

    def begin(self, frame: Any) -> None:
        """Send the frame that begins the round, in place of all that is not yet on its way."""
        if self.sock is None:
            self._frames = [frame]
        else:
            self.outbox.replace([frame])
            self.flush()

    def add(self, frame: Any) -> None:
        """Send one more frame of the round."""
        if self.sock is None:
            self._frames.append(frame)
        else:
            self.outbox.add(frame)
            self.flush()

    def flush(self) -> None:
        """Send what the connection takes; if it has ended, reading will find out, and say so."""
        try:
            done = self.outbox.flush()
        except Closed:
            return
        self.wanted = selectors.EVENT_READ | (0 if done else selectors.EVENT_WRITE)

    def read(self) -> Iterator[Frame]:
        """Yield what has come: answers, errors, and how far the role is.

        Raises
        ------
        Closed
            If the connection has ended.
        Refused
            If the worker has ended it and said why.
        Unreadable
            If what came is no frame, or of no message that is the role's.
        """
        frame = self._reader.read()
        while frame is not None:
            if frame.kind is Kind.REFUSAL:
                raise Refused(unpack_error(frame.body.data))
            is_idle = frame.kind is Kind.YIELDED and frame.number == -1
            if frame.number not in self._messages and not is_idle:
                raise Unreadable(f"Message {frame.number} came, none of role {self.role}'s.")
            if frame.round == self._round and frame.kind is not Kind.YIELDED:
                self._answered.add(frame.number)
            yield frame
            frame = self._reader.read() if self._reader.has_more else None

    def has_answered(self, message: int) -> bool:
        """Say whether an answer or error of this round has come for a message."""
        return message in self._answered
