"""A file of arrays on a worker's disk, without a name: it ends with the process that holds it."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL_ONES", "Extent", "RowFile"]

_ALIGNED = 4096  # where arrays begin: at a page of the disk and of the cache

ALL_ONES = -1
"""In place of where an array lies: nothing is written of values that are all one."""

_known: weakref.WeakValueDictionary[str, RowFile] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Extent:
    """Where in a file an array lies.

    Parameters
    ----------
    offset : int
        Its first byte. ``ALL_ONES``: it is nowhere, as all of it is one.
    size : int
        How many items it has.
    dtype : dtype
        What they are.
    """

    offset: int
    size: int
    dtype: np.dtype[Any]


class RowFile:
    """Arrays on disk, one after another, in the order in which they come.

    The file has no name: whatever ends its process, also ``kill -9``, the system takes it back. No
    array is held in memory, neither as pages that are mapped: those would count as the worker's.

    Parameters
    ----------
    token : str
        By which a copy of this object that was pickled in this process finds the file again, as
        Dask pickles what it spills.
    directory : str
        Where the file is.
    worker : str
        The worker that has it, for the texts of errors.

    Raises
    ------
    OSError
        If no file can be written there; it names the worker and the directory.

    Examples
    --------
    >>> file = RowFile("mine", tempfile.gettempdir(), "this process")
    >>> extent = file.append(np.arange(6.0))
    >>> found = np.empty(2)
    >>> file.read(extent, 3, found)
    >>> found
    array([3., 4.])
    """

    def __init__(self, token: str, directory: str, worker: str) -> None:
        self._token, self._directory, self._worker = token, directory, worker
        self._lock, self._end = threading.Lock(), 0
        self._spare: list[NDArray[np.uint8]] = []  # buffers to read into
        try:
            with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
                self._fd = os.dup(file.fileno())
        except OSError as error:
            raise self._named(error) from error
        weakref.finalize(self, os.close, self._fd)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        _known[token] = self

    def __reduce__(self) -> Any:
        return _found, (self._token, self._directory, self._worker)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._fd

    def lend_buffer(self) -> NDArray[np.uint8]:
        """Return a buffer that nobody else reads into, perhaps an empty one; from any thread."""
        try:
            return self._spare.pop()
        except IndexError:  # another thread may have taken the last one
            return np.empty(0, dtype=np.uint8)

    def take_back(self, buffer: NDArray[np.uint8]) -> None:
        """Keep a buffer for the next read; from any thread."""
        self._spare.append(buffer)

    def append(self, array: NDArray[Any]) -> Extent:
        """Write a C-ordered array of one dimension at the end; from any thread.

        Raises
        ------
        OSError
            If that cannot be done, for want of space say; it names the worker and the directory.
        """
        with self._lock:
            offset = self._end
            self._end += -(-array.nbytes // _ALIGNED) * _ALIGNED
        extent = Extent(offset, array.size, array.dtype)
        self.write(extent, 0, array)
        return extent

    def write(self, extent: Extent, start: int, array: NDArray[Any]) -> None:
        """Write items of an array over those from ``start`` on."""
        left = _bytes(array)
        offset = extent.offset + start * extent.dtype.itemsize
        try:
            while left:
                written = os.pwrite(self._fd, left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            raise self._named(error) from error

    def read(self, extent: Extent, start: int, out: NDArray[Any]) -> None:
        """Read items of an array, from ``start`` on, as many as fill ``out`` of its dtype."""
        if extent.offset == ALL_ONES:
            out[:] = 1
            return
        left = _bytes(out)
        offset = extent.offset + start * extent.dtype.itemsize
        while left:
            n_read = os.preadv(self._fd, [left], offset)
            if not n_read:
                raise OSError(f"A file of rows of {self._worker} ends before it should.")
            left, offset = left[n_read:], offset + n_read

    def _named(self, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"Worker {self._worker} cannot write rows to {self._directory}: {error.strerror}. Make "
            "room there, start workers with another local_directory, or use more workers, or "
            "storage='memory'",
        )


class _Absent(RowFile):
    """Stands for a file of another process: Dask may copy a shard to a worker, but not its rows."""

    def __init__(self, token: str, directory: str, worker: str) -> None:
        self._token, self._directory, self._worker, self._spare = token, directory, worker, []

    def read(self, extent: Extent, start: int, out: NDArray[Any]) -> None:
        raise RuntimeError(f"These rows are on the disk of {self._worker}, in {self._directory}.")


def _bytes(array: Any) -> memoryview:
    return memoryview(array.view(np.uint8)) if array.size else memoryview(b"")


def _found(token: str, directory: str, worker: str) -> RowFile:
    return _known.get(token) or _Absent(token, directory, worker)
