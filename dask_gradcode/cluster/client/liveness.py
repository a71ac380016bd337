"""Who is dead and who is frozen: the scheduler's events, and the age of heartbeats."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod, proxy

from distributed import Client
from distributed.scheduler import heartbeat_interval

from dask_gradcode.cluster.client.session import workers_of

__all__ = ["Liveness"]

Callback = Callable[[str, str], None]


class Liveness:
    """What one client knows about the life of workers; get it by ``Liveness.of(client)``.

    Dask keeps one handler per topic and client, so all placements of a client share this hub.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    """

    def __init__(self, client: Client) -> None:
        self._client = proxy(client)  # the client's own handlers hold this hub
        self._callbacks: dict[str, list[WeakMethod[Callback]]] = {}
        # address -> (the scheduler's time of the last heartbeat, our time when it last changed):
        # comparing a stamp with itself needs no agreement between two machines' clocks
        self._heartbeats: dict[str, tuple[float, float]] = {}
        self._workers: Mapping[str, Any] = {}  # as the scheduler told them last
        self._asked = self.told = -math.inf  # when it was asked, and when it answered
        self._left: dict[str, float] = {}  # when watched workers left: an answer may be older

    @classmethod
    def of(cls, client: Client) -> Liveness:
        """Return the hub of a client."""
        if client not in _hubs:
            _hubs[client] = cls(client)
        return _hubs[client]

    def watch(self, address: str, callback: Callback) -> None:
        """Call the method ``callback(address, why)`` on the client's loop when the worker leaves.

        The callback is held weakly: whoever forgets to unwatch is not kept alive by it.
        """
        callbacks = self._callbacks.setdefault(address, [])
        callbacks.append(WeakMethod(callback))
        if len(callbacks) == 1:
            self._client.subscribe_topic(address, lambda event: self._notice(address, event))

    def unwatch(self, address: str, callback: Callback) -> None:
        """Undo ``watch``."""
        if address not in self._callbacks:
            return
        left = [known for known in self._callbacks[address] if known() not in (None, callback)]
        self._callbacks[address] = left
        if not left:
            del self._callbacks[address]
            if self._client.status == "running":
                self._client.unsubscribe_topic(address)

    def _notice(self, address: str, event: tuple[float, Any]) -> None:
        _, what = event
        if isinstance(what, dict) and what.get("action") == "remove-worker":
            self._left[address] = time.monotonic()
            self._know(self._workers, -math.inf)
            for known in list(self._callbacks.get(address, [])):
                callback = known()
                if callback is not None:
                    callback(address, "it left the cluster")

    def addresses(self) -> list[str]:
        """Return the addresses of all workers; asks the scheduler."""
        self._asked = time.monotonic()
        self._know(workers_of(self._client), self._asked)
        self.told = time.monotonic()
        return list(self._workers)

    def recently(self, max_age: float) -> Mapping[str, Any]:
        """Return what the scheduler said last about its workers, by address, without waiting.

        If that is older than ``max_age`` seconds, it is asked meanwhile.
        """
        now = time.monotonic()
        if now - self._asked > max_age:
            self._asked = now
            self._client.loop.add_callback(self._ask)
        return self._workers

    async def _ask(self) -> None:
        asked = time.monotonic()
        with suppress(OSError, AttributeError):  # no scheduler any more
            identity = await self._client.scheduler.identity(n_workers=-1)
            self._know(identity["workers"], asked)
            self.told = time.monotonic()

    def _know(self, workers: Mapping[str, Any], asked: float) -> None:
        left = {address for address, when in self._left.items() if when > asked}
        self._workers = {a: worker for a, worker in workers.items() if a not in left}

    def absent(self, addresses: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return which of some workers are gone and which are frozen, with the reason in words.

        Asks the scheduler. A worker is frozen when its heartbeat has not changed for the longer of
        5 seconds and 10 heartbeats, counted from the first time that it was asked about here.
        """
        self.addresses()
        return self.judge(addresses)

    def judge(self, addresses: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the same by what the scheduler said last."""
        workers, now = self._workers, self.told
        limit = max(5.0, 10 * heartbeat_interval(len(workers)))
        gone, frozen = dict[str, str](), dict[str, str]()
        for address in addresses:
            if address not in workers:
                gone[address] = "it left the cluster"
                continue
            stamp = workers[address]["last_seen"]
            if self._heartbeats.get(address, (None, now))[0] != stamp:
                self._heartbeats[address] = stamp, now
            silent = self.silence(address)
            if silent > limit:
                frozen[address] = f"it has sent no heartbeat for {silent:.0f} s"
        return gone, frozen

    def silence(self, address: str) -> float:
        """Return for how many seconds a worker had sent no heartbeat when it was last judged."""
        return self.told - self._heartbeats[address][1]


_hubs: WeakKeyDictionary[Client, Liveness] = WeakKeyDictionary()
