"""Plugins that a worker installs by itself when a task first needs them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, TypeVar

from distributed import WorkerPlugin

__all__ = ["NamedPlugin", "installed"]


class NamedPlugin(WorkerPlugin):
    """A plugin that can be made without parameters."""

    name: str


Plugin = TypeVar("Plugin", bound=NamedPlugin)

_installing = threading.Lock()


def installed(kind: type[Plugin], worker: Any) -> Plugin:
    """Return a worker's plugin of a kind; called in a task, as it may wait for the worker's loop.

    ``Client.register_plugin`` would wait for every worker of the cluster, the frozen ones too.

    Parameters
    ----------
    kind : type of NamedPlugin
        Which.
    worker : distributed.Worker
        The worker of the running task.
    """
    with _installing:
        if kind.name not in worker.plugins:
            added = worker.plugin_add(plugin=kind(), name=kind.name)
            asyncio.run_coroutine_threadsafe(added, worker.loop.asyncio_loop).result(30)
        plugin: Plugin = worker.plugins[kind.name]
        return plugin
