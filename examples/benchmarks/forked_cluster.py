"""A Dask cluster of many light processes on one machine.

Workers are forked, one after the other, from a process that has imported what they need: so each
starts in a moment, and shares with the others the memory of what they have in common. The scheduler
has a process of its own, and there are no nannies and no dashboards: the process that measures is
a client and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import dask
import distributed  # with all that workers load, so that they need not
import scipy.linalg.blas
import scipy.sparse
from distributed import Client, Scheduler, Worker

import dask_gradcode.cluster.worker.desk  # noqa: F401

__all__ = ["forked_cluster"]

_KEPT = (distributed, scipy.linalg.blas, scipy.sparse)


async def _schedule(port: int) -> None:
    async with Scheduler(host="127.0.0.1", port=port, dashboard_address=":0") as scheduler:
        await scheduler.finished()


async def _work(address: str, name: int) -> None:
    async with Worker(address, name=name, nthreads=1, memory_limit=0, dashboard=False) as worker:
        await worker.finished()


def _fork(run: Callable[[], Coroutine[Any, Any, None]]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with suppress(KeyboardInterrupt, asyncio.CancelledError, TimeoutError, OSError):
        logging.disable()  # it tells of every end
        asyncio.run(run())
    os._exit(0)


@contextmanager
def forked_cluster(n_workers: int) -> Iterator[tuple[Client, dict[str, int]]]:
    """Start a scheduler and workers; yield a client, and the process of each worker's address.

    Call it before anything in this process starts threads, or after all that did has ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pids = [_fork(partial(_schedule, port))]
    address = f"tcp://127.0.0.1:{port}"
    try:
        with dask.config.set({"distributed.worker.profile.enabled": False}):
            pids += [_fork(partial(_work, address, name)) for name in range(n_workers)]
        with Client(address, timeout="60s") as client:
            client.wait_for_workers(n_workers, timeout=300)
            yield client, client.run(os.getpid)
    finally:
        for pid in reversed(pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
