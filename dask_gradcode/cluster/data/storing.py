"""How rows come to a worker's disk: piece by piece as they arrive, then put together as a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.columns import renumbered, worth_cutting
from dask_gradcode.cluster.data.disk import file_of_task
from dask_gradcode.cluster.data.kept import Keep, keep_shard
from dask_gradcode.cluster.data.row_file import Extent, RowFile
from dask_gradcode.cluster.data.shard import Parcel, Shard, ShardPlan, cut_rows
from dask_gradcode.cluster.data.stash import Stashed
from dask_gradcode.cluster.data.stored import Part, StoredColumn, StoredRows
from dask_gradcode.cluster.data.written import Written, write_rows
from dask_gradcode.work import Block

__all__ = ["build_stored", "copy_stored", "store_piece", "store_some", "take_piece", "take_some"]

_AT_ONCE = 2**20  # column numbers that are written anew


def take_piece(expected: Expected, chunk: Any, start: int, stop: int, *, after: Any = None) -> Any:
    """Return some rows of a source chunk, to be written on another worker."""
    if isinstance(chunk, Stashed):
        return Parcel(chunk.rows[start:stop])
    return Parcel(cut_rows(expected.rows(chunk), start, stop))


def store_piece(token: str, sparse: bool, parcel: Parcel, *, after: Any = None) -> Written:
    """Write rows of a source chunk to a file of this worker.

    Parameters
    ----------
    token : str
        Names the file.
    sparse : bool
        Whether others of these rows are sparse: then all are.
    parcel : Parcel
        The rows.
    after : object
        What must have been done before.
    """
    rows = scipy.sparse.csr_array(parcel.content) if sparse else parcel.content
    return write_rows(file_of_task(token), rows)


def take_some(shard: Shard, index: int, start: int, stop: int, *, after: Any = None) -> Parcel:
    """Return some rows of a block, to be copied to another worker."""
    return Parcel(shard.widened(index).loaded(slice(start, stop)))


def store_some(token: str, parcel: Parcel, *, after: Any = None) -> Written:
    """Write some rows of a block to a file of this worker."""
    block, file = parcel.content, file_of_task(token)
    weight = None if block.sample_weight is None else file.append(block.sample_weight)
    return replace(write_rows(file, block.X), y=file.append(block.y), sample_weight=weight)


def build_stored(
    token: str, keep: Keep | None, plan: ShardPlan, *pieces: Any, after: Any = None
) -> Any:
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
    shard = Shard(plan.role, blocks, columns, pieces[plan.X[first][0]].rows.n_columns)
    return keep_shard(keep, shard)


def copy_stored(
    token: str,
    keep: Keep | None,
    role: int,
    places: Mapping[int, Sequence[int]],
    *pieces: Written,
    after: Any = None,
) -> Shard:
    """Put a role's blocks together from rows that came from other roles, and have been written.

    Parameters
    ----------
    token : str
        Names the file.
    keep : Keep or None
        That the worker keeps the shard when its client has gone, if it does.
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
    shard = Shard(role, dict(sorted(blocks.items())), columns, pieces[0].rows.n_columns)
    return keep_shard(keep, shard)


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
