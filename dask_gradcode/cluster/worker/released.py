"""How a running task learns that the client has released it, or that its worker closes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import get_worker

from dask_gradcode.cluster.data.installed import NamedPlugin, installed

__all__ = ["Released"]

LINGER = 10.0
"""Seconds for which a worker that has been retired serves those who have not gone elsewhere yet."""

STOPPED = 3.0
"""The same for one that is closed without that, as by ``cluster.scale``: its nanny ends it by force
after 4 s."""


class Released(NamedPlugin):
    """Tells running tasks that they have been released: from outside they cannot be cancelled."""

    name = "dask-gradcode-released"

    def __init__(self) -> None:
        self._calls: dict[Any, Callable[[], None]] = {}
        self._used: dict[Any, Callable[[], bool]] = {}
        self._is_retiring = False

    def setup(self, worker: Any) -> None:
        # A worker that is being retired is told so, but no plugin is.
        handle = worker.stream_handlers["worker-status-change"]

        def noted(status: str, **kwargs: Any) -> None:
            self._is_retiring = status == "closing_gracefully"
            handle(status=status, **kwargs)

        worker.stream_handlers["worker-status-change"] = noted

    @classmethod
    @contextmanager
    def told(
        cls, call: Callable[[], None], is_used: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Have ``call()`` made, on the worker's loop, once the running task is released.

        Or when the worker closes, which lingers a little while ``is_used()``.
        """
        worker: Any = get_worker()
        plugin, key = installed(cls, worker), worker.get_current_task()
        plugin._calls[key], plugin._used[key] = call, is_used
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # it was too early for the plugin to see
            call()
        try:
            yield
        finally:
            plugin._calls.pop(key, None)
            plugin._used.pop(key, None)

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        if start in ("executing", "long-running") and finish == "released" and key in self._calls:
            self._calls[key]()

    async def teardown(self, worker: Any) -> None:
        end = time.monotonic() + (LINGER if self._is_retiring else STOPPED)
        while any(is_used() for is_used in list(self._used.values())) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for call in list(self._calls.values()):
            call()
