"""The files of a worker: each is there as long as there is a task, or its result, that needs it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from distributed import get_worker

from dask_gradcode.cluster.data.installed import NamedPlugin, installed
from dask_gradcode.cluster.data.row_file import RowFile

__all__ = ["DiskFacts", "file_of_task", "kind_of", "look_at_disk"]


_REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "virtiofs", "ceph"),
    *("lustre", "beegfs", "gpfs", "pvfs2", "orangefs", "glusterfs", "panfs", "wekafs", "davfs"),
}
"""Kinds of file systems whose disks are those of other machines."""


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
    kind : str
        The file system's, as ``/proc/mounts`` has it (``"ext4"``); empty where that is not known.
    problem : str, default=""
        Why nothing can be written there; empty if it can.
    """

    where: str
    device: int
    free: int
    kind: str
    problem: str = ""

    @property
    def is_memory(self) -> bool:
        """Whether it is no disk, but a part of the host's memory."""
        return self.kind in ("tmpfs", "ramfs")

    @property
    def is_remote(self) -> bool:
        """Whether what is read there comes through the network, or through another process.

        File systems of processes (FUSE) are mostly such: sshfs, s3fs, GlusterFS. Those of a block
        device (``fuseblk``) are not.
        """
        return self.kind in _REMOTE or self.kind == "fuse" or self.kind.startswith("fuse.")


def look_at_disk() -> DiskFacts:
    """Look at the disk of the running task's worker."""
    directory = os.path.realpath(get_worker().local_directory)
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
        free, device = shutil.disk_usage(directory).free, os.stat(directory).st_dev
    except OSError as error:
        return DiskFacts(directory, 0, 0, "", str(error.strerror))
    mounted = [(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=True)]
    return DiskFacts(directory, device, free, kind_of(directory, mounted))


def kind_of(directory: str, mounted: Sequence[tuple[str, str]]) -> str:
    """Return the kind of the file system that a directory is on.

    Parameters
    ----------
    directory : str
        Its real path.
    mounted : sequence of tuple of str and str
        Where each file system is mounted, and its kind, in the order in which they were: one over
        another hides it.

    Examples
    --------
    >>> kind_of("/data/me", [("/", "ext4"), ("/data", "nfs4"), ("/dat", "tmpfs")])
    'nfs4'
    """
    found = {
        where: kind for where, kind in mounted if os.path.commonpath([where, directory]) == where
    }
    return found[max(found, key=len)] if found else ""


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
