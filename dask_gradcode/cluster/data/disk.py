"""The files of a worker: each is there as long as there is a task, or its result, that needs it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from typing import Any

import psutil
from distributed import get_worker

from dask_gradcode.cluster.data.installed import NamedPlugin, installed
from dask_gradcode.cluster.data.row_file import RowFile

__all__ = ["DiskFacts", "file_of_task", "look_at_disk"]


@dataclass(frozen=True)
class DiskFacts:
    """What a worker knows of the disk where it keeps its files.

    Parameters
    ----------
    where : str
        The directory.
    device : int
        Distinguishes the disks of a host.
    free : int
        Bytes that can be written.
    is_memory : bool
        Whether it is no disk, but a part of the host's memory.
    problem : str
        Why nothing can be written there; empty if it can.
    """

    where: str
    device: int
    free: int
    is_memory: bool
    problem: str


def look_at_disk() -> DiskFacts:
    """Look at the disk of the running task's worker."""
    directory = os.path.realpath(get_worker().local_directory)
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
        free, device = shutil.disk_usage(directory).free, os.stat(directory).st_dev
    except OSError as error:
        return DiskFacts(directory, 0, 0, False, str(error.strerror))
    mounted = {
        disk.mountpoint: disk.fstype
        for disk in psutil.disk_partitions(all=True)
        if os.path.commonpath([disk.mountpoint, directory]) == disk.mountpoint
    }
    kind = mounted[max(mounted, key=len)] if mounted else ""
    return DiskFacts(directory, device, free, kind in ("tmpfs", "ramfs"), "")


def file_of_task(token: str) -> RowFile:
    """Return the file of that name for the running task, for as long as Dask keeps its result.

    Parameters
    ----------
    token : str
        Names the file, among all of the cluster.
    """
    worker: Any = get_worker()
    return installed(_Disk, worker).file(token, worker)


class _Disk(NamedPlugin):
    """Holds files for keys: what Dask itself spills to disk is no longer there to hold them."""

    name = "dask-gradcode-disk"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, RowFile] = {}
        self._holders: dict[str, set[Any]] = {}  # keys, by token
        self._tokens: dict[Any, str] = {}  # by key

    def file(self, token: str, worker: Any) -> RowFile:
        key = worker.get_current_task()
        with self._lock:
            if token not in self._files:
                self._files[token] = RowFile(token, worker.local_directory, worker.address)
            self._tokens[key] = token
            self._holders.setdefault(token, set()).add(key)
            return self._files[token]

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        if finish not in ("released", "forgotten", "error") or key not in self._tokens:
            return
        with self._lock:
            token = self._tokens.pop(key)
            self._holders[token].discard(key)
            if not self._holders[token]:
                del self._holders[token], self._files[token]

    def teardown(self, worker: Any) -> None:
        with self._lock:
            self._files.clear()
            self._holders.clear()
            self._tokens.clear()
