"""Which worker plays which role: placed there, lost, or on the way to a new worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Letter, Mailbox, Vanished
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.client.whereabouts import Whereabouts
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.shard import look_at
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.placement.successors import holders_of, successor
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import GradientCode
from dask_gradcode.spread import Spread

__all__ = ["Roles"]

logger = logging.getLogger("dask_gradcode")


class Roles:
    """The roles of one placement, and who plays them.

    A role whose worker has died is put on a worker that plays none: a spare, one that was started
    again, a newcomer. So is a role whose worker is frozen, if there is a worker to spare. That goes
    on between and during rounds by Dask tasks; ``tend`` begins them and takes in what has come of
    them, and never waits.

    Parameters
    ----------
    client : distributed.Client
        The client.
    uid : str
        Distinguishes the keys of this placement from all others.
    code : GradientCode
        Says which role holds which blocks.
    serving : Serving
        The tasks that serve the shards.

    Attributes
    ----------
    version : int
        Grows whenever a role is lost or placed.
    columns : dict of int to ndarray of int or None
        The columns that each role sees, entered once it has been placed; None: all.
    nbytes : dict of int to int
        The bytes of each role's blocks, entered once it has been placed.
    spreads : dict of int to tuple of Spread and ndarray of int or None
        How the columns of each block spread, and which those are, None being all; entered once a
        role that has the block is placed.
    meta : ndarray or csr_array of shape (0, n_features)
        An empty array like a block's features.
    """

    def __init__(self, client: Client, uid: str, code: GradientCode, serving: Serving) -> None:
        self._client, self._uid, self._code, self._serving = client, uid, code, serving
        self._liveness = Liveness.of(client)
        self._mailbox = Mailbox(client)
        self._generation = client.generation  # Dask counts the restarts
        self._seats: dict[int, Seat] = {}
        self._builder: Builder | None = None
        self._lock = threading.RLock()  # of the seats; deaths are told on the client's event loop
        self._watched: set[str] = set()
        self._whereabouts = Whereabouts(client)
        self._stuck: dict[int, tuple[str, str]] = {}  # what a role waits for, on a silent worker
        self.version = 0
        self.columns: dict[int, Any] = {}
        self.nbytes: dict[int, int] = {}
        self.spreads: dict[int, tuple[Spread, Any]] = {}
        self.meta: Any = None

    # ---- what is where

    @property
    def addresses(self) -> dict[int, str]:
        """The worker on which each role is, was, or is being placed."""
        return {role: seat.address for role, seat in self._seats.items()}

    @property
    def shards(self) -> dict[int, Future[Any]]:
        """The shards of the roles that are placed."""
        seats = self._seats.items()
        return {role: shard for role, seat in seats if (shard := seat.shard) is not None}

    @property
    def lost(self) -> dict[int, str]:
        """Why the other roles are not placed."""
        return {role: seat.why for role, seat in self._seats.items() if seat.shard is None}

    @property
    def unplaced(self) -> tuple[int, ...]:
        """Those of ``lost`` that have never been placed, ascending."""
        return tuple(role for role in self.lost if role not in self.columns)

    @property
    def recovered(self) -> tuple[int, ...]:
        """The roles that have been lost and are placed again, ascending."""
        return tuple(role for role, seat in self._seats.items() if seat.shard and seat.since)

    @property
    def given_up(self) -> dict[int, str]:
        """Why those are not placed whose placing has failed too often in a row."""
        return {role: seat.why for role, seat in self._seats.items() if seat.is_given_up}

    def hopeless(self) -> dict[int, tuple[str, str]]:
        """Return the roles that nobody who begins tasks is placing, with a worker and a reason."""
        silent = self._liveness.silent(self.addresses.values())
        found = {}
        for role, seat in self._seats.items():
            if seat.shard is None and (seat.coming is None or seat.address in silent):
                why = seat.why.removeprefix(f"{seat.address}: ")
                found[role] = seat.address, silent.get(seat.address, why)
            elif seat.shard is None and role in self._stuck:
                found[role] = self._stuck[role]
        return found

    # ---- placing them, and keeping them placed

    def begin(self, builder: Builder, addresses: Sequence[str]) -> None:
        """Begin to place all roles.

        Parameters
        ----------
        builder : Builder
            Builds shards.
        addresses : sequence of str
            The worker of each role.
        """
        self._builder = builder
        with self._lock:
            for role, address in enumerate(addresses):
                seat = self._seats[role] = Seat(role, address, f"{address}: it is being placed")
                self._pin(seat, address)

    def take(self, timeout: float) -> list[Letter]:
        """Take in what has come of placing roles, after waiting for it, and return it."""
        letters = self._mailbox.take(timeout)
        for letter in letters:
            self._take_in(letter)
        return letters

    @property
    def is_gone(self) -> bool:
        """Whether the cluster has been restarted, and all that was placed or begun is gone."""
        return self._client.generation != self._generation

    def check_restart(self) -> None:
        """Raise RuntimeError if the cluster has been restarted."""
        if self.is_gone:
            raise RuntimeError(
                "The placed data is gone: its cluster has been restarted (client.restart()) since "
                "it was placed. Place it anew with place(X, y)."
            )

    def doubt(self) -> None:
        """Have begun anew what is waited for: no worker does anything."""
        if self._builder is not None:
            self._builder.doubt()

    def tend(self) -> None:
        """Take in what has come of placing roles anew, and begin what can be begun; never wait."""
        self.take(0)
        if self.is_gone:
            return
        vacant = any(seat.shard is None for seat in self._seats.values())
        workers = self._liveness.recently(_ask_every(len(self._seats)) if vacant else 1.0)
        if not vacant and len(workers) <= len(self._seats):
            return  # nobody is missing, or there is nobody to spare
        with self._lock:
            # anew: until the lock was had a death may have vacated a seat, whose worker is no spare
            workers = self._liveness.recently(2.0)
            seats = self._seats.values()
            for seat in seats:  # it may have died before its death was watched for
                if seat.address not in workers and self._liveness.told > seat.begun:
                    self._on_death(seat.address, "it left the cluster")
            silent = self._liveness.silent(workers)
            self._go_around(workers, silent)
            self._fill(workers, silent)

    def _go_around(self, workers: Mapping[str, Any], silent: Mapping[str, str]) -> None:
        """Begin anew what waits for something from workers that are gone or run no tasks."""
        seats = self._seats.values()
        for seat in seats:  # a task on a silent worker would be waited for as long as it is so
            gone = seat.sources - workers.keys() if self._liveness.told > seat.begun else ()
            if seat.coming and (gone or seat.sources & silent.keys()):
                self._pin(seat, seat.address)
        waiting = {seat.role for seat in seats if seat.waits_for_chunks}
        able, self._stuck = self._liveness.running() - silent.keys(), {}
        if not waiting or not able:
            return
        assert self._builder is not None
        self._builder.know(able, silent)
        keys = self._builder.keys_of(waiting)
        if not keys:
            return
        holders = self._whereabouts.recently(keys, LOOK_EVERY)
        anew, self._stuck = self._builder.go_around(waiting, holders)
        for role in anew:
            self._pin(self._seats[role], self._seats[role].address)

    def _fill(self, workers: Mapping[str, Any], silent: Mapping[str, str]) -> None:
        """Begin to place roles on workers to spare: those that are lost, or on silent workers."""
        seats = self._seats.values()
        _, frozen = self._liveness.judge(workers)
        silent = {**frozen, **silent}
        taken = {seat.address for seat in seats if seat.shard or seat.coming}
        spare = {
            address
            for address, worker in workers.items()
            if address not in taken and address not in silent and worker["status"] == "running"
        }
        for seat in seats:
            if not spare:
                return
            # one that is paused runs no task, but serves what it has
            if seat.address in (silent if seat.coming else frozen if seat.shard else ()):
                self._vacate(seat, silent[seat.address])
            if seat.is_due:
                address = successor(self._code, self._seats, seat.role, spare, workers)
                spare.remove(address)
                logger.info("Role %d is being placed on %s", seat.role, address)
                self._pin(seat, address)

    def _pin(self, seat: Seat, address: str) -> None:
        """Begin to place a role on a worker: from other roles, or else from the source."""
        assert self._builder is not None
        if address not in self._watched:
            self._watched.add(address)
            self._liveness.watch(address, self._on_death)
        workers = self._liveness.recently(2.0)
        silent = self._liveness.silent(workers)
        self._builder.know(self._liveness.running() - silent.keys(), silent)
        holders = holders_of(self._code, self._seats, seat.role, silent)
        sources = frozenset(where for _, where in (holders or {}).values())
        ticket = seat.begin(address, sources)
        if holders is not None:
            shard = self._builder.from_replicas(seat.role, address, seat.epoch, holders)
        else:
            self._builder.compute(seat.role)
            shard = self._builder.from_source(seat.role, address, seat.epoch)
        if seat.role in self.columns:  # placed before: all is known that a look would say
            seat.coming = (shard,)
            self._mailbox.expect({ticket: shard}, fetch=False)
            return
        look = self._client.submit(
            look_at, shard, key=task_key("look", self._uid, *ticket), workers=[address], pure=False
        )
        seat.coming = shard, look
        self._mailbox.expect({ticket: look})

    def _take_in(self, letter: Letter) -> None:
        role, epoch = cast(tuple[int, int], letter.ticket)
        with self._lock:
            seat = self._seats[role]
            if seat.coming is None or seat.epoch != epoch:
                return
            if letter.error is not None:
                # or a worker that it needed has gone
                seat.fail(letter.error, lost=isinstance(letter.error, Vanished))
                logger.warning("Role %d is not placed: %s", role, seat.why)
                return
            seat.end(seat.coming[0])
            self._liveness.note_answer(seat.address)
            if letter.result is not None:
                self.meta, self.columns[role], self.nbytes[role], spreads = letter.result
                for block, spread in spreads.items():
                    self.spreads.setdefault(block, (spread, self.columns[role]))
            self.version += 1
            if not any(other.coming for other in self._seats.values()):
                assert self._builder is not None
                self._builder.release()
            if seat.since:
                took = time.monotonic() - seat.since
                left = ", ".join(f"role {other}" for other in self.lost)
                then = f"still lost: {left}" if left else f"tolerated again: {self._code.tolerance}"
                text = "Role %d is placed on %s, %.2f s later; %s"
                logger.warning(text, role, seat.address, took, then)

    def _on_death(self, address: str, why: str) -> None:
        with self._lock:
            for seat in self._seats.values():
                if seat.address == address and (seat.shard or seat.coming):
                    self._vacate(seat, why)
                    logger.warning("Role %d is lost: %s", seat.role, seat.why)

    def _vacate(self, seat: Seat, why: str) -> None:
        self._serving.release(seat.role)
        seat.vacate(why)
        self.version += 1

    def release(self) -> None:
        """Let go of the shards, of those who serve them, and of what is being placed."""
        for address in self._watched:
            self._liveness.unwatch(address, self._on_death)
        self._mailbox.close()
        self._serving.release()
        with self._lock:
            for seat in self._seats.values():
                seat.vacate("the placement is closed")
        if self._builder is not None:
            self._builder.release()


def _ask_every(n_roles: int) -> float:
    """Return seconds between questions for newcomers: more workers, longer answers."""
    return min(max(0.02, 0.005 * n_roles), 2.0)
