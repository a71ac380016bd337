"""Transport ``stream``: one connection per role, with no scheduler in a round."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from distributed import Client, Future
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.transport.bell import Bell
from dask_gradcode.cluster.transport.connector import Connector
from dask_gradcode.cluster.transport.link import Link, Refused, int64s
from dask_gradcode.cluster.transport.passage import Passage
from dask_gradcode.cluster.transport.prepared import Prepared
from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.cluster.worker.wire import Closed, Frame, Kind, Unreadable, pack
from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import Announced, Arrived, Event, Failed, Lost, Yielded
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Work

__all__ = ["StreamTransport"]

_News = tuple[Link, socket.socket | BaseException] | str


class StreamTransport:
    """Keeps one socket per role, to the task that serves its shard.

    Connections are opened through Dask's own, with its authentication, and then taken out of the
    event loops on both sides: in a round nothing is pickled, scheduled or handed between threads.
    Nothing waits for a worker that does not read: it gets the newest ``w`` when it reads again.

    A connection that cannot be opened, that the worker refuses to serve, or on which something
    unreadable comes, has failed in this round and is lost; attaching the role again opens a
    new one.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    code : GradientCode
        Which messages there are.
    work : Work
        What to compute on each block.
    serving : Serving
        The placement's tasks.
    columns : Columns, optional
        Which columns each role sees. None: ``w`` and messages travel whole.
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
        self._code, self._work, self._serving = code, work, serving
        self._pickled = dumps(work)  # once, not for every role
        self._passage = Passage(work, columns)
        self._liveness = Liveness.of(client)
        self._links: dict[int, Link] = {}
        self._asks: dict[int, Sequence[int]] = {}  # of this round, by role
        # by role: why its connection has ended, and the error for it, if any; not yet told
        self._ended: dict[int, tuple[str, BaseException | None]] = {}
        self._connector = Connector(client, serving, self._on_opened)
        self._prepared = Prepared(self._connector)
        self._bell: Bell[_News] = Bell()  # new sockets, addresses of the dead
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell.ear, selectors.EVENT_READ)

    def prepare(self, role: int, shard: Future[Any], address: str) -> bool:
        token = self._serving.token(role, shard, address)
        return self._prepared.prepare(role, address, token, lambda: self._link(role, address))

    def attach(self, role: int, shard: Future[Any], address: str) -> None:
        token = self._serving.token(role, shard, address)
        prepared = self._prepared.take(role, token)
        link = self._links[role] = prepared or self._link(role, address)
        link.forget(self._round)
        self._liveness.watch(address, self._on_death)
        if prepared is None:
            self._connector.open(link, address, token)
        elif link.sock is not None:
            self._register(link)

    def _link(self, role: int, address: str) -> Link:
        return Link(role, address, self._code, self._pickled)

    def detach(self, role: int) -> None:
        link = self._links.pop(role)
        self._ended.pop(role, None)
        self._asks.pop(role, None)  # should it come back in this round, it is asked anew
        self._connector.give_up(link)
        if link.sock is not None:
            with suppress(KeyError):  # an interrupt came before it was registered
                self._selector.unregister(link.sock)
            link.sock.close()
        if all(other.address != link.address for other in self._links.values()):
            self._liveness.unwatch(link.address, self._on_death)

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        self._passage.begin(round, w, order)
        self._asks = {}
        for link in self._links.values():
            link.forget(round)

    def ask(self, role: int, messages: Sequence[int]) -> None:
        self._ask(role, messages, messages)

    def announce(self, role: int, messages: Sequence[int]) -> None:
        self._ask(role, messages, [~message for message in messages])

    def _ask(self, role: int, messages: Sequence[int], asks: Sequence[int]) -> None:
        link, passage = self._links.get(role), self._passage
        if link is None:
            return  # it has been lost, which is told
        if role in self._asks:
            link.add(pack(Kind.ASK, self._round, len(asks), int64s(*asks)))
        else:
            head = int64s(*asks, passage.order, passage.n_points)
            link.begin(pack(Kind.BEGIN, self._round, len(asks), head, passage.part(role)))
        self._asks[role] = (*self._asks.get(role, ()), *messages)
        self._watch(link)

    def yield_(self, role: int) -> None:
        self._tell_worker(role, pack(Kind.YIELD, self._round, 0))

    def drop(self, role: int, messages: Sequence[int]) -> None:
        frame = pack(Kind.DROP, self._round, len(messages), int64s(*messages))
        self._tell_worker(role, frame)

    def withheld(self) -> Collection[int]:
        return ()

    def in_tasks(self) -> Collection[int]:
        return [role for role, link in self._links.items() if link.sock is None]

    def poll(self, timeout: float | None) -> Sequence[Event]:
        events = self._endings()
        end = None if timeout is None else time.monotonic() + timeout
        while not events:
            left = None if end is None else max(0.0, end - time.monotonic())
            for key, mask in self._selector.select(left):
                if key.data is None:
                    self._hear()
                else:
                    self._attend(key.data, mask, events)
            events += self._endings()
            if left == 0.0:
                break
        return events

    def wait_until_open(self, timeout: float) -> bool:
        """Wait until one of the workers is connected; False if none is in time."""
        end = time.monotonic() + timeout
        while self._links and all(link.sock is None for link in self._links.values()):
            if time.monotonic() > end or self._ended.keys() >= self._links.keys():
                return False
            self._selector.select(max(0.0, end - time.monotonic()))
            self._hear()
        return True

    @property
    def has_news(self) -> bool:
        """Whether any worker has answered, though it may not be connected, or there is an error."""
        return bool(self._connector.reached or self._ended)

    def close(self) -> None:
        for role in list(self._links):
            self.detach(role)
        self._prepared.close()
        self._connector.close()  # from then on nobody has news
        self._selector.close()
        for news in self._bell.close():
            if isinstance(news, tuple) and isinstance(news[1], socket.socket):
                news[1].close()

    # ---- in the caller's thread

    @property
    def _round(self) -> int:
        return self._passage.round

    def _tell_worker(self, role: int, frame: Any) -> None:
        """Send one more frame of the round to a role that has been asked for something."""
        if role in self._asks:
            link = self._links[role]
            link.add(frame)
            self._watch(link)

    def _watch(self, link: Link) -> None:
        """Have the selector wait for what a connection waits for."""
        if link.sock is not None and link.watched != link.wanted:
            link.watched = link.wanted
            self._selector.modify(link.sock, link.wanted, link)

    def _attend(self, link: Link, mask: int, events: list[Event]) -> None:
        role = link.role
        if self._links.get(role) is not link:
            return  # detached by an event of the same poll
        if mask & selectors.EVENT_WRITE:
            link.flush()
            self._watch(link)
        if not mask & selectors.EVENT_READ:
            return
        try:
            for frame in link.read():
                events.append(self._event(role, frame))
        except Closed as reason:
            self._end(link, str(reason))
        except Refused as refused:
            self._end(link, str(refused), refused.error)
        except Unreadable as error:
            self._end(link, str(error), error)

    def _end(self, link: Link, why: str, error: BaseException | None = None) -> None:
        self._ended.setdefault(link.role, (why, error))

    def _endings(self) -> list[Event]:
        """Detach the roles whose connections have ended, and say so."""
        ended, self._ended = self._ended, {}
        events: list[Event] = []
        for role, (why, error) in ended.items():
            link = self._links[role]
            if error is not None:  # of each message that it would have answered
                events += [
                    Failed(self._round, role, message, error)
                    for message in self._asks.get(role, ())
                    if not link.has_answered(message)
                ]
            self.detach(role)
            events.append(Lost(role, f"{link.address}: {why}"))
        return events

    def _event(self, role: int, frame: Frame) -> Event:
        message = frame.number
        if frame.kind is Kind.YIELDED:
            return Yielded(frame.round, role, None if message < 0 else message)
        if frame.kind is Kind.ERROR:
            return Failed(frame.round, role, message, unpack_error(frame.body.data))
        if frame.kind is Kind.DIGEST:
            return Announced(frame.round, role, message, frame.body.tobytes())
        slices = self._code.messages[message].slices
        payload = frame.body.view(np.float64)
        came = self._passage.received(frame.round, role, payload, slices)
        return Arrived(frame.round, role, message, came)

    def _hear(self) -> None:
        """Take in what other threads have for this one."""
        for news in self._bell.hear():
            self._take(news)

    def _take(self, news: _News) -> None:
        """Act upon one thing that another thread has told."""
        if isinstance(news, str):
            for link in self._links.values():
                if link.address == news:
                    self._end(link, "it left the cluster")
            return
        link, opened = news
        if isinstance(opened, socket.socket):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._prepared.connect(link, opened):
            return
        if self._links.get(link.role) is not link:
            if isinstance(opened, socket.socket):
                opened.close()  # detached meanwhile
        elif isinstance(opened, socket.socket):
            link.connect(opened)
            self._register(link)
        else:
            self._end(link, f"it cannot be connected: {opened!r}", opened)

    def _register(self, link: Link) -> None:
        link.watched = link.wanted
        self._selector.register(link.sock, link.watched, link)  # type: ignore[arg-type]

    # ---- on the client's event loop

    def _on_death(self, address: str, why: str) -> None:
        if not self._liveness.has_retired(address):  # else it serves until its connection ends
            self._bell.tell(address)

    def _on_opened(self, link: Link, opened: socket.socket | BaseException) -> None:
        self._bell.tell((link, opened))
