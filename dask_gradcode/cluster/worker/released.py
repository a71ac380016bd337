"""How a running task learns that the client has released it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import WorkerPlugin, get_worker

__all__ = ["Released"]


class Released(WorkerPlugin):
    """Tells running tasks that they have been released: from outside they cannot be cancelled."""

    name = "dask-gradcode-released"
    _installing = threading.Lock()

    def __init__(self) -> None:
        self._calls: dict[Any, Callable[[], None]] = {}

    @classmethod
    @contextmanager
    def told(cls, call: Callable[[], None]) -> Iterator[None]:
        """Have ``call()`` made, on the worker's loop, once the running task is released."""
        worker: Any = get_worker()
        plugin, key = cls._of(worker), worker.get_current_task()
        plugin._calls[key] = call
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # it was too early for the plugin to see
            call()
        try:
            yield
        finally:
            plugin._calls.pop(key, None)

    @classmethod
    def _of(cls, worker: Any) -> Released:
        with cls._installing:
            # Each worker installs it by itself: Client.register_plugin waits for every worker of
            # the cluster, the frozen ones too.
            if cls.name not in worker.plugins:
                added = worker.plugin_add(plugin=cls(), name=cls.name)
                asyncio.run_coroutine_threadsafe(added, worker.loop.asyncio_loop).result(30)
            plugin: Released = worker.plugins[cls.name]
            return plugin

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        if start in ("executing", "long-running") and finish == "released" and key in self._calls:
            self._calls[key]()

    def teardown(self, worker: Any) -> None:
        for call in list(self._calls.values()):
            call()
