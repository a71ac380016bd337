"""Which worker plays which role: placed there, lost, or on the way to a new worker."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from distributed import Client, Future

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Letter, Mailbox, Vanished
from dask_gradcode.cluster.client.waiting import LOOK_EVERY, is_late, missing
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.shard import look_at
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import GradientCode

__all__ = ["Roles"]

logger = logging.getLogger("dask_gradcode")

_TRIES = 3
"""How often an error may end the placing of a role before it is left alone; deaths do not count."""


@dataclass
class _Seat:
    role: int
    address: str  # where the role is, was, or is being placed
    why: str  # why it is not placed, with that address
    epoch: int = -1  # how often it has been placed anew; keys are never used twice
    shard: Future[Any] | None = None  # placed: pinned to the address
    coming: tuple[Future[Any], ...] | None = None  # being placed: the shard, a look at it
    sources: frozenset[str] = frozenset()  # from whom its blocks come, if from other roles
    begun: float = 0.0  # when placing it there began
    since: float = 0.0  # when it was lost
    tries: int = 0


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
    meta : ndarray or csr_array of shape (0, n_features)
        An empty array like a block's features.
    """

    def __init__(self, client: Client, uid: str, code: GradientCode, serving: Serving) -> None:
        self._client, self._uid, self._code, self._serving = client, uid, code, serving
        self._liveness = Liveness.of(client)
        self._mailbox = Mailbox(client)
        self._seats: dict[int, _Seat] = {}
        self._builder: Builder | None = None
        self._lock = threading.RLock()  # of the seats; deaths are told on the client's event loop
        self._watched: set[str] = set()
        self.version = 0
        self.columns: dict[int, Any] = {}
        self.nbytes: dict[int, int] = {}
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
    def recovered(self) -> tuple[int, ...]:
        """The roles that have been lost and are placed again, ascending."""
        return tuple(role for role, seat in self._seats.items() if seat.shard and seat.since)

    # ---- placing for the first time

    def place(self, builder: Builder, addresses: Sequence[str], where: Mapping[Any, str]) -> None:
        """Place all roles; return once they are placed, or enough to decode and the rest is late.

        Parameters
        ----------
        builder : Builder
            Builds shards.
        addresses : sequence of str
            The worker of each role.
        where : mapping of tuple of str and int to str
            The worker that holds each source chunk, by array and index.

        Raises
        ------
        InsufficientWorkersError
            If nothing has come for ``gradcode.timeouts.recover`` and the roles that are placed are
            not enough.
        Exception
            The error of a task that builds a shard.
        """
        self._builder, sources = builder, dict(where)
        began = heard = looked = time.monotonic()
        took: list[float] = []
        with self._lock:
            for role, address in enumerate(addresses):
                seat = self._seats[role] = _Seat(role, address, f"{address}: it is being placed")
                self._pin(seat, address)
        while self.lost:
            n_lost = len(self.lost)
            for letter in self._mailbox.take(LOOK_EVERY):
                self._take_in(letter)
                if letter.error is not None and not isinstance(letter.error, Vanished):
                    raise letter.error
            now = time.monotonic()
            took += [now - began] * (n_lost - len(self.lost))
            heard = now if len(self.lost) < n_lost else heard
            late = is_late(now - began, took, self._code.n_workers)
            if self.lost and now - looked > LOOK_EVERY:
                looked = now
                gone, frozen = self._liveness.absent({*self.addresses.values(), *sources.values()})
                self.tend()
                self._avoid(gone | frozen, sources)
                hopeless = self._hopeless(frozen)
                late = late or len(hopeless) == len(self.lost)
                overdue = now - heard > seconds("gradcode.timeouts.recover")
                if now - heard > seconds("gradcode.timeouts.round"):
                    raise TimeoutError(
                        f"Placing data: workers live but have not answered for {now - heard:.0f} s "
                        f"(dask.config key gradcode.timeouts.round). Waiting for {self.lost}."
                    )
                if hopeless and overdue and not self._can_decode():
                    raise missing("Placing data", hopeless)
            if self.lost and late and self._can_decode():
                logger.warning("Rounds begin without %s, who may join later", self.lost)
                return

    def _can_decode(self) -> bool:
        available = np.zeros(len(self._code.messages), dtype=bool)
        for role in self.shards:
            available[list(self._code.messages_of[role])] = True
        return self._code.can_decode(available)

    def _avoid(self, silent: Mapping[str, str], sources: dict[Any, str]) -> None:
        """Place from other copies what waits for chunks on silent workers."""
        assert self._builder is not None
        awake = [address for address in self._liveness.addresses() if address not in silent]
        chunks = {chunk for chunk, address in sources.items() if address in silent}
        if not chunks or not awake:
            return
        with self._lock:
            waiting = [
                seat
                for seat in self._seats.values()
                if seat.coming
                and seat.address not in silent
                and self._builder.chunks_of(seat.role) & chunks
            ]
            for chunk in sorted(
                {c for seat in waiting for c in self._builder.chunks_of(seat.role)}
            ):
                if chunk in chunks:
                    self._builder.recompute(*chunk, awake)
                    del sources[chunk]
            for seat in waiting:
                self._pin(seat, seat.address)

    def _hopeless(self, frozen: Mapping[str, str]) -> dict[str, str]:
        """Return the workers of roles that nobody is placing, and why."""
        return {
            seat.address: frozen.get(seat.address, seat.why.removeprefix(f"{seat.address}: "))
            for seat in self._seats.values()
            if seat.shard is None and (seat.coming is None or seat.address in frozen)
        }

    # ---- keeping them placed

    def tend(self) -> None:
        """Take in what has come of placing roles anew, and begin what can be begun; never wait."""
        for letter in self._mailbox.take(0):
            self._take_in(letter)
        vacant = any(seat.shard is None for seat in self._seats.values())
        workers = self._liveness.recently(_ask_every(len(self._seats)) if vacant else 2.0)
        if not vacant and len(workers) <= len(self._seats):
            return  # nobody is missing, or there is nobody to spare
        with self._lock:
            # anew: until the lock was had a death may have vacated a seat, whose worker is no spare
            workers = self._liveness.recently(2.0)
            _, frozen = self._liveness.judge(workers)
            seats = self._seats.values()
            for seat in seats:  # it may have died before its death was watched for
                if seat.address not in workers and self._liveness.told > seat.begun:
                    self._on_death(seat.address, "it left the cluster")
            for seat in seats:  # a task on a silent worker would be waited for as long as it is so
                gone = seat.sources - workers.keys() if self._liveness.told > seat.begun else ()
                if seat.coming and (gone or seat.sources & frozen.keys()):
                    self._pin(seat, seat.address)
            taken = {seat.address for seat in seats if seat.shard or seat.coming}
            spare = {
                address
                for address, worker in workers.items()
                if address not in taken and address not in frozen and worker["status"] == "running"
            }
            for seat in seats:
                if not spare:
                    return
                if seat.address in frozen and (seat.shard or seat.coming):
                    self._vacate(seat, f"{seat.address}: {frozen[seat.address]}")
                if seat.shard is None and seat.coming is None and seat.tries < _TRIES:
                    address = self._best(seat.role, spare, workers)
                    spare.remove(address)
                    logger.info("Role %d is being placed on %s", seat.role, address)
                    self._pin(seat, address)

    def _best(self, role: int, spare: set[str], workers: Mapping[str, Any]) -> str:
        """Return the worker on whose host the fewest other roles have blocks of this one."""
        mine = set(self._code.blocks_of(role))
        hosts: Counter[str] = Counter()
        for other, seat in self._seats.items():
            if other != role and seat.address in workers:
                shared = mine.intersection(self._code.blocks_of(other))
                hosts[workers[seat.address]["host"]] += len(shared)
        return min(spare, key=lambda address: (hosts[workers[address]["host"]], address))

    def _pin(self, seat: _Seat, address: str) -> None:
        """Begin to place a role on a worker: from other roles, or else from the source."""
        assert self._builder is not None
        if seat.coming:
            for future in seat.coming:
                future.release()
        seat.address, seat.epoch, seat.begun = address, seat.epoch + 1, time.monotonic()
        if address not in self._watched:
            self._watched.add(address)
            self._liveness.watch(address, self._on_death)
        workers = self._liveness.recently(2.0)
        _, frozen = self._liveness.judge(workers)
        holders = self._holders(seat.role, frozen)
        seat.sources = frozenset(where for _, where in (holders or {}).values())
        if holders is not None:
            shard = self._builder.from_replicas(seat.role, address, seat.epoch, holders)
        else:
            awake = list(workers.keys() - frozen.keys()) or [address]
            for chunk in self._builder.chunks_of(seat.role):
                if not self._builder.has(*chunk):
                    self._builder.recompute(*chunk, awake)
            shard = self._builder.from_source(seat.role, address, seat.epoch)
        ticket = seat.role, seat.epoch
        if seat.role in self.columns:  # placed before: all is known that a look would say
            seat.coming = (shard,)
            self._mailbox.expect({ticket: shard}, fetch=False)
            return
        look = self._client.submit(
            look_at, shard, key=task_key("look", self._uid, *ticket), workers=[address], pure=False
        )
        seat.coming = shard, look
        self._mailbox.expect({ticket: look})

    def _holders(
        self, role: int, frozen: Mapping[str, str]
    ) -> dict[int, tuple[Future[Any], str]] | None:
        """Return for each block of a role another one that has it; None if nobody awake has one."""
        found = {}
        for block in self._code.blocks_of(role):
            for other, seat in self._seats.items():
                if seat.shard is None or seat.address in frozen or other == role:
                    continue
                if block in self._code.blocks_of(other):
                    found[block] = seat.shard, seat.address
                    break
            else:
                return None
        return found

    def _take_in(self, letter: Letter) -> None:
        role, epoch = cast(tuple[int, int], letter.ticket)
        with self._lock:
            seat = self._seats[role]
            if seat.coming is None or seat.epoch != epoch:
                return
            shard, *looks = seat.coming
            for look in looks:
                look.release()
            seat.coming = None
            if letter.error is not None:
                shard.release()
                if not isinstance(letter.error, Vanished):  # or a worker that it needed has gone
                    seat.tries += 1
                seat.why = f"{seat.address}: placing it failed with {letter.error!r}"
                logger.warning("Role %d is not placed: %s", role, seat.why)
                return
            seat.shard, seat.tries = shard, 0
            if letter.result is not None:
                self.meta, self.columns[role], self.nbytes[role] = letter.result
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
                    logger.warning("Role %d is lost: %s, %s", seat.role, address, why)
                    self._vacate(seat, f"{address}: {why}")

    def _vacate(self, seat: _Seat, why: str) -> None:
        # Futures at once: Dask would compute its chunks again for a task that can never run.
        self._serving.release(seat.role)
        for future in (seat.shard, *(seat.coming or ())):
            if future is not None:
                future.release()
        seat.shard, seat.coming, seat.why, seat.since = None, None, why, time.monotonic()
        self.version += 1

    def release(self) -> None:
        """Let go of the shards, of those who serve them, and of what is being placed."""
        for address in self._watched:
            self._liveness.unwatch(address, self._on_death)
        self._mailbox.close()
        self._serving.release()
        with self._lock:
            for seat in self._seats.values():
                for future in (seat.shard, *(seat.coming or ())):
                    if future is not None:
                        future.release()
                seat.shard, seat.coming, seat.why = None, None, "the placement is closed"
        if self._builder is not None:
            self._builder.release()


def _ask_every(n_roles: int) -> float:
    """Return seconds between questions for newcomers: more workers, longer answers."""
    return min(max(0.02, 0.005 * n_roles), 2.0)
