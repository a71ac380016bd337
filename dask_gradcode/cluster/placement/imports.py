"""What workers import before their first task, while their heartbeats go on."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from distributed import Client, Future
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.located import located
from dask_gradcode.cluster.client.silence import Silence
from dask_gradcode.cluster.client.waiting import LOOK_EVERY, is_late
from dask_gradcode.cluster.data.cuts import describe_X
from dask_gradcode.cluster.data.shard import build_shard
from dask_gradcode.cluster.data.storing import store_piece
from dask_gradcode.cluster.placement.arithmetic import Arithmetic
from dask_gradcode.cluster.placement.package import (
    check_scheduler,
    is_missing,
    missing_error,
    reader,
    version_here,
)
from dask_gradcode.cluster.worker.delays import hold
from dask_gradcode.cluster.worker.desk import serve
from dask_gradcode.cluster.worker.message_task import answer

__all__ = ["Imports"]

logger = logging.getLogger("dask_gradcode")

NEEDED: tuple[Any, ...] = (answer, build_shard, describe_X, hold, located, serve, store_piece)
"""What tasks refer to: a worker that has read these has imported all that it will need."""


class Imports:
    """Has workers import what tasks refer to, in a thread and not in their event loops.

    Dask reads a task in the worker's event loop, and what the task refers to is imported there: a
    worker on a loaded machine or with a slow file system is silent meanwhile, as a frozen one is.
    Here a task that travels by value has the worker read the references, as bytes, in a thread. Its
    end is also the first sign of life of a worker, which is starting until then.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._liveness = client, Liveness.of(client)
        Arithmetic.of(client)  # listens to what workers say there
        self._pending: dict[str, Future[Any]] = {}
        self._changed = threading.Condition()
        self._needed = dumps(NEEDED)
        self._errors: dict[str, BaseException] = {}

    def before(self, address: str) -> Future[Any] | None:
        """Return what has to be done before a worker can read tasks; None if it has been done."""
        with self._changed:
            if self._liveness.answered(address):
                return None
            future = self._pending.get(address)
            if future is None or future.status in ("error", "cancelled", "lost"):
                future = self._pending[address] = self._begin(address)
            return future

    def wait(self, addresses: Collection[str], what: str) -> None:
        """Wait until workers can read tasks: for all of them, or for those that are not late.

        As long as none has answered, they are waited for as slow ones.

        Parameters
        ----------
        addresses : collection of str
            The workers.
        what : str
            What they are needed for, for texts.

        Raises
        ------
        TimeoutError
            If no worker has answered within ``gradcode.timeouts.round``.
        ModuleNotFoundError
            If the scheduler or workers lack this package.
        Exception
            What a worker raised when it was to import this package.
        """
        check_scheduler(self._client)
        began = looked = time.monotonic()
        silence, took = Silence(what), list[float]()
        frozen: dict[str, str] = {}
        waiting = {address for address in addresses if self.before(address) is not None}
        while waiting:
            answered = self._take(waiting)
            waiting -= answered
            if answered:
                silence.broken()
            now = time.monotonic()
            waited = now - began
            took += [waited] * len(answered)
            if now - looked > LOOK_EVERY:
                looked = now
                gone, frozen = self._liveness.absent(waiting)
                frozen |= self._liveness.paused(waiting)  # they begin no task, this one neither
                waiting -= gone.keys()
            late = is_late(waited, took, len(addresses))
            overdue = took and waited > seconds("gradcode.timeouts.workers")
            hopeless = len(frozen) == len(waiting) and waited > seconds("gradcode.timeouts.recover")
            if late or overdue or hopeless:
                break
            left = f"{sorted(waiting)}, which are starting"
            silence.look({}, lambda left=left: left, frozen)  # type: ignore[misc]
        self._check()
        if waiting:
            logger.info("%s: not waiting for %s, which are starting", what, sorted(waiting))
        self._release(set(self._pending) - waiting)

    def _take(self, waiting: set[str]) -> set[str]:
        """Return which workers have answered, after waiting for one of them for a while."""

        def answered() -> set[str]:
            done = {address for address in waiting if self._liveness.answered(address)}
            return done | (waiting & self._errors.keys())

        with self._changed:
            self._changed.wait_for(answered, LOOK_EVERY)
            return answered()

    def _check(self) -> None:
        """Raise what a worker raised; workers that lack the package are named together."""
        with self._changed:
            errors = dict(self._errors)
        missing = sorted(address for address, error in errors.items() if is_missing(error))
        if missing:
            raise missing_error("workers" if len(missing) > 1 else "worker", missing)
        for address, error in errors.items():
            error.add_note(f"raised on worker {address}, which is to import dask_gradcode")
            raise error

    def release(self) -> None:
        """Let go of the tasks that have not ended."""
        self._release(list(self._pending))

    def _release(self, addresses: Iterable[str]) -> None:
        with self._changed:
            for address in addresses:
                self._pending.pop(address).release()

    def _begin(self, address: str) -> Future[Any]:
        future = self._client.submit(
            reader(),
            self._needed,
            version_here(),
            key=task_key("import", uuid.uuid4().hex[:12]),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        future.add_done_callback(lambda done: self._note(address, done))
        return future

    def _note(self, address: str, future: Future[Any]) -> None:
        error = future.exception() if future.status == "error" else None
        with self._changed:
            if future.status == "finished":
                self._liveness.note_answer(address)
            elif error is not None:
                self._errors[address] = error
            self._changed.notify_all()
