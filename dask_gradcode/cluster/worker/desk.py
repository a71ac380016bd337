"""The worker's side of streams: one task per role that computes what connections ask for."""

from __future__ import annotations

import pickle
import selectors
import socket
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from distributed import secede
from distributed.core import Status
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.delays import delay
from dask_gradcode.cluster.worker.released import Released
from dask_gradcode.cluster.worker.wire import Closed, Frame, Kind, Outbox, Reader, pack
from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.losses import Loss
from dask_gradcode.typing import Vector

__all__ = ["HANDLER", "Job", "detach", "install", "serve"]

HANDLER = "gradcode-stream"
"""The operation by which a client asks a worker for a stream."""

_ASK_BYTES = np.dtype(np.int64).itemsize

_desks: dict[str, _Desk] = {}  # what this process serves, by token


@dataclass(frozen=True)
class Job:
    """What a connection computes.

    Parameters
    ----------
    code : GradientCode
        Says how blocks are combined.
    messages : mapping of int to Message
        The messages of the role.
    work : bytes
        The loss or block function, pickled by itself: once for all roles.
    """

    code: GradientCode
    messages: Mapping[int, Message]
    work: bytes


def serve(shard: Shard, token: str) -> None:
    """Compute messages from a shard for all who connect with the token, until released.

    The body of one long task per role: it shows on the dashboard, and Dask does not take a worker
    for idle that holds pinned data.
    """
    desk = _Desk(shard)
    with Released.told(desk.close):
        _desks[token] = desk
        secede()
        try:
            desk.run()
        finally:
            del _desks[token]


def install(dask_worker: Any) -> None:
    """Have a worker accept streams; run on it by the client, without the scheduler."""
    dask_worker.handlers.setdefault(HANDLER, _accept)


async def _accept(comm: Any, token: str) -> Any:
    desk = _desks.get(token)
    if desk is None:  # its task has not begun yet
        return "later"
    await comm.write("OK")
    desk.accept(detach(comm))  # at once: the event loop must not read what comes next
    return Status.dont_reply


def detach(comm: Any) -> socket.socket:
    """Take the socket out of a TCP connection of distributed, which is then closed to Dask."""
    sock: socket.socket = comm.stream.socket.dup()
    comm.abort()
    if sys.platform == "linux":
        # Dask has the kernel give up a peer that takes nothing for 30 s: a frozen worker may wake
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
    return sock


class _Desk:
    """Serves all connections of one shard, in turn, on one thread."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._new: SimpleQueue[socket.socket | None] = SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._open = True

    def accept(self, sock: socket.socket) -> None:
        """Serve one more connection; from any thread."""
        self._new.put(sock)
        self._bell.send(b"!")

    def close(self) -> None:
        """End ``run``; from any thread."""
        self._new.put(None)
        with suppress(OSError):  # it has ended by itself
            self._bell.send(b"!")

    def run(self) -> None:
        """Serve until closed."""
        try:
            busy: set[_Visitor] = set()
            while self._open:
                ready = {key.data for key, _ in self._selector.select(0 if busy else None)}
                if None in ready:
                    self._ear.recv(64)
                    self._welcome()
                # a message each in turn: no fit can keep out another
                busy = {visitor for visitor in ready - {None} | busy if self._attend(visitor)}
        finally:
            self._welcome()
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()
            self._bell.close()

    def _welcome(self) -> None:
        while True:
            try:
                sock = self._new.get_nowait()
            except Empty:
                return
            if sock is None:
                self._open = False
            else:
                sock.setblocking(True)  # answers may wait for the client
                self._selector.register(sock, selectors.EVENT_READ, _Visitor(sock))

    def _attend(self, visitor: _Visitor) -> bool:
        """Compute one message; True if there are more."""
        try:
            return visitor.attend(self._shard)
        except Closed:
            self._selector.unregister(visitor.sock)
            visitor.sock.close()
            return False


class _Visitor:
    """One fit's connection: what it wants computed, which is never more than its newest round."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # A w is no longer needed when the next one begins to come: work on it has been given up.
        self._reader, self._outbox = Reader(sock, reuse=True), Outbox(sock)
        self._job: Job | None = None
        self._work: Any = None
        self._round, self._w = -1, np.zeros(0)
        self._payload = np.zeros(0)  # kept, as it is sent before the next one is computed
        self._asked: deque[int] = deque()

    def attend(self, shard: Shard) -> bool:
        """Read all that has come, and compute one message; True if more are asked for."""
        self._read()
        if not self._asked:
            return False
        message, round_ = self._asked.popleft(), self._round
        try:
            payload = self._compute(shard, message)
        except Closed:
            raise
        except Exception as error:
            self._outbox.add(pack(Kind.ERROR, round_, message, _pickled(error)))
        else:
            if payload is not None:
                self._outbox.add(pack(Kind.ANSWER, round_, message, payload))
        self._outbox.flush()
        return bool(self._asked)

    def _compute(self, shard: Shard, message: int) -> Vector | None:
        assert self._job is not None  # it is sent first
        if isinstance(self._work, Exception):
            raise self._work
        job, round_ = self._job, self._round

        def superseded() -> bool:
            self._read()
            return self._round != round_ or self._reader.begun() is Kind.BEGIN

        if delay(self, shard.role, round_, job.code.n_workers) and superseded():
            return None
        if self._payload.size != 1 + self._w.size:
            self._payload = np.zeros(1 + self._w.size)
        return shard.compute(
            job.code, job.messages[message], self._work, self._w, superseded, self._payload
        )

    def _read(self) -> None:
        frame = self._reader.read()
        while frame is not None:
            self._take(frame)
            frame = self._reader.read() if self._reader.has_more else None

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.BEGIN:
            asks = frame.message * _ASK_BYTES
            self._round, self._w = frame.round, frame.body[asks:].view(np.float64)
            if not isinstance(self._work, Loss):
                self._w = self._w.copy()  # a user's function may keep it
            self._asked = deque(frame.body[:asks].view(np.int64).tolist())
        elif frame.kind is Kind.ASK and frame.round == self._round:
            self._asked.extend(frame.body.view(np.int64).tolist())
        elif frame.kind is Kind.JOB:
            self._job = pickle.loads(frame.body.data)
            try:
                self._work = pickle.loads(self._job.work)
            except Exception as error:
                self._work = error  # raised for every message


def _pickled(error: Exception) -> bytes:
    try:
        return bytes(dumps(error))
    except Exception:
        return bytes(dumps(RuntimeError(repr(error))))
