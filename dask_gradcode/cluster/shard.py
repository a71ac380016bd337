"""The shard: all blocks of one role, as one pinned Dask key on its worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
from dask.sizeof import sizeof
from numpy.typing import NDArray

from dask_gradcode.cluster.columns import compact
from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.kernels import never
from dask_gradcode.losses import Loss
from dask_gradcode.messages import Block, Work, compute_payload
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["Piece", "Shard", "ShardPlan", "build_shard"]


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
        Where the rows touch few columns: which. The blocks then have those only, renumbered.
    n_features : int
        Number of all columns.
    """

    role: int
    blocks: Mapping[int, Block]
    columns: NDArray[np.int32] | None = None
    n_features: int = 0

    @cached_property
    def whole(self) -> Mapping[int, Block]:
        """The blocks with all columns."""
        columns = self.columns
        if columns is None:
            return self.blocks

        def widened(block: Block) -> Block:
            X: Any = block.X
            arrays, shape = (X.data, columns[X.indices], X.indptr), (block.n_rows, self.n_features)
            return replace(block, X=scipy.sparse.csr_array(arrays, shape=shape))

        return {index: widened(block) for index, block in self.blocks.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, as Dask's memory manager shall count them."""
        return sum(block.nbytes for block in self.blocks.values())

    def compute(
        self,
        code: GradientCode,
        message: Message,
        work: Work,
        w: Vector,
        should_stop: Callable[[], bool] = never,
        out: Vector | None = None,
    ) -> Vector | None:
        """Return a message's payload, or None if told to stop.

        For a loss both ``w`` and the payload are restricted to ``columns``.
        """
        # A loss never looks at a column, so it is content with those that there are.
        blocks = self.blocks if isinstance(work, Loss) else self.whole
        return compute_payload(code, message, blocks, work, w, should_stop, out)


@sizeof.register(Shard)  # type: ignore[untyped-decorator]
def _sizeof_shard(shard: Shard) -> int:
    return shard.nbytes


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop`` of a source chunk."""

    chunk: int
    start: int
    stop: int


@dataclass(frozen=True)
class ShardPlan:
    """How a worker builds a shard from source chunks.

    Parameters
    ----------
    role : int
        The role.
    X, y, sample_weight : mapping of int to sequence of Piece
        For each block where its rows come from. Chunks are numbered in the order in which
        ``build_shard`` is given them. No sample weights: an empty mapping.
    targets : Targets
        Says how targets are encoded.
    """

    role: int
    X: Mapping[int, Sequence[Piece]]
    y: Mapping[int, Sequence[Piece]]
    sample_weight: Mapping[int, Sequence[Piece]]
    targets: Targets


def build_shard(plan: ShardPlan, *chunks: Any) -> Shard:
    """Cut a role's blocks out of source chunks, on its worker."""
    X = [_stack([_rows(chunks, piece) for piece in pieces]) for pieces in plan.X.values()]
    n_features = X[0].shape[1]
    X, columns = compact(X) if all(map(scipy.sparse.issparse, X)) else (X, None)
    blocks = {}
    for index, features in zip(plan.X, X, strict=True):
        y = np.concatenate([_rows(chunks, piece) for piece in plan.y[index]])
        weight = None
        if plan.sample_weight:
            pieces = plan.sample_weight[index]
            weight = np.concatenate([_rows(chunks, piece) for piece in pieces]).astype(float)
        blocks[index] = Block(features, plan.targets.encode(y), weight)
    return Shard(plan.role, blocks, columns, n_features)


def _rows(chunks: Sequence[Any], piece: Piece) -> Any:
    chunk = chunks[piece.chunk]
    if scipy.sparse.issparse(chunk) and chunk.format != "csr":
        chunk = chunk.tocsr()
    return chunk[piece.start : piece.stop]


def _stack(parts: list[Any]) -> Any:
    """Stack row parts into a block of its own memory: float32 stays, all else becomes float64."""
    dtype = np.float32 if all(part.dtype == np.float32 for part in parts) else np.float64
    if not any(scipy.sparse.issparse(part) for part in parts):
        return np.ascontiguousarray(np.concatenate(parts), dtype=dtype)
    return scipy.sparse.csr_array(scipy.sparse.vstack(parts, format="csr"), dtype=dtype)
