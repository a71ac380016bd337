"""Which workers are dead or frozen: the scheduler's events, and the age of heartbeats."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod, proxy

from dask.utils import format_bytes
from distributed import Client
from distributed.scheduler import heartbeat_interval

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.departures import TOPIC, Departures, is_on_its_way
from dask_gradcode.cluster.client.pulse import Pulse
from dask_gradcode.cluster.client.session import workers_of

__all__ = ["Liveness"]

Callback = Callable[[str, str], None]

PAUSED = 5.0
"""Seconds after which a paused worker is not waited for: Dask often pauses one for a moment."""


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
        self._pulse, self._looking = Pulse(), threading.Lock()
        self._answered: set[str] = set()
        self._paused: dict[str, float] = {}  # since when
        self._workers: Mapping[str, Any] = {}  # as the scheduler told them last
        self._asked = self.told = -math.inf  # when it was asked, and when it answered
        self._left: dict[str, float] = {}  # when watched workers left: an answer may be older
        self._departures, self._is_listening = Departures(), False
        self._status: dict[str, tuple[float, str]] = {}  # of watched workers: since when, which
        self._retired: set[str] = set()  # those that have left as Dask had said before

    @classmethod
    def of(cls, client: Client) -> Liveness:
        """Return the hub of a client."""
        if client not in _hubs:
            _hubs[client] = cls(client)
        return _hubs[client]

    def watch(self, address: str, callback: Callback) -> None:
        """Call the method ``callback(address, why)`` on the client's loop when the worker leaves.

        The callback is held weakly: an owner that forgets to unwatch is not kept alive by it.
        """
        if not self._is_listening:
            self._client.subscribe_topic(TOPIC, lambda event: self.announce(event[1]))
            self._is_listening = True
            self._client.loop.add_callback(self._ask_who_leaves)  # what was announced before
        if address not in self._callbacks:
            self._client.subscribe_topic(address, lambda event: self._notice(address, event))
            self._callbacks[address] = []  # after that: Ctrl-C may have ended it
        self._callbacks[address].append(WeakMethod(callback))

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
        action = what.get("action") if isinstance(what, dict) else None
        if action == "worker-status-change":
            self._status[address] = time.monotonic(), what["status"]
            self._know(self._workers, -math.inf)
        if action == "remove-worker":
            self._left[address] = time.monotonic()
            self._know(self._workers, -math.inf)
            for known in list(self._callbacks.get(address, [])):
                callback = known()
                if callback is not None:
                    callback(address, "it left the cluster")

    def announce(self, notice: Any) -> None:
        """Take in that workers will leave; what others announce comes by itself."""
        self._departures.announce(notice)

    async def _ask_who_leaves(self) -> None:
        with suppress(OSError, AttributeError):  # no scheduler any more
            for _, notice in await self._client.scheduler.events(topic=TOPIC):
                self.announce(notice)

    def leaving(self) -> dict[str, str]:
        """Return which workers will leave, and why, by what was announced or said last."""
        return self._departures.among(self._workers)

    def has_retired(self, address: str) -> bool:
        """Say whether a watched worker has left as Dask had said: it may serve to the end."""
        return address in self._retired

    def addresses(self) -> list[str]:
        """Return the addresses of all workers; asks the scheduler."""
        self._asked = asked = time.monotonic()
        self._told(workers_of(self._client), asked)
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
            self._told(identity["workers"], asked)

    def _told(self, workers: Mapping[str, Any], asked: float) -> None:
        with self._looking:
            self._know(workers, asked)
            self.told = time.monotonic()
            heartbeats = {a: worker["last_seen"] for a, worker in self._workers.items()}
            self._pulse.look(heartbeats, self.limit)
            self._answered.intersection_update(heartbeats)
            statuses = {a: worker["status"] for a, worker in self._workers.items()}
            self._paused = {
                address: self._paused.get(address, self.told)
                for address, status in statuses.items()
                if status == "paused"
            }

    @property
    def limit(self) -> float:
        """Seconds of silence after which a worker counts as frozen."""
        # the scheduler has more workers send their heartbeats less often
        rarer = heartbeat_interval(len(self._workers)) / heartbeat_interval(0)
        return seconds("gradcode.timeouts.frozen") * rarer

    def note_answer(self, address: str) -> None:
        """Note that a worker has answered something; until then it is starting."""
        with self._looking:
            self._answered.add(address)

    def answered(self, address: str) -> bool:
        """Say whether a worker has ever answered anything here."""
        return address in self._answered

    def heard(self, address: str) -> float:
        """Return when, by this process's clock, a worker sent its newest heartbeat: not later."""
        worker = self._workers.get(address)
        if worker is None:
            return -math.inf
        newest = max(other["last_seen"] for other in self._workers.values())
        return self.told - float(newest - worker["last_seen"])

    def _know(self, workers: Mapping[str, Any], asked: float) -> None:
        left = {address for address, when in self._left.items() if when > asked}
        known = {a: worker for a, worker in workers.items() if a not in left}
        for address, (when, status) in self._status.items():
            if address in known and when > asked:
                known[address] = {**known[address], "status": status}
        self._retired.update(
            a for a, worker in self._workers.items() if a not in known and is_on_its_way(worker)
        )
        self._retired.difference_update(known)
        self._workers = known

    def absent(self, addresses: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return which of some workers are gone and which are frozen, with the reason in words.

        Asks the scheduler. A worker is frozen when it has sent no heartbeat for
        ``gradcode.timeouts.frozen`` while others were heard, counted from the first time that the
        scheduler was asked here. One that has never answered anything is starting: it is given up
        as frozen only after ``gradcode.timeouts.recover``.
        """
        self.addresses()
        return self.judge(addresses)

    def judge(self, addresses: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the same by what the scheduler said last."""
        workers, limit = self._workers, self.limit
        starting = max(limit, seconds("gradcode.timeouts.recover"))
        gone, frozen = {}, {}
        for address in addresses:
            silent = self._pulse.silence(address)
            if address not in workers:
                gone[address] = "it left the cluster"
            elif self.answered(address) and silent > limit:
                frozen[address] = f"it has sent no heartbeat for {silent:.0f} s"
            elif silent > starting:
                text = "it has not answered anything yet, and sent no heartbeat for"
                frozen[address] = f"{text} {silent:.0f} s"
        return gone, frozen

    def running(self) -> frozenset[str]:
        """Return the workers that Dask gives tasks to, by what the scheduler said last."""
        workers = self._workers.items()
        return frozenset(a for a, worker in workers if worker["status"] == "running")

    def silent(self, addresses: Iterable[str]) -> dict[str, str]:
        """Return which of some workers begin no task, and why, by what the scheduler said last.

        They are frozen, have been paused for some seconds, or are being retired.
        """
        addresses = list(addresses)
        _, frozen = self.judge(addresses)
        paused = self.paused(addresses)
        since = self._paused
        long = {a: why for a, why in paused.items() if self.told - since.get(a, self.told) > PAUSED}
        closing = {
            a: "it is being retired" for a in addresses if is_on_its_way(self._workers.get(a, {}))
        }
        return long | closing | frozen

    def paused(self, addresses: Iterable[str]) -> dict[str, str]:
        """Return which of some workers Dask's memory manager has paused, by what was said last.

        Such a worker answers and goes on with what it has begun, but begins no task.
        """
        found = {}
        for address in addresses:
            worker = self._workers.get(address, {})
            if worker.get("status") == "paused":
                limit = format_bytes(worker["memory_limit"] or 0)
                found[address] = (
                    f"it is paused by Dask's memory manager (memory limit {limit}); free memory "
                    "there, or give it more"
                )
        return found


_hubs: WeakKeyDictionary[Client, Liveness] = WeakKeyDictionary()
