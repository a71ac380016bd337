"""How a running task learns that the client has released it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import get_worker

from dask_gradcode.cluster.data.installed import NamedPlugin, installed

__all__ = ["Released"]


class Released(NamedPlugin):
    """Tells running tasks that they have been released: from outside they cannot be cancelled."""

    name = "dask-gradcode-released"

    def __init__(self) -> None:
        self._calls: dict[Any, Callable[[], None]] = {}

    @classmethod
    @contextmanager
    def told(cls, call: Callable[[], None]) -> Iterator[None]:
        """Have ``call()`` made, on the worker's loop, once the running task is released."""
        worker: Any = get_worker()
        plugin, key = installed(cls, worker), worker.get_current_task()
        plugin._calls[key] = call
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # it was too early for the plugin to see
            call()
        try:
            yield
        finally:
            plugin._calls.pop(key, None)

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        if start in ("executing", "long-running") and finish == "released" and key in self._calls:
            self._calls[key]()

    def teardown(self, worker: Any) -> None:
        for call in list(self._calls.values()):
            call()
