"""How the shard of a role comes to its worker: from the source, or from other roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.cuts import Piece, pieces
from dask_gradcode.cluster.data.shard import (
    ShardPlan,
    build_shard,
    copy_shard,
    cut_rows,
    pack_rows,
    take_block,
)
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.codes import GradientCode
from dask_gradcode.targets import Targets

__all__ = ["Builder"]


class Builder:
    """Submits the tasks that put a role's blocks on a worker, as one pinned key.

    Parameters
    ----------
    client : distributed.Client
        The client.
    uid : str
        Distinguishes the keys of this placement from all others.
    code : GradientCode
        Says which role holds which blocks.
    source : Source
        The chunks. Its futures are let go once all roles are placed.
    lengths : mapping of str to sequence of int
        Rows of each chunk of each array of the source.
    borders : sequence of int
        The rows at which blocks begin, and the number of all rows.
    targets : Targets
        Says how targets are encoded.
    before : callable
        Returns by a worker's address what has to be done before it can read tasks, or None.
    """

    def __init__(
        self,
        client: Client,
        uid: str,
        code: GradientCode,
        source: Source,
        lengths: Mapping[str, Sequence[int]],
        borders: Sequence[int],
        targets: Targets,
        before: Callable[[str], Future[Any] | None],
    ) -> None:
        self._client, self._uid, self._code, self._source = client, uid, code, source
        self._borders, self._targets, self._before = borders, targets, before
        self._pieces: dict[str, dict[int, list[Piece]]] = {
            name: {
                block: pieces(lengths[name], borders[block], borders[block + 1])
                for block in range(code.n_blocks)
            }
            for name, chunks in source.futures.items()
            if chunks  # there may be no sample weights
        }
        self._lengths = lengths
        self._cuts: dict[tuple[str, Piece], Future[Any]] = {}

    def chunks_of(self, role: int) -> set[tuple[str, int]]:
        """Return the source chunks that a role's blocks come from, by array and index."""
        return {
            (name, piece.chunk)
            for name, found in self._pieces.items()
            for block in self._code.blocks_of(role)
            for piece in found[block]
        }

    def overlap(self, role: int, name: str, chunk: int) -> int:
        """Return how many rows of a chunk a role's blocks have."""
        return sum(
            piece.stop - piece.start
            for block in self._code.blocks_of(role)
            for piece in self._pieces[name][block]
            if piece.chunk == chunk
        )

    def from_source(self, role: int, address: str, epoch: int) -> Future[Any]:
        """Pin a role's shard to a worker, to which pieces of the source chunks go."""
        parts: list[Future[Any]] = []

        def place(name: str) -> dict[int, list[int]]:
            found: dict[int, list[int]] = {}
            for block in self._code.blocks_of(role) if name in self._pieces else ():
                found[block] = []
                for piece in self._pieces[name][block]:
                    found[block].append(len(parts))
                    parts.append(self._piece(name, piece))
            return found

        plan = ShardPlan(role, place("X"), place("y"), place("sample_weight"), self._targets)
        return self._pin(build_shard, (plan, *parts), role, address, epoch)

    def from_replicas(
        self, role: int, address: str, epoch: int, holders: Mapping[int, tuple[Any, str]]
    ) -> Future[Any]:
        """Pin a role's shard to a worker, with blocks that other roles have.

        Parameters
        ----------
        role, address, epoch
            The role, its new worker, and the number of times that it has been placed.
        holders : mapping of int to tuple of Future and str
            For each block the shard of a role that has it, and that role's worker.
        """
        blocks = [
            self._client.submit(
                take_block,
                shard,
                block,
                key=task_key("block", self._uid, role, block, epoch),
                workers=[where],
                allow_other_workers=False,
                pure=False,
            )
            for block, (shard, where) in holders.items()
        ]
        return self._pin(copy_shard, (role, tuple(holders), *blocks), role, address, epoch)

    def recompute(self, name: str, chunk: int, workers: Sequence[str]) -> None:
        """Have a chunk computed on some of the workers: it was let go, or its worker is silent."""
        for key in [key for key in self._cuts if (key[0], key[1].chunk) == (name, chunk)]:
            self._cuts.pop(key).release()
        before = self._source.futures[name].pop(chunk, None)
        self._source.futures[name][chunk] = self._source.again(name, chunk, workers)
        if before is not None:
            before.release()

    def has(self, name: str, chunk: int) -> bool:
        """Say whether a chunk has been computed and not yet let go."""
        return chunk in self._source.futures[name]

    def release(self) -> None:
        """Let go of the chunks; what they are computed from is kept."""
        while self._cuts:
            self._cuts.popitem()[1].release()
        self._source.release()

    def _piece(self, name: str, piece: Piece) -> Future[Any]:
        """Return rows of a chunk, made ready where it is, once for all who need them."""
        chunk = self._source.futures[name][piece.chunk]
        if name != "X" and (piece.start, piece.stop) == (0, self._lengths[name][piece.chunk]):
            return chunk
        if (name, piece) not in self._cuts:
            expected = self._source.expected(name, piece.chunk)
            self._cuts[name, piece] = self._client.submit(
                *((pack_rows, expected) if name == "X" else (cut_rows,)),
                chunk,
                piece.start,
                piece.stop,
                key=task_key("cut", self._uid),
                pure=False,
            )
        return self._cuts[name, piece]

    def _pin(
        self, function: Any, arguments: tuple[Any, ...], role: int, address: str, epoch: int
    ) -> Future[Any]:
        return self._client.submit(
            function,
            *arguments,
            after=self._before(address),
            key=task_key("shard", self._uid, role, epoch),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
