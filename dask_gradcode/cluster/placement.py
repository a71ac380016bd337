"""A data set on the workers: its shards, each pinned to the worker of its role."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import Client, Future

from dask_gradcode.cluster.blocks import (
    Source,
    pieces,
)
from dask_gradcode.cluster.columns import Columns
from dask_gradcode.cluster.liveness import Liveness
from dask_gradcode.cluster.shard import Shard, ShardPlan, build_shard
from dask_gradcode.cluster.transport import Serving
from dask_gradcode.cluster.waiting import collect
from dask_gradcode.codes import GradientCode
from dask_gradcode.fingerprint import Moments
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["Placement"]

logger = logging.getLogger("dask_gradcode")


class Placement:
    """A data set on the workers: one shard of blocks for each role of a code.

    Made by :func:`place`. Use it as a context manager, or call ``close()``.

    Attributes
    ----------
    code : GradientCode
        The code by which blocks were placed.
    n_samples, n_features : int
        Size of the data set.
    targets : Targets
        Labels, their counts and the sums of sample weights.
    moments : Moments
        By which the features are known again.
    addresses : dict of int to str
        The worker of each role.
    block_rows : ndarray of shape (n_blocks,)
        Rows of each block.
    lost : dict of int to str
        Roles whose worker has left the cluster, and why.
    """

    def __init__(
        self,
        client: Client,
        code: GradientCode,
        addresses: Sequence[str],
        targets: Targets,
        n_features: int,
        feature_names: Any,
    ) -> None:
        self.client, self.code, self.targets = client, code, targets
        self.n_features, self.feature_names = n_features, feature_names
        self.n_samples, self.moments = 0, Moments()
        self.uid = uuid.uuid4().hex[:12]
        self.addresses = dict(enumerate(addresses))
        self.shards: dict[int, Future[Any]] = {}
        self.serving = Serving(client, self.uid)
        self.lost: dict[int, str] = {}
        self.block_rows: Vector = np.zeros(code.n_blocks)
        self._owned: ExitStack | None = None

    def __repr__(self) -> str:
        state = f", lost={self.lost}" if self.lost else ""
        return (
            f"Placement({self.n_samples} samples x {self.n_features} features, {self.code!r}"
            f"{state}{', closed' if not self.shards else ''})"
        )

    def __enter__(self) -> Placement:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def own(self, resources: ExitStack) -> None:
        """Take over what is to be given back when the placement is closed."""
        self._owned = resources

    def close(self) -> None:
        """Free the workers' memory, and close the cluster if ``place`` started it."""
        if self._owned is not None:
            owned, self._owned = self._owned, None
            owned.close()

    def check_open(self) -> None:
        """Raise RuntimeError if the placement or its client is closed."""
        if self._owned is None:
            raise RuntimeError("The placed data has been closed. Place it anew with place(X, y).")
        if self.client.status not in ("running", "connecting"):
            raise RuntimeError(
                f"The Dask client of the placed data is {self.client.status}. "
                "Create a new Client and place the data anew."
            )

    def replica(self, role: int, block: int) -> da.Array:
        """Return the features of a block, as one role holds them, as a dask array.

        Parameters
        ----------
        role : int
            The code worker, 0 to ``n_workers - 1``.
        block : int
            One of ``code.blocks_of(role)``.

        Returns
        -------
        dask.array.Array of shape (n_rows of the block, n_features)
            One chunk, computed from the shard where that is.

        Raises
        ------
        ValueError
            If the role does not hold the block, or its worker is gone.
        """
        self.check_open()
        if role not in self.shards:
            raise ValueError(
                f"Role {role} holds nothing: {self.lost.get(role, 'there is no such role')}."
            )
        if block not in self.code.blocks_of(role):
            raise ValueError(
                f"Role {role} does not hold block {block}; it holds {self.code.blocks_of(role)}."
            )
        rows = delayed(_features)(self.shards[role], block)
        shape = (int(self.block_rows[block]), self.n_features)
        return da.from_delayed(rows, shape, meta=self._meta)

    # ---- building

    def build(
        self, source: Source, borders: list[int], x_lengths: list[int], y_lengths: list[int]
    ) -> None:
        """Pin the shards: each worker cuts its blocks from the chunks, which come to it."""
        self.n_samples = sum(x_lengths)
        self.block_rows = np.diff(borders).astype(float)
        liveness = Liveness.of(self.client)
        for role, address in self.addresses.items():
            liveness.watch(address, self._on_death)
            plan, chunks = _plan(
                role, self.code, borders, source, x_lengths, y_lengths, self.targets
            )
            self.shards[role] = self.client.submit(
                build_shard,
                plan,
                *chunks,
                key=("gradcode-shard", self.uid, role, 0),
                workers=[address],
                allow_other_workers=False,
                pure=False,
            )
        looks = {
            role: self.client.submit(_look_at, shard, pure=False)
            for role, shard in self.shards.items()
        }
        found = collect(self.client, looks, "Placing data", pinned=self.addresses)
        self._meta = found[0][0]
        self.columns = Columns(self.n_features, {role: look[1] for role, look in found.items()})

    def _on_death(self, address: str, why: str) -> None:
        for role, mine in self.addresses.items():
            if mine == address and role not in self.lost:
                logger.warning("Role %d is lost: %s, %s", role, address, why)
                self.lost[role] = f"{address}: {why}"
                # At once: Dask would compute its chunks again for a task that can never run.
                self.serving.release(role)
                shard = self.shards.pop(role, None)
                if shard is not None:
                    shard.release()

    def release(self) -> None:
        """Let go of the shards and of those who serve them."""
        for address in self.addresses.values():
            Liveness.of(self.client).unwatch(address, self._on_death)
        self.serving.release()
        while self.shards:
            self.shards.popitem()[1].release()


def _plan(
    role: int,
    code: GradientCode,
    borders: Sequence[int],
    source: Source,
    x_lengths: Sequence[int],
    y_lengths: Sequence[int],
    targets: Targets,
) -> tuple[ShardPlan, list[Future[Any]]]:
    """Return how a role's worker builds its shard, and the chunks that it needs for that."""
    chunks: list[Future[Any]] = []

    def find(futures: Sequence[Future[Any]], lengths: Sequence[int]) -> dict[int, Any]:
        if not futures:
            return {}
        found = {
            block: pieces(lengths, borders[block], borders[block + 1])
            for block in code.blocks_of(role)
        }
        # number the chunks as arguments of build_shard, each once
        needed = sorted({piece.chunk for parts in found.values() for piece in parts})
        place = {chunk: len(chunks) + i for i, chunk in enumerate(needed)}
        chunks.extend(futures[chunk] for chunk in needed)
        return {
            block: [replace(piece, chunk=place[piece.chunk]) for piece in parts]
            for block, parts in found.items()
        }

    plan = ShardPlan(
        role,
        X=find(source.X, x_lengths),
        y=find(source.y, y_lengths),
        sample_weight=find(source.sample_weight, y_lengths),
        targets=targets,
    )
    return plan, chunks


def _features(shard: Shard, block: int) -> Any:
    return shard.whole[block].X


def _look_at(shard: Shard) -> tuple[Any, Any]:
    return next(iter(shard.blocks.values())).X[:0], shard.columns
