"""The worker's side of streams: one task per role that computes what connections ask for."""

from __future__ import annotations

import logging
import selectors
import socket
import sys
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from distributed import secede
from distributed.core import Status

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.crews import crew_of_worker
from dask_gradcode.cluster.worker.released import Released
from dask_gradcode.cluster.worker.visitor import Visitor
from dask_gradcode.cluster.worker.wire import Closed
from dask_gradcode.work import ALONE, Crew

__all__ = ["HANDLER", "Desk", "detach", "install", "serve"]

logger = logging.getLogger("dask_gradcode")

HANDLER = "gradcode-stream"
"""The operation by which a client asks a worker for a stream."""

_desks: dict[str, Desk] = {}  # what this process serves, by token


def serve(shard: Shard, token: str) -> None:
    """Compute messages from a shard for all clients that connect with the token, until released.

    The body of one long task per role: it shows on the dashboard, and Dask does not take a worker
    for idle that holds pinned data.
    """
    with crew_of_worker() as crew:
        desk = Desk(shard, crew)
        with Released.told(desk.close, lambda: desk.is_used):
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


class Desk:
    """Serves all connections of one shard, in turn: one thread reads, and a crew computes.

    Whatever a visitor sends, and whatever comes of computing it, ends that visitor's connection at
    most.

    Parameters
    ----------
    shard : Shard
        The blocks to compute with.
    crew : Crew, optional
        The threads that compute. If not given, only the thread that runs the desk.
    """

    def __init__(self, shard: Shard, crew: Crew = ALONE) -> None:
        self._shard, self._crew = shard, crew
        self._new: SimpleQueue[socket.socket | None] = SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._open = True
        self._n_visitors = 0

    def accept(self, sock: socket.socket) -> None:
        """Serve one more connection; from any thread."""
        self._new.put(sock)
        try:
            self._bell.send(b"!")
        except OSError:  # closed meanwhile
            sock.close()

    def close(self) -> None:
        """End ``run``; from any thread."""
        self._new.put(None)
        with suppress(OSError):  # it has ended by itself
            self._bell.send(b"!")

    @property
    def is_used(self) -> bool:
        """Whether anybody is connected; for any thread."""
        return self._n_visitors > 0

    def run(self) -> None:
        """Serve until closed."""
        try:
            busy: set[Visitor] = set()
            while self._open:
                ready = {key.data for key, _ in self._selector.select(0 if busy else None)}
                if None in ready:
                    self._ear.recv(64)
                    self._welcome()
                # a message each in turn: no fit can keep out another
                busy = {visitor for visitor in ready - {None} | busy if self._attend(visitor)}
        finally:
            self._welcome()
            self._n_visitors = 0
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
                continue
            try:
                self._selector.register(sock, selectors.EVENT_READ, Visitor(sock, self._crew))
                self._n_visitors += 1
            except Exception:  # no room for one more, or it has gone again
                logger.exception("A connection cannot be served")
                sock.close()

    def _attend(self, visitor: Visitor) -> bool:
        """Compute one message; True if there are more."""
        wanted = visitor.wanted
        try:
            more = visitor.attend(self._shard)
        except BaseException as reason:
            if not isinstance(reason, Closed):
                logger.exception("A connection is ended")
            self._n_visitors -= 1
            self._selector.unregister(visitor.sock)
            visitor.sock.close()
            return False
        if visitor.wanted != wanted:
            self._selector.modify(visitor.sock, visitor.wanted, visitor)
        return more
