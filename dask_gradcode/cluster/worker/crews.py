"""The threads of a worker, shared by all that computes on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import get_worker

from dask_gradcode.work import Crew

__all__ = ["crew_of_worker"]

_lock = threading.Lock()
_crews: dict[str, tuple[Crew, int]] = {}  # and how many use it, by worker: threads are workers, too


@contextmanager
def crew_of_worker() -> Iterator[Crew]:
    """Compute with all threads that Dask gave to the worker of the running task."""
    worker: Any = get_worker()
    address = worker.address
    with _lock:
        crew, n_users = _crews.get(address) or (Crew(worker.state.nthreads), 0)
        _crews[address] = crew, n_users + 1
    try:
        yield crew
    finally:
        with _lock:
            crew, n_users = _crews.pop(address)
            if n_users > 1:
                _crews[address] = crew, n_users - 1
            else:
                crew.close()
