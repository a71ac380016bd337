"""The shard: all blocks of one role, as one pinned Dask key on its worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse
from dask.sizeof import sizeof
from numpy.typing import NDArray

from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.columns import compact
from dask_gradcode.cluster.data.stacked import StackedRows
from dask_gradcode.cluster.data.stored import StoredRows
from dask_gradcode.kernels import folded, is_one_for_all, one_blas_thread, one_for_all, unfolded
from dask_gradcode.spread import Spread
from dask_gradcode.targets import Targets
from dask_gradcode.work import Block, Work

__all__ = [
    "Shard",
    "ShardPlan",
    "build_shard",
    "copy_shard",
    "cut_rows",
    "features_of",
    "itself",
    "look_at",
    "pack_rows",
    "take_blocks",
]


@dataclass(frozen=True, eq=False)
class Shard:
    """The blocks that one role holds.

    Parameters
    ----------
    role : int
        The code worker whose blocks these are.
    blocks : mapping of int to Block
        By block index.
    columns : ndarray of int, shape (n_columns,), or None
        Which columns the rows touch, where these are few. The blocks have only these, renumbered.
    n_features : int
        Number of all columns.
    """

    role: int
    blocks: Mapping[int, Block]
    columns: NDArray[np.int32] | None = None
    n_features: int = 0

    @cached_property
    def whole(self) -> Mapping[int, Block]:
        """The blocks as a user's function sees them: with all columns, each in one array.

        What is on disk stays there until it is called for.
        """
        blocks = {index: self.widened(index) for index in self.blocks}
        return {index: replace(block, X=_plain(block.X)) for index, block in blocks.items()}

    def widened(self, index: int) -> Block:
        """Return a block with all columns."""
        block = self.blocks[index]
        if self.columns is None:
            return block
        X: Any = block.X
        if isinstance(X, StoredRows):
            return replace(block, X=X.widened(self.columns, self.n_features))
        arrays, shape = (X.data, self.columns[X.indices], X.indptr), (block.n_rows, self.n_features)
        return replace(block, X=scipy.sparse.csr_array(arrays, shape=shape))

    def spreads(self) -> dict[int, Spread]:
        """Return how ``columns`` spread in each block, sample weights counted."""
        with one_blas_thread():
            return {i: Spread.of(block.X, block.sample_weight) for i, block in self.blocks.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, in memory or on disk."""
        return sum(block.nbytes for block in self.blocks.values())

    def seen_by(self, work: Work) -> Mapping[int, Block]:
        """Return the blocks as a work sees them.

        One that has a number of parameters for each column gets ``columns`` only, and so much of
        ``w``.
        """
        return self.whole if work.per_column is None else self.blocks


@sizeof.register(Shard)  # type: ignore[untyped-decorator]
def _sizeof_shard(shard: Shard) -> int:
    """Return the bytes in memory, which Dask's memory manager counts."""
    blocks = shard.blocks.values()
    return sum(block.nbytes for block in blocks if not isinstance(block.X, StoredRows))


@dataclass(frozen=True)
class ShardPlan:
    """How a worker builds a shard from pieces of source chunks.

    Parameters
    ----------
    role : int
        The role.
    borders : mapping of int to sequence of int
        For each run of blocks, by its first one: where its blocks begin in it, and all its rows.
    X, y, sample_weight : mapping of int to sequence of int
        For each run its pieces in order, as positions among the pieces that ``build_shard`` is
        given. No sample weights: an empty mapping.
    targets : Targets
        Says how targets are encoded.
    """

    role: int
    borders: Mapping[int, Sequence[int]]
    X: Mapping[int, Sequence[int]]
    y: Mapping[int, Sequence[int]]
    sample_weight: Mapping[int, Sequence[int]]
    targets: Targets

    def targets_of(self, first: int, pieces: Sequence[Any]) -> tuple[Any, Any]:
        """Return the encoded targets of a run, and its sample weights or None."""
        y = np.concatenate([np.asarray(pieces[place]) for place in self.y[first]])
        if not self.sample_weight:
            return self.targets.encode(y), None
        parts = [np.asarray(pieces[place]) for place in self.sample_weight[first]]
        return self.targets.encode(y), np.concatenate(parts).astype(float)


class Parcel:
    """Rows, or a block, on the way to other workers, where they arrive aligned.

    Dask receives the first array of a message in one buffer with what comes before it, mostly at an
    odd address, and all others in buffers of their own. Here the first one is a single byte, or
    the rows would have to be copied before they can be computed with. Stored values that are all
    one do not travel.
    """

    def __init__(self, content: Any) -> None:
        is_sparse = scipy.sparse.issparse(content)
        self._first = np.zeros(1, dtype=np.uint8)
        self.content = one_for_all(content) if is_sparse else content

    def __getstate__(self) -> Any:
        return self._first, folded(self.content)

    def __setstate__(self, state: Any) -> None:
        self._first, content = state
        self.content = unfolded(content)


