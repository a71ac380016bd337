"""The most memory that some processes have had, for examples and benchmarks that say it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import psutil

__all__ = ["Watch"]


class Watch:
    """Notes the most memory that any of some processes has, or with `over=sum` all together."""

    def __init__(self, pids: list[int], over: Callable[[Iterable[int]], int] = max) -> None:
        self.most, self._pids, self._over, self._end = 0, pids, over, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.02):
            self.most = max(self.most, self._over([_held(pid) for pid in self._pids]))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()


def _held(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:  # it has been killed
        return 0
