"""How the shard of a role comes to its worker: from the source, or from other roles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.cuts import Piece, pieces, runs
from dask_gradcode.cluster.data.shard import (
    ShardPlan,
    build_shard,
    copy_shard,
    cut_rows,
    pack_rows,
    take_blocks,
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
    among : collection of str
        The workers that were there when the chunks were begun.
    before : callable
        Returns by a worker's address what has to be done before it can read tasks, or None.
    """

    storage = "memory"

    def __init__(
        self,
        client: Client,
        uid: str,
        code: GradientCode,
        source: Source,
        lengths: Mapping[str, Sequence[int]],
        borders: Sequence[int],
        targets: Targets,
        among: Collection[str],
        before: Callable[[str], Future[Any] | None],
    ) -> None:
        self._client, self._uid, self._code, self._source = client, uid, code, source
        self._borders, self._targets, self._before = borders, targets, before
        self._runs = {run.start: run for run in runs(code)}
        self._pieces: dict[str, dict[int, list[Piece]]] = {
            name: {
                first: pieces(lengths[name], borders[first], borders[run.stop])
                for first, run in self._runs.items()
            }
            for name in source.n_chunks
        }
        self._lengths = lengths
        self._cuts: dict[tuple[str, Piece], Any] = {}  # tasks
        self._able, self._silent = frozenset(among), frozenset[str]()
        self._among = self._able  # when the source's chunks were begun
        # when a chunk or its cut was begun: workers that could compute it, and that ran nothing
        self._begun: dict[Any, tuple[frozenset[str], frozenset[str]]] = {}

    def know(self, able: Collection[str], silent: Collection[str]) -> None:
        """Take note of the workers that run tasks now, and of those that are silent."""
        self._able, self._silent = frozenset(able), frozenset(silent)

    def doubt(self) -> None:
        """Have all that is not computed yet begun anew when it is next looked at."""
        self._among = frozenset()
        self._begun.clear()

    def chunks_of(self, role: int) -> set[tuple[str, int]]:
        """Return the source chunks that a role's blocks come from, by array and index."""
        return {
            (name, piece.chunk)
            for name, found in self._pieces.items()
            for first in self._runs_of(role)
            for piece in found[first]
        }

    def _begun_chunks(self) -> set[tuple[str, int]]:
        return {(name, chunk) for name, found in self._source.futures.items() for chunk in found}

    def overlap(self, role: int, name: str, chunk: int) -> int:
        """Return how many rows of a chunk a role's blocks have."""
        return sum(
            piece.stop - piece.start
            for first in self._runs_of(role)
            for piece in self._pieces[name][first]
            if piece.chunk == chunk
        )

    def from_source(self, role: int, address: str, epoch: int) -> Future[Any]:
        """Pin a role's shard to a worker, to which pieces of the source chunks go."""
        self.compute(role)
        plan, parts = self._plan(role, lambda name, piece, run: self._piece(name, piece))
        return self._pin(build_shard, (plan, *parts), role, address, epoch)

    def _plan(
        self, role: int, bring: Callable[[str, Piece, Sequence[Piece]], Future[Any]]
    ) -> tuple[ShardPlan, list[Future[Any]]]:
        """Return how a role's shard is built, and from what; ``run`` is all that lies together."""
        parts: list[Future[Any]] = []

        def place(name: str) -> dict[int, list[int]]:
            found: dict[int, list[int]] = {}
            for first in self._runs_of(role) if name in self._pieces else ():
                found[first] = []
                for piece in self._pieces[name][first]:
                    found[first].append(len(parts))
                    parts.append(bring(name, piece, self._pieces[name][first]))
            return found

        borders = {}
        for first in self._runs_of(role):
            begins = self._borders[first : self._runs[first].stop + 1]
            borders[first] = [border - begins[0] for border in begins]
        placed = place("X"), place("y"), place("sample_weight")
        return ShardPlan(role, borders, *placed, self._targets), parts

    def from_replicas(
        self, role: int, address: str, epoch: int, holders: Mapping[int, tuple[Any, str]]
    ) -> Future[Any]:
        """Pin a role's shard to a worker, with blocks that other roles have.

        Parameters
        ----------
        role, address, epoch
            The role, its new worker, and a number that is given once.
        holders : mapping of int to tuple of Future and str
            For each block the shard of a role that has it, and that role's worker.
        """
        runs: dict[str, list[int]] = {}  # by shard
        for block, (shard, _) in holders.items():
            runs.setdefault(shard.key, []).append(block)
        parcels = [
            self._client.submit(
                take_blocks,
                *(shard, blocks),
                key=task_key("blocks", self._uid, role, blocks[0], epoch),
                workers=[where],
                allow_other_workers=False,
                pure=False,
            )
            for blocks in runs.values()
            for shard, where in [holders[blocks[0]]]
        ]
        arguments = role, tuple(runs.values()), *parcels
        return self._pin(copy_shard, arguments, role, address, epoch)

    @property
    def written(self) -> tuple[int, int]:
        """How many pieces have been written to disks, and how many there are to write."""
        return 0, 0

    def compute(self, role: int) -> None:
        """Have a role's chunks computed that have been let go."""
        for name, chunk in sorted(self.chunks_of(role)):
            if chunk not in self._source.futures[name]:
                self._renew(name, chunk)

    def keys_of(self, roles: Collection[int]) -> list[Any]:
        """Return the keys of the tasks that shards are built from, if any of them may be stuck.

        None may be as long as no worker is silent and one is left that was there from the start.
        """
        begun = [self._begun.get(cut.key) for cut in self._cuts.values()]
        starts = {self._among, *(among for among, _ in filter(None, begun))}
        if not self._silent and all(among & self._able for among in starts):
            return []
        chunks = {chunk for role in roles for chunk in self.chunks_of(role)}
        found = [cut.key for (name, p), cut in self._cuts.items() if (name, p.chunk) in chunks]
        for name, chunk in chunks & self._begun_chunks():
            found += [self._source.futures[name][chunk].key, *self._source.persisted(name, chunk)]
        return found

    def go_around(
        self, roles: Collection[int], holders: Mapping[Any, Collection[str]]
    ) -> tuple[set[int], dict[int, tuple[str, str]]]:
        """Begin anew what roles wait for and what may be on workers that run no tasks.

        Parameters
        ----------
        roles : collection of int
            The roles that wait for chunks.
        holders : mapping of key to collection of str
            The workers that have the results of tasks; what is not known is left out.

        Returns
        -------
        anew : set of int
            Which of the roles must have their shards built anew.
        stuck : dict of int to tuple of str and str
            By role a worker that runs no tasks, and what it alone has that cannot be computed anew.
        """
        begun: set[tuple[str, int]] = set()
        stuck: dict[int, tuple[str, str]] = {}
        for role in roles:
            for name, chunk in sorted((self.chunks_of(role) - begun) & self._begun_chunks()):
                key = self._source.futures[name][chunk].key
                if holders.get(key) and not set(holders[key]) <= self._silent:
                    continue
                for held in self._source.persisted(name, chunk):
                    if holders.get(held) and set(holders[held]) <= self._silent:
                        text = f"it alone has what chunk {chunk} of {name} is made from"
                        stuck[role] = min(holders[held]), text
                if self._is_stuck(key, holders):
                    self._renew(name, chunk)
                    begun.add((name, chunk))
        for (name, piece), cut in list(self._cuts.items()):
            if self._is_stuck(cut.key, holders):
                self._cuts.pop((name, piece)).release()
                begun.add((name, piece.chunk))
        return {role for role in roles if self.chunks_of(role) & begun}, stuck

    def _is_stuck(self, key: Any, holders: Mapping[Any, Collection[str]]) -> bool:
        """Say whether only silent workers have a result, or no worker may be computing it.

        Dask leaves a task alone for good if none could run it when the workers named for it had
        gone: so it is begun anew if none is left that could run it at first.
        """
        if holders.get(key):
            return set(holders[key]) <= self._silent
        among, avoided = self._begun.get(key, (self._among, frozenset()))
        return key in holders and not (self._silent <= avoided and among & self._able)

    def _named(self) -> list[str]:
        """Return which workers shall run tasks: none is named unless others are silent."""
        return sorted(self._able) if self._silent else []

    def _renew(self, name: str, chunk: int) -> None:
        for key in [key for key in self._cuts if (key[0], key[1].chunk) == (name, chunk)]:
            self._cuts.pop(key).release()
        future = self._source.again(name, chunk, self._named())
        self._begun[future.key] = self._able, self._silent
        self._source.keep(name, chunk, future)

    def release(self) -> None:
        """Let go of the chunks; what they are computed from is kept."""
        while self._cuts:
            self._cuts.popitem()[1].release()
        self._begun.clear()
        self._source.release()

    def _runs_of(self, role: int) -> list[int]:
        """Return the first block of each run of blocks that a role holds."""
        return [block for block in self._code.blocks_of(role) if block in self._runs]

    def _piece(self, name: str, piece: Piece) -> Future[Any]:
        """Return rows of a chunk, made ready where it is, once for all that need them."""
        chunk = self._source.futures[name][piece.chunk]
        if name != "X" and (piece.start, piece.stop) == (0, self._lengths[name][piece.chunk]):
            return chunk
        if (name, piece) not in self._cuts:
            expected, named = self._source.expected(name, piece.chunk), self._named()
            cut = self._cuts[name, piece] = self._client.submit(
                *((pack_rows, expected) if name == "X" else (cut_rows,)),
                chunk,
                piece.start,
                piece.stop,
                key=task_key("cut", self._uid),
                workers=named or None,
                allow_other_workers=bool(named),
                pure=False,
            )
            self._begun[cut.key] = self._able, self._silent
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
