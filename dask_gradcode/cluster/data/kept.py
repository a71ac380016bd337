"""Shards on disk that outlive their client: kept for a while, to be taken up by the same placement.

A shard is kept by its worker's process beside Dask's own result. As long as that result is there,
nothing else happens. When it is let go and nobody has said that the placement is closed, its client
has gone without a word: then the time runs for which it is kept.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from dask_gradcode.cluster.data.installed import NamedPlugin, installed

__all__ = ["Keep", "keep_shard", "kept_roles", "let_go", "take_up"]


@dataclass(frozen=True)
class Keep:
    """That a placement's shards are to be kept.

    Parameters
    ----------
    fingerprint : str
        By which the same placement is known again.
    uid : str
        The placement's own.
    seconds : float
        How long, after its client has gone.
    state : bytes
        What else a client that takes it up needs to know.
    """

    fingerprint: str
    uid: str
    seconds: float
    state: bytes


def keep_shard(keep: Keep | None, shard: Any) -> Any:
    """Have the running task's worker keep the task's result, and return it."""
    if keep is not None:
        worker: Any = get_worker()
        installed(_Kept, worker).keep(keep, shard, worker.get_current_task())
    return shard


def kept_roles(fingerprint: str) -> tuple[list[int], bytes]:
    """Return the roles that the running task's worker keeps for the next client, and their state.

    The time for which they are kept begins anew.
    """
    return installed(_Kept, get_worker()).offered(fingerprint)


def take_up(keep: Keep, role: int, *, after: Any = None) -> Any:
    """Return a shard that the running task's worker keeps; it is then the task's result.

    Raises
    ------
    RuntimeError
        If it is not kept any more.
    """
    worker: Any = get_worker()
    shard = installed(_Kept, worker).shard(keep.fingerprint, role)
    if shard is None:
        raise RuntimeError(f"Worker {worker.address} does not keep role {role} any more.")
    return keep_shard(keep, shard)


def let_go(fingerprint: str, uid: str | None = None) -> None:
    """Have the running task's worker keep nothing more of a placement, or of all such."""
    installed(_Kept, get_worker()).let_go(fingerprint, uid)


@dataclass
class _Entry:
    keep: Keep
    shard: Any
    key: Any  # of Dask's result; None once that has been let go
    timer: asyncio.TimerHandle | None = None


class _Kept(NamedPlugin):
    """Keeps shards, by fingerprint and role."""

    name = "dask-gradcode-kept"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[tuple[str, int], _Entry] = {}
        self._loop: Any = None

    def setup(self, worker: Any) -> None:
        self._loop = worker.loop.asyncio_loop

    def teardown(self, worker: Any) -> None:
        with self._lock:
            for where in list(self._entries):
                self._drop(where)

    def keep(self, keep: Keep, shard: Any, key: Any) -> None:
        where = keep.fingerprint, shard.role
        with self._lock:
            self._drop(where)
            self._entries[where] = _Entry(keep, shard, key)

    def shard(self, fingerprint: str, role: int) -> Any:
        with self._lock:
            entry = self._entries.get((fingerprint, role))
            return None if entry is None else entry.shard

    def offered(self, fingerprint: str) -> tuple[list[int], bytes]:
        with self._lock:
            found = {role: e for (f, role), e in self._entries.items() if f == fingerprint}
            free = {role: entry for role, entry in found.items() if entry.key is None}
            for entry in free.values():
                self._loop.call_soon_threadsafe(self._count_down, entry)
            states = {entry.keep.state for entry in free.values()}
            return (sorted(free), states.pop()) if len(states) == 1 else ([], b"")

    def let_go(self, fingerprint: str, uid: str | None) -> None:
        with self._lock:
            for where, entry in list(self._entries.items()):
                if where[0] == fingerprint and uid in (None, entry.keep.uid):
                    self._drop(where)

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        if finish not in ("released", "forgotten", "error") or not self._entries:
            return
        with self._lock:
            for entry in self._entries.values():
                if entry.key == key:
                    entry.key = None
                    self._count_down(entry)

    def _count_down(self, entry: _Entry) -> None:
        """Begin, or begin anew, the time for which it is kept; called in the event loop."""
        with self._lock:
            if entry.timer is not None:
                entry.timer.cancel()
            entry.timer = self._loop.call_later(entry.keep.seconds, self._end, entry)

    def _end(self, entry: _Entry) -> None:
        with self._lock:
            where = entry.keep.fingerprint, entry.shard.role
            if self._entries.get(where) is entry and entry.key is None:
                self._drop(where)

    def _drop(self, where: tuple[str, int]) -> None:
        entry = self._entries.pop(where, None)
        if entry is not None and entry.timer is not None:
            self._loop.call_soon_threadsafe(entry.timer.cancel)
