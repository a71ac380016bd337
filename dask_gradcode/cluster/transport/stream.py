"""Transport ``stream``: one connection per role, with no scheduler in a round."""

from __future__ import annotations

import asyncio
import pickle
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from distributed import Client, Future
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.worker.desk import HANDLER, Job, detach, install
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.cluster.worker.wire import Closed, Frame, Kind, Outbox, Reader, pack
from dask_gradcode.codes import GradientCode
from dask_gradcode.messages import Work
from dask_gradcode.rounds import Arrived, Event, Failed, Lost
from dask_gradcode.typing import Vector

__all__ = ["StreamTransport"]


@dataclass
class _Role:
    role: int
    address: str
    job: Any
    frames: list[Any] = field(default_factory=list)  # of this round; none until it is asked
    opening: asyncio.Task[None] | None = None
    sock: socket.socket | None = None
    wanted: int = selectors.EVENT_READ  # what the selector looks for
    reader: Any = None
    outbox: Any = None


class StreamTransport:
    """Keeps one socket per role, to the task that serves its shard.

    Connections are opened through Dask's own, with its authentication, and then taken out of the
    event loops on both sides: in a round nothing is pickled, scheduled or handed between threads.
    Nothing waits for a worker that does not read: it gets the newest ``w`` when it reads again.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    code : GradientCode
        Which messages there are.
    work : Loss or callable
        What to compute on each block.
    serving : Serving
        The placement's tasks.
    columns : Columns, optional
        Which columns each role sees, for a loss. None: ``w`` and messages travel whole.
    """

    name = "stream"

    def __init__(
        self,
        client: Client,
        code: GradientCode,
        work: Work,
        serving: Serving,
        columns: Columns | None = None,
    ) -> None:
        assert client.loop is not None
        self._client, self._loop = client, client.loop
        self._code, self._work, self._serving = code, dumps(work), serving
        self._columns = columns
        self._liveness = Liveness.of(client)
        self._roles: dict[int, _Role] = {}
        self._round = -1
        self._part: Callable[[int], Vector] = lambda role: np.zeros(0)  # of w, by role
        self._n_parameters = 0
        self._openings: set[asyncio.Task[None]] = set()  # on the event loop
        # what other threads have for the caller's: new sockets by role, addresses of the dead
        self._news: SimpleQueue[tuple[_Role, socket.socket] | str] = SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, selectors.EVENT_READ)

    def attach(self, role: int, shard: Future[Any], address: str) -> None:
        messages = {index: self._code.messages[index] for index in self._code.messages_of[role]}
        job = pack(Kind.JOB, -1, -1, dumps(Job(self._code, messages, self._work)))
        state = self._roles[role] = _Role(role, address, job)
        self._liveness.watch(address, self._on_death)
        token = self._serving.token(role, shard, address)
        self._loop.add_callback(self._start, state, token)

    def detach(self, role: int) -> None:
        state = self._roles.pop(role)
        self._loop.add_callback(self._give_up, state)
        if state.sock is not None:
            self._selector.unregister(state.sock)
            state.sock.close()
        if all(other.address != state.address for other in self._roles.values()):
            self._liveness.unwatch(state.address, self._on_death)

    def begin(self, round: int, w: Vector) -> None:
        self._round, self._n_parameters = round, w.size
        w = np.array(w, dtype=np.float64)  # a copy: the caller may change it
        self._part = (lambda role: w) if self._columns is None else self._columns.cut(w)
        for state in self._roles.values():
            state.frames = []

    def ask(self, role: int, messages: Sequence[int]) -> None:
        state = self._roles.get(role)
        if state is None:
            return  # it has been lost, which is told
        asks = np.array(messages, dtype=np.int64)
        if state.frames:
            state.frames.append(pack(Kind.ASK, self._round, asks.size, asks))
            if state.sock is not None:
                state.outbox.add(state.frames[-1])
        else:
            state.frames = [pack(Kind.BEGIN, self._round, asks.size, asks, self._part(role))]
            if state.sock is not None:
                state.outbox.replace(state.frames)
        if state.sock is not None:
            self._flush(state)

    def poll(self, timeout: float | None) -> Sequence[Event]:
        events: list[Event] = []
        end = None if timeout is None else time.monotonic() + timeout
        while not events:
            left = None if end is None else max(0.0, end - time.monotonic())
            for key, mask in self._selector.select(left):
                if key.data is None:
                    self._hear(events)
                else:
                    self._attend(key.data, mask, events)
            if left == 0.0:
                break
        return events

    def wait_until_open(self, timeout: float) -> bool:
        """Wait until one of the workers is connected; False if none is in time."""
        end = time.monotonic() + timeout
        while self._roles and all(state.sock is None for state in self._roles.values()):
            if time.monotonic() > end:
                return False
            self._selector.select(max(0.0, end - time.monotonic()))
            self._hear([])
        return True

    def close(self) -> None:
        for role in list(self._roles):
            self.detach(role)
        if self._client.status == "running":
            self._client.sync(self._give_up_all)  # from then on nobody has news
        self._hear([])
        self._selector.close()
        self._ear.close()
        self._bell.close()

    # ---- in the caller's thread

    def _flush(self, state: _Role) -> None:
        assert state.sock is not None
        try:
            done = state.outbox.flush()
        except Closed:
            return  # reading will find out, and say so
        wanted = selectors.EVENT_READ | (0 if done else selectors.EVENT_WRITE)
        if state.wanted != wanted:
            state.wanted = wanted
            self._selector.modify(state.sock, wanted, state)

    def _attend(self, state: _Role, mask: int, events: list[Event]) -> None:
        role = state.role
        if self._roles.get(role) is not state:
            return  # detached by an event of the same poll
        if mask & selectors.EVENT_WRITE:
            self._flush(state)
        if not mask & selectors.EVENT_READ:
            return
        try:
            frame = state.reader.read()
            while frame is not None:
                events.append(self._event(role, frame))
                frame = state.reader.read() if state.reader.has_more else None
        except Closed as reason:
            self.detach(role)
            events.append(Lost(role, f"{state.address}: {reason}"))

    def _event(self, role: int, frame: Frame) -> Event:
        if frame.kind is Kind.ERROR:
            return Failed(frame.round, role, frame.message, _error(frame))
        payload = frame.body.view(np.float64)
        if self._columns is None:
            return Arrived(frame.round, role, frame.message, payload)
        whole = self._columns.whole(role, payload, self._n_parameters)
        return Arrived(frame.round, role, frame.message, whole)

    def _hear(self, events: list[Event]) -> None:
        """Take in what other threads have for this one."""
        with suppress(BlockingIOError):
            self._ear.recv(64, socket.MSG_DONTWAIT)
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return
            if isinstance(news, str):
                events += self._lost(news)
            else:
                self._connect(*news)

    def _connect(self, state: _Role, sock: socket.socket) -> None:
        if self._roles.get(state.role) is not state:
            sock.close()  # detached meanwhile
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state.sock, state.reader, state.outbox = sock, Reader(sock), Outbox(sock)
        self._selector.register(sock, selectors.EVENT_READ, state)
        state.outbox.add(state.job)
        for frame in state.frames:
            state.outbox.add(frame)
        self._flush(state)

    def _lost(self, address: str) -> list[Event]:
        gone = [role for role, state in self._roles.items() if state.address == address]
        for role in gone:
            self.detach(role)
        return [Lost(role, f"{address}: it left the cluster") for role in gone]

    # ---- on the client's event loop

    def _on_death(self, address: str, why: str) -> None:
        self._tell(address)

    def _tell(self, news: tuple[_Role, socket.socket] | str) -> None:
        self._news.put(news)
        with suppress(OSError):  # closed meanwhile
            self._bell.send(b"!")

    def _start(self, state: _Role, token: str) -> None:
        state.opening = asyncio.create_task(self._open(state, token))
        self._openings.add(state.opening)
        state.opening.add_done_callback(self._openings.discard)

    def _give_up(self, state: _Role) -> None:
        if state.opening is not None:
            state.opening.cancel()

    async def _give_up_all(self) -> None:
        openings = list(self._openings)
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)

    async def _open(self, state: _Role, token: str) -> None:
        pause = 0.01
        while True:
            try:
                sock = await self._try_to_open(state.address, token)
            except OSError:
                sock = None  # gone, in which case there is an event; or frozen, or not yet there
            except RuntimeError:  # the client is closed
                return
            if sock is not None:
                self._tell((state, sock))
                return
            await asyncio.sleep(pause)
            pause = min(0.5, 1.5 * pause)

    async def _try_to_open(self, address: str, token: str) -> socket.socket | None:
        rpc: Any = self._client.rpc
        comm = await rpc.connect(address)
        try:
            await comm.write({"op": "run", "function": dumps(install)})
            await comm.read()
            await comm.write({"op": HANDLER, "token": token})
            if await comm.read() == "OK":
                return detach(comm)  # at once: the event loop must not read what comes next
            return None
        except BaseException:
            comm.abort()
            raise
        finally:
            rpc.reuse(address, comm)


def _error(frame: Frame) -> BaseException:
    try:
        error: BaseException = pickle.loads(frame.body.data)
    except Exception as reason:  # its class is known on the worker only
        return RuntimeError(f"A worker raised an error that cannot be read here: {reason!r}")
    return error
