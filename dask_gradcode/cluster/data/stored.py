"""Rows and targets on disk: they are read as a pass comes to them, the next chunk ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dask_gradcode.cluster.data.row_file import ALL_ONES, Extent, RowFile
from dask_gradcode.cluster.data.stacked import within
from dask_gradcode.kernels import RowSource

__all__ = ["Part", "StoredColumn", "StoredRows"]

_readers = ThreadPoolExecutor(thread_name_prefix="gradcode-reader")  # of all files

Fill = Callable[[slice, NDArray[np.uint8]], tuple[Any, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``stop`` of some that have been written together.

    Parameters
    ----------
    file : RowFile
        Where they are.
    values : Extent
        Dense: all values, row by row. Sparse: the stored ones.
    n_columns : int
        How many columns there are.
    start, stop : int
        Which of the rows.
    indices, indptr : Extent or None
        Of CSR; None: dense.
    first, last : int
        Of CSR: which of the values are these rows'.
    """

    file: RowFile
    values: Extent
    n_columns: int
    start: int
    stop: int
    indices: Extent | None = None
    indptr: Extent | None = None
    first: int = 0
    last: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def between(self, start: int, stop: int) -> Part:
        """Return rows ``start`` to ``stop`` of these."""
        start, stop = self.start + start, self.start + stop
        pointers = self.pointers(start, stop)
        first, last = (int(pointers[0]), int(pointers[-1])) if self.indptr else (0, 0)
        extents = self.file, self.values, self.n_columns, start, stop, self.indices, self.indptr
        return Part(*extents, first, last)

    def pointers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return where written rows begin and end among the values of all."""
        found = np.empty(stop - start + 1, dtype=np.int64)
        if self.indptr is not None:
            self.file.read(self.indptr, start, found)
        return found


class StoredRows(RowSource):
    """A matrix, dense or CSR, whose rows are on disk.

    Parameters
    ----------
    parts : sequence of Part
        One after another; all dense, or all sparse. At least one.
    dtype : dtype
        Of the values as they are read, whichever was written.
    columns : ndarray of int, optional
        Of CSR: which columns have been written.
    n_features : int, optional
        How many columns there are, where ``columns`` are some of them.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        dtype: Any,
        columns: NDArray[np.int32] | None = None,
        n_features: int | None = None,
    ) -> None:
        self._parts, self.dtype, self._columns = list(parts), np.dtype(dtype), columns
        self._ends = np.cumsum([len(part) for part in parts]).tolist()
        width = parts[0].n_columns if n_features is None else n_features
        self.shape = int(self._ends[-1]), width
        self.nnz = None
        if parts[0].indptr is not None:
            self.nnz = sum(part.last - part.first for part in parts)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        if self.nnz is None:
            return int(self.shape[0] * self.shape[1] * self.dtype.itemsize)
        stored = sum(
            (part.last - part.first) * extent.dtype.itemsize
            for part in self._parts
            for extent in (part.values, part.indices)
            if extent is not None and extent.offset != ALL_ONES
        )
        return stored + 8 * (self.shape[0] + 1)

    @property
    def file(self) -> RowFile:
        """Where the rows are."""
        return self._parts[0].file

    def __getitem__(self, rows: slice) -> Any:
        """Return some rows in memory, as a matrix or a CSR array."""
        start, stop, _ = rows.indices(self.shape[0])
        found, _ = self._fill(slice(start, stop), np.empty(0, dtype=np.uint8))
        if self.nnz is None:
            return found
        indptr, indices, values = found
        values = np.require(values, requirements=["C", "W"])  # a place for each, also of ones
        shape = len(indptr) - 1, self.shape[1]
        return scipy.sparse.csr_array((values, indices, indptr), shape=shape)

    def between(self, start: int, stop: int) -> StoredRows:
        """Return rows ``start`` to ``stop``, at least one, which stay where they are."""
        some = [part.between(first, last) for part, first, last in self._cut(start, stop)]
        return StoredRows(some, self.dtype, self._columns, self.shape[1])

    def widened(self, columns: NDArray[np.int32], n_features: int) -> StoredRows:
        """Return the same rows among more columns, some of which are the written ones."""
        return StoredRows(self._parts, self.dtype, columns, n_features)

    def read(self, chunks: Sequence[slice]) -> Iterator[Any]:
        """Yield the rows of each chunk, from one of two buffers; the other is filled meanwhile."""
        buffers = [self.file.lend_buffer() for _ in chunks[:2]]
        ahead = None
        try:
            for i, chunk in enumerate(chunks):
                if ahead is None:
                    part, buffers[0] = self._fill(chunk, buffers[0])
                else:
                    part, buffers[i % 2] = ahead.result()
                if i + 1 < len(chunks):
                    # the last but one has been computed with: its buffer is free
                    ahead = _readers.submit(self._fill, chunks[i + 1], buffers[(i + 1) % 2])
                yield part
        finally:
            if ahead is not None and not ahead.cancel():
                ahead.exception()  # once it is known, nobody writes to the buffers
            for buffer in buffers:
                self.file.take_back(buffer)

    def _fill(self, chunk: slice, buffer: NDArray[np.uint8]) -> tuple[Any, NDArray[np.uint8]]:
        """Read a chunk; return its rows, and the buffer that they are in."""
        some = self._cut(chunk.start, chunk.stop)
        if self.nnz is None:
            return self._fill_dense(chunk.stop - chunk.start, some, buffer)
        return self._fill_sparse(chunk.stop - chunk.start, some, buffer)

    def _fill_dense(
        self, n_rows: int, some: list[tuple[Part, int, int]], buffer: NDArray[np.uint8]
    ) -> tuple[Any, NDArray[np.uint8]]:
        width = self.shape[1]
        buffer = _enough(buffer, n_rows * width * self.dtype.itemsize)
        out = _array(buffer, 0, n_rows * width, self.dtype)
        done = 0
        for part, first, last in some:
            size, start = (last - first) * width, (part.start + first) * width
            _read(part.file, part.values, start, out[done : done + size])
            done += size
        return out.reshape(n_rows, width), buffer

    def _fill_sparse(
        self, n_rows: int, some: list[tuple[Part, int, int]], buffer: NDArray[np.uint8]
    ) -> tuple[Any, NDArray[np.uint8]]:
        pointers = [part.pointers(part.start + i, part.start + j) for part, i, j in some]
        n = sum(int(of_part[-1] - of_part[0]) for of_part in pointers)
        index = self._parts[0].indices
        assert index is not None
        dtype = index.dtype if n < 2**31 else np.dtype(np.int64)
        all_ones = all(part.values.offset == ALL_ONES for part, _, _ in some)
        begin = 0 if all_ones else -(-n * self.dtype.itemsize // 8) * 8  # of the indices: aligned
        buffer = _enough(buffer, begin + n * dtype.itemsize)
        indices = _array(buffer, begin, n, dtype)
        values: Any = np.broadcast_to(np.ones(1, self.dtype), n)
        if not all_ones:
            values = _array(buffer, 0, n, self.dtype)
        indptr, row, done = np.zeros(n_rows + 1, dtype=dtype), 0, 0
        for (part, first, last), of_part in zip(some, pointers, strict=True):
            assert part.indices is not None
            start, size = int(of_part[0]), int(of_part[-1] - of_part[0])
            if not all_ones:
                _read(part.file, part.values, start, values[done : done + size])
            _read(part.file, part.indices, start, indices[done : done + size])
            indptr[row : row + last - first + 1] = of_part - start + done
            row, done = row + last - first, done + size
        if self._columns is not None:
            indices = self._columns[indices].astype(dtype, copy=False)
        return (indptr, indices, values), buffer

    def _cut(self, start: int, stop: int) -> list[tuple[Part, int, int]]:
        """Return where some rows are: in which rows of which parts."""
        return [(self._parts[k], i, j) for k, i, j in within(self._ends, start, stop)]


class StoredColumn:
    """Targets or sample weights on disk, of which one can take slices.

    Parameters
    ----------
    parts : sequence of tuple of RowFile, Extent, int and int
        Which items of which arrays, one after another.
    """

    def __init__(self, parts: Sequence[tuple[RowFile, Extent, int, int]]) -> None:
        self._parts, self.dtype = list(parts), parts[0][1].dtype
        self._ends = np.cumsum([stop - start for _, _, start, stop in parts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int]:
        """How many there are."""
        return (len(self),)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return len(self) * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some of them, in memory."""
        start, stop, _ = rows.indices(len(self))
        out, done = np.empty(max(stop - start, 0), dtype=self.dtype), 0
        for file, extent, first, last in self._cut(start, stop):
            file.read(extent, first, out[done : done + last - first])
            done += last - first
        return out

    def between(self, start: int, stop: int) -> StoredColumn:
        """Return some of them, at least one, which stay where they are."""
        return StoredColumn(self._cut(start, stop))

    def _cut(self, start: int, stop: int) -> list[tuple[RowFile, Extent, int, int]]:
        found = []
        for k, first, last in within(self._ends, start, stop):
            file, extent, begin, _ = self._parts[k]
            found.append((file, extent, begin + first, begin + last))
        return found


def _enough(buffer: NDArray[np.uint8], nbytes: int) -> NDArray[np.uint8]:
    return buffer if buffer.size >= nbytes else np.empty(nbytes, dtype=np.uint8)


def _array(buffer: NDArray[np.uint8], begin: int, size: int, dtype: Any) -> NDArray[Any]:
    return buffer[begin : begin + size * dtype.itemsize].view(dtype)


def _read(file: RowFile, extent: Extent, start: int, out: NDArray[Any]) -> None:
    """Read items, which are written in another dtype where some other part's needed it."""
    if extent.dtype == out.dtype:
        file.read(extent, start, out)
    else:
        found = np.empty(out.size, dtype=extent.dtype)
        file.read(extent, start, found)
        out[:] = found
