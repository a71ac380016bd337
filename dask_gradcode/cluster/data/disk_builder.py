"""How the shard of a role comes to its worker's disk, a few pieces of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from distributed import Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import Piece, XFacts, cut
from dask_gradcode.cluster.data.storing import (
    build_stored,
    copy_stored,
    store_rows,
    store_some,
    take_some,
)

__all__ = ["DiskBuilder"]

_IN_FLIGHT = 2  # pieces of a role: one is written while the next one comes

_PIECE = 2**24  # bytes of rows that go together from one worker to another


class DiskBuilder(Builder):
    """Submits the tasks that write a role's blocks to its worker's disk.

    No piece is begun before the last but one of its role has been written: the worker never holds
    more than a few, whatever comes in how fast.

    Parameters
    ----------
    *arguments
        As for :class:`Builder`.
    facts : sequence of XFacts
        What each chunk of the features is.
    """

    def __init__(self, *arguments: Any, facts: Sequence[XFacts]) -> None:
        super().__init__(*arguments)
        self._facts = facts
        n_rows = sum(fact.n_rows for fact in facts)
        self._row_nbytes = sum(fact.nbytes for fact in facts) / max(n_rows, 1)

    def from_source(self, role: int, address: str, epoch: int) -> Future[Any]:
        token, written = self._token(role, epoch), list[Future[Any]]()

        def store(name: str, piece: Piece, run: Sequence[Piece]) -> Future[Any]:
            if name != "X":
                return self._piece(name, piece)
            sparse = any(self._facts[other.chunk].stored is not None for other in run)
            whole = (piece.start, piece.stop) == (0, self._lengths[name][piece.chunk])
            chunks = self._source.futures[name]
            rows = chunks[piece.chunk] if whole else self._piece(name, piece)
            expected = self._source.expected(name, piece.chunk)
            arguments = token, expected, sparse, rows
            written.append(self._write(store_rows, arguments, role, address, epoch, written))
            return written[-1]

        plan, parts = self._plan(role, store)
        return self._pin(build_stored, (token, plan, *parts), role, address, epoch)

    def from_replicas(
        self, role: int, address: str, epoch: int, holders: Mapping[int, tuple[Any, str]]
    ) -> Future[Any]:
        token, written = self._token(role, epoch), list[Future[Any]]()
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
        return self._pin(copy_stored, (token, role, places, *written), role, address, epoch)

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