@sizeof.register(Parcel)  # type: ignore[untyped-decorator]
def _sizeof_parcel(parcel: Parcel) -> int:
    content = parcel.content
    if scipy.sparse.issparse(content):  # Dask does not know what a sparse array takes
        content = Block(content, np.empty(0))
    return content.nbytes if isinstance(content, Block) else int(sizeof(content))


def cut_rows(chunk: Any, start: int, stop: int) -> Any:
    """Cut rows out of a source chunk, where that is; a copy, so that the chunk can be freed."""
    return chunk[start:stop].copy()


def pack_rows(expected: Expected, chunk: Any, start: int, stop: int) -> Parcel:
    """Cut rows out of a source chunk, or take all of it as it is, to be sent to other workers."""
    rows = expected.rows(chunk)
    return Parcel(rows if (start, stop) == (0, rows.shape[0]) else cut_rows(rows, start, stop))


def build_shard(plan: ShardPlan, *pieces: Any, after: Any = None) -> Shard:
    """Put a role's blocks together on its worker; ``after`` is what must have been done before."""
    blocks = {}
    for first, places in plan.X.items():
        X = _stack([pieces[place].content for place in places])
        y, weight = plan.targets_of(first, pieces)
        for index, (start, stop) in enumerate(pairwise(plan.borders[first]), first):
            some = None if weight is None else weight[start:stop]
            blocks[index] = Block(_between(X, start, stop), y[start:stop], some)
    return _shard(plan.role, blocks)


def look_at(shard: Shard) -> tuple[Any, Any, int, dict[int, Spread]]:
    """Return an empty array like a block's features, columns, bytes, and the blocks' spreads."""
    first = next(iter(shard.blocks))
    return shard.widened(first).X[:0], shard.columns, shard.nbytes, shard.spreads()


def features_of(shard: Shard, index: int) -> Any:
    """Return the features of a block, with all columns and in one array."""
    return shard.whole[index].loaded().X


def itself(chunk: Any) -> Any:
    """Return a chunk that was sent as an argument: it is then a task's result on that worker."""
    return chunk


def take_blocks(shard: Shard, indices: Sequence[int]) -> list[Parcel]:
    """Return blocks of a shard, to be copied to another worker."""
    return [Parcel(shard.widened(index)) for index in indices]


def copy_shard(
    role: int, indices: Sequence[Sequence[int]], *parcels: list[Parcel], after: Any = None
) -> Shard:
    """Put a role's blocks, which came from other roles, together on its new worker."""
    blocks = {
        index: parcel.content
        for taken, sent in zip(indices, parcels, strict=True)
        for index, parcel in zip(taken, sent, strict=True)
    }
    return _shard(role, dict(sorted(blocks.items())))


def _shard(role: int, blocks: dict[int, Block]) -> Shard:
    features = [block.X for block in blocks.values()]
    n_features = features[0].shape[1]
    if not all(map(scipy.sparse.issparse, features)):
        return Shard(role, blocks, None, n_features)
    compacted, columns = compact(features)
    return Shard(
        role,
        {
            index: replace(block, X=X)
            for (index, block), X in zip(blocks.items(), compacted, strict=True)
        },
        columns,
        n_features,
    )


def _plain(X: Any) -> Any:
    """Return features as anybody's code can take them, if they are in memory."""
    if isinstance(X, StackedRows):
        return X.matrix()
    if scipy.sparse.issparse(X) and is_one_for_all(X.data):
        ones = np.ones(X.nnz, dtype=X.dtype)
        return scipy.sparse.csr_array((ones, X.indices, X.indptr), shape=X.shape)
    return X


def _between(X: Any, start: int, stop: int) -> Any:
    """Return rows ``start`` to ``stop``, as they lie."""
    if isinstance(X, StackedRows):
        return X.between(start, stop)
    if not scipy.sparse.issparse(X):
        return X[start:stop]
    first, last = X.indptr[start], X.indptr[stop]
    arrays = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1] - first
    return scipy.sparse.csr_array(arrays, shape=(stop - start, X.shape[1]))


def _of_short_indices(X: Any) -> Any:
    """Return CSR rows with indices of 4 bytes, as on disk, if those are enough."""
    if X.indices.dtype == np.int32 or max(X.nnz, X.shape[1]) >= 2**31:
        return X
    arrays = X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return scipy.sparse.csr_array(arrays, shape=X.shape)


def _stack(parts: list[Any]) -> Any:
    """Return a run's rows: float32 stays, all else becomes float64.

    Dense parts that came as whole chunks are left where they lie.
    """
    dtype = np.float32 if all(part.dtype == np.float32 for part in parts) else np.float64
    if any(map(scipy.sparse.issparse, parts)):
        rows = scipy.sparse.csr_array(scipy.sparse.vstack(parts, format="csr"), dtype=dtype)
        return one_for_all(_of_short_indices(rows))
    # what came in one message with other arrays may lie unaligned in its buffer
    arrays = [np.require(part, dtype=dtype, requirements=["C", "A"]) for part in parts]
    return arrays[0] if len(arrays) == 1 else StackedRows(arrays)
