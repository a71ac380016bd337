"""How the shard of a role comes to its worker's disk, a few pieces of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from distributed import Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import Piece, XFacts, cut
from dask_gradcode.cluster.data.kept import take_up
from dask_gradcode.cluster.data.storing import (
    build_stored,
    copy_stored,
    store_piece,
    store_some,
    take_piece,
    take_some,
)

__all__ = ["DiskBuilder"]

_IN_FLIGHT = 2  # pieces of a role: one is written while the next one comes

_PIECE = 2**24  # bytes of rows that go together from one worker to another


@dataclass(frozen=True)
class _Taken(Piece):
    """Rows of a chunk that are taken for one role only, as it comes to them."""

    role: int
    epoch: int


@dataclass(frozen=True)
class _Known:
    """A task that is kept by all that need its result, and may be looked for."""

    key: Any

    def release(self) -> None:
        """Do nothing: it is not held."""


class DiskBuilder(Builder):
    """Submits the tasks that write a role's blocks to its worker's disk.

    No piece is begun before the last but one of its role has been written: the worker never holds
    more than a few, whatever comes in how fast.

    Parameters
    ----------
    *arguments
        As for :class:`Builder`, then ``facts``, what each chunk of the features is, ``where``, the
        worker that holds each chunk, by array and index, ``keep``, that workers keep shards when
        their client has gone, or None, and ``kept``, by role the worker that keeps it already.
    """

    storage = "disk"

    def __init__(self, *arguments: Any) -> None:
        *others, facts, where, keep, kept = arguments
        super().__init__(*others)
        self._keep, self._kept = keep, dict(kept)
        self._facts: Sequence[XFacts] = facts
        self._where: dict[tuple[str, int], str] = dict(where)
        n_rows = sum(fact.n_rows for fact in facts)
        self._written: dict[int, list[Future[Any]]] = {}  # by role
        self._row_nbytes = sum(fact.nbytes - fact.of_ones for fact in facts) / max(n_rows, 1)

    @property
    def written(self) -> tuple[int, int]:
        # the client is told of each task that ends: nobody is asked
        states = [piece.status for pieces in self._written.values() for piece in pieces]
        return states.count("finished"), len(states)

    def release(self) -> None:
        self._written.clear()
        super().release()

    def from_source(self, role: int, address: str, epoch: int) -> Future[Any]:
        if self._kept.pop(role, None) == address:
            return self._pin(take_up, (self._keep, role), role, address, epoch)
        self.compute(role)
        token, written = self._token(role, epoch), list[Future[Any]]()
        self._written[role] = written

        def store(name: str, piece: Piece, run: Sequence[Piece]) -> Future[Any]:
            if name != "X":
                return self._piece(name, piece)
            sparse = any(self._facts[other.chunk].stored is not None for other in run)
            rows = self._take(piece, (role, epoch), written)
            arguments = token, sparse, rows
            written.append(self._write(store_piece, arguments, role, address, epoch, written))
            return written[-1]

        plan, parts = self._plan(role, store)
        return self._pin(build_stored, (token, self._keep, plan, *parts), role, address, epoch)

    def _renew(self, name: str, chunk: int) -> None:
        self._where.pop((name, chunk), None)  # it will be where it is computed anew
        super()._renew(name, chunk)

    def _take(
        self, piece: Piece, whose: tuple[int, int], written: Sequence[Future[Any]]
    ) -> Future[Any]:
        """Return rows of a chunk, which leave memory once they have been written."""
        where = {self._where.get(("X", piece.chunk))} & self._able - self._silent
        named = sorted(filter(None, where)) or self._named()
        taken = self._client.submit(
            take_piece,
            self._source.expected("X", piece.chunk),
            self._source.futures["X"][piece.chunk],
            *(piece.start, piece.stop),
            after=written[-_IN_FLIGHT] if len(written) >= _IN_FLIGHT else None,
            key=task_key("take", self._uid, *whose, piece.chunk, piece.start),
            workers=named or None,
            allow_other_workers=bool(named),
            pure=False,
        )
        self._cuts["X", _Taken(piece.chunk, piece.start, piece.stop, *whose)] = _Known(taken.key)
        self._begun[taken.key] = self._able, self._silent
        return taken

    def from_replicas(
        self, role: int, address: str, epoch: int, holders: Mapping[int, tuple[Any, str]]
    ) -> Future[Any]:
        token, written = self._token(role, epoch), list[Future[Any]]()
        self._written[role] = written
        places: dict[int, list[int]] = {}
        for block, (shard, where) in holders.items():
            n_rows = self._borders[block + 1] - self._borders[block]
            borders = cut(n_rows, max(1, min(n_rows, int(n_rows * self._row_nbytes / _PIECE))))
            places[block] = list(range(len(written), len(written) + len(borders) - 1))
            for start, stop in pairwise(borders):
                taken = self._client.submit(
                    *(take_some, shard, block, start, stop),
                    after=written[-_IN_FLIGHT] if len(written) >= _IN_FLIGHT else None,
                    key=task_key("rows", self._uid, role, block, start, epoch),
                    workers=[where],
                    allow_other_workers=False,
                    pure=False,
                )
                arguments = token, taken
                written.append(self._write(store_some, arguments, role, address, epoch, written))
        return self._pin(
            copy_stored, (token, self._keep, role, places, *written), role, address, epoch
        )

    def _token(self, role: int, epoch: int) -> str:
        return f"{self._uid}-{role}-{epoch}"

    def _write(
        self,
        function: Any,
        arguments: tuple[Any, ...],
        role: int,
        address: str,
        epoch: int,
        written: Sequence[Future[Any]],
    ) -> Future[Any]:
        """Have a piece written once the last but one of the role's has been."""
        return self._client.submit(
            function,
            *arguments,
            after=written[-_IN_FLIGHT] if len(written) >= _IN_FLIGHT else self._before(address),
            key=task_key("write", self._uid, role, epoch, len(written)),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
