"""The shard: all blocks of one role, as one pinned Dask key on its worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from dask.sizeof import sizeof

from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.kernels import never
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
    """

    role: int
    blocks: Mapping[int, Block]

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
    ) -> Vector | None:
        """Return a message's payload, or None if told to stop."""
        return compute_payload(code, message, self.blocks, work, w, should_stop)


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
    blocks = {}
    for index in plan.X:
        y = np.concatenate([_rows(chunks, piece) for piece in plan.y[index]])
        weight = None
        if plan.sample_weight:
            pieces = plan.sample_weight[index]
            weight = np.concatenate([_rows(chunks, piece) for piece in pieces]).astype(float)
        X = _stack([_rows(chunks, piece) for piece in plan.X[index]])
        blocks[index] = Block(X, plan.targets.encode(y), weight)
    return Shard(plan.role, blocks)


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
