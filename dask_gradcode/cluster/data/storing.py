"""How rows come to a worker's disk: piece by piece as they arrive, then put together as a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.columns import renumbered, worth_cutting
from dask_gradcode.cluster.data.disk import file_of_task
from dask_gradcode.cluster.data.row_file import Extent, RowFile
from dask_gradcode.cluster.data.shard import Parcel, Shard, ShardPlan
from dask_gradcode.cluster.data.stored import Part, StoredColumn, StoredRows
from dask_gradcode.work import Block

__all__ = ["build_stored", "copy_stored", "store_rows", "store_some", "take_some", "write_rows"]

_AT_ONCE = 2**20  # column numbers that are written anew


@dataclass(frozen=True)
class Written:
    """What has been written: rows, and for a copy of a block's rows their targets and weights.

    Parameters
    ----------
    rows : Part
        Where the rows are.
    seen : ndarray of uint8 or None
        Of CSR: bits that say which columns have a stored value.
    y, sample_weight : Extent or None
        Where they are, if they are there.
    """

    rows: Part
    seen: NDArray[np.uint8] | None
    y: Extent | None = None
    sample_weight: Extent | None = None


def write_rows(file: RowFile, rows: Any) -> Written:
    """Write rows, dense or CSR, as they are read: float32 stays, all else becomes float64.

    Parameters
    ----------
    file : RowFile
        Where to.
    rows : ndarray or csr_array of shape (n_rows, n_columns)
        What to write.
    """
    dtype = np.float32 if rows.dtype == np.float32 else np.float64
    n_rows, n_columns = rows.shape
    if not scipy.sparse.issparse(rows):
        values = file.append(np.require(rows, dtype=dtype, requirements="C").reshape(-1))
        return Written(Part(file, values, n_columns, 0, n_rows), None)
    seen = np.zeros(n_columns, dtype=bool)
    seen[rows.indices] = True
    index = np.int32 if n_columns < 2**31 else np.int64
    extents = (
        file.append(rows.data.astype(dtype, copy=False)),
        file.append(rows.indices.astype(index, copy=False)),
        file.append(rows.indptr.astype(np.int64, copy=False)),
    )
    values, indices, indptr = extents
    part = Part(file, values, n_columns, 0, n_rows, indices, indptr, 0, rows.nnz)
    return Written(part, np.packbits(seen))


def store_rows(
    token: str, expected: Expected, sparse: bool, chunk: Any, *, after: Any = None
) -> Written:
    """Write rows of a source chunk to a file of this worker.

    Parameters
    ----------
    token : str
        Names the file.
    expected : Expected
        What its array says of a whole chunk.
    sparse : bool
        Whether others of these rows are sparse: then all are.
    chunk : Parcel or chunk
        Some rows of a chunk that were cut out of it, or all of it.
    after : object
        What must have been done before.
    """
    rows = chunk.content if isinstance(chunk, Parcel) else expected.rows(chunk)
    return write_rows(file_of_task(token), scipy.sparse.csr_array(rows) if sparse else rows)


def take_some(shard: Shard, index: int, start: int, stop: int, *, after: Any = None) -> Parcel:
    """Return some rows of a block, to be copied to another worker."""
    return Parcel(shard.widened(index).loaded(slice(start, stop)))


def store_some(token: str, parcel: Parcel, *, after: Any = None) -> Written:
    """Write some rows of a block to a file of this worker."""
    block, file = parcel.content, file_of_task(token)
    weight = None if block.sample_weight is None else file.append(block.sample_weight)
    return replace(write_rows(file, block.X), y=file.append(block.y), sample_weight=weight)


def build_stored(token: str, plan: ShardPlan, *pieces: Any, after: Any = None) -> Shard:
    """Put a role's blocks together from rows that have been written, and what comes with them."""
    file = file_of_task(token)
    written = {first: [pieces[place] for place in places] for first, places in plan.X.items()}
    columns, compacted = _compacted(written)
    blocks = {}
    for first, parts in compacted.items():
        X, (y, weight) = _stacked(parts), plan.targets_of(first, pieces)
        y = _column(file, [file.append(y)])
        weight = _column(file, [] if weight is None else [file.append(weight)])
        for index, (start, stop) in enumerate(pairwise(plan.borders[first]), first):
            some = None if weight is None else weight.between(start, stop)
            blocks[index] = Block(X.between(start, stop), y.between(start, stop), some)
    return Shard(plan.role, blocks, columns, pieces[plan.X[first][0]].rows.n_columns)


def copy_stored(
    token: str, role: int, places: Mapping[int, Sequence[int]], *pieces: Written, after: Any = None
) -> Shard:
    """Put a role's blocks together from rows that came from other roles, and have been written.

    Parameters
    ----------
    token : str
        Names the file.
    role : int
        The role.
    places : mapping of int to sequence of int
        For each block its rows in order, as positions among the pieces.
    *pieces : Written
        What has been written.
    after : object
        What must have been done before.
    """
    file = file_of_task(token)
    written = {index: [pieces[place] for place in found] for index, found in places.items()}
    columns, compacted = _compacted(written)
    blocks = {}
    for index, parts in compacted.items():
        some = written[index]
        y = _column(file, [piece.y for piece in some])
        weight = _column(file, [piece.sample_weight for piece in some])
        blocks[index] = Block(_stacked(parts), y, weight)
    return Shard(role, dict(sorted(blocks.items())), columns, pieces[0].rows.n_columns)


def _compacted(
    written: Mapping[int, Sequence[Written]],
) -> tuple[NDArray[np.int32] | None, dict[int, list[Part]]]:
    """Renumber columns in the files, as in memory, so that those without a value disappear."""
    pieces = [piece for found in written.values() for piece in found]
    n_features, columns = pieces[0].rows.n_columns, None
    bits = [piece.seen for piece in pieces if piece.seen is not None]
    if len(bits) == len(pieces):
        seen = np.unpackbits(reduce(np.bitwise_or, bits), count=n_features)
        columns = worth_cutting(seen.astype(bool))
    parts = {first: [piece.rows for piece in found] for first, found in written.items()}
    if columns is None:
        return None, parts
    for piece in pieces:
        indices = piece.rows.indices
        assert indices is not None
        number = renumbered(columns, n_features, indices.dtype)
        for start in range(0, indices.size, _AT_ONCE):
            found = np.empty(min(_AT_ONCE, indices.size - start), dtype=indices.dtype)
            piece.rows.file.read(indices, start, found)
            piece.rows.file.write(indices, start, number[found])
    n = columns.size
    return columns, {i: [replace(p, n_columns=n) for p in found] for i, found in parts.items()}


def _stacked(parts: Sequence[Part]) -> StoredRows:
    of_float32 = all(part.values.dtype == np.float32 for part in parts)
    return StoredRows(parts, np.float32 if of_float32 else np.float64)


def _column(file: RowFile, extents: Sequence[Extent | None]) -> Any:
    found = [(file, extent, 0, extent.size) for extent in extents if extent is not None]
    return StoredColumn(found) if found else None
