"""How the seats of roles change: what is begun for them, what comes of it, and what is lost.

Deaths are told on the client's event loop; all else is done by threads of the user's. They change
seats under one lock only. What is done under it must not wait for a worker, the scheduler or the
loop, which may itself be waiting for the lock: tasks are begun and let go by messages that nobody
answers, and questions are answered by what is known already. ``take`` alone may wait, and does so
before it has the lock.

A letter counts if its epoch is the seat's and the role is still coming, so that what was begun anew
meanwhile is placed once, and a death that is told late or twice changes nothing. Keys contain the
epoch: Dask never sees one twice. After a restart of the cluster, which takes everything away,
nothing is begun, and nothing is after ``release``. Ctrl-C may come at any time: a seat changes once
its tasks have been begun, and if ``tend`` is interrupted, all that is coming is begun anew.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Letter, Vanished
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.placement.seats import Seats
from dask_gradcode.cluster.placement.succession import Succession, User
from dask_gradcode.cluster.placement.successors import holders_of
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import GradientCode

__all__ = ["Seating"]

logger = logging.getLogger("dask_gradcode")


class Seating(Seats):
    """The seats of one placement's roles, as they change; ``roles`` says how and why.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    serving : Serving
        The tasks that serve the shards.
    deliveries : Deliveries
        Brings roles to workers.
    liveness : Liveness
        What the scheduler says of workers.
    now : callable
        The clock.
    """

    def __init__(
        self,
        code: GradientCode,
        serving: Serving,
        deliveries: Deliveries,
        liveness: Liveness,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._code, self._serving, self._deliveries = code, serving, deliveries
        self._liveness, self._now = liveness, now
        self._succession = Succession(serving)
        self._lock, self._is_released = threading.RLock(), False
        self._watched, self._epochs = set[str](), itertools.count()
        self._slow: dict[str, str] = {}  # workers that are or were slow, and how much
        self._stuck: dict[int, tuple[str, str]] = {}  # what a role waits for, on a silent worker

    def begin(self, addresses: Sequence[str]) -> None:
        """Begin to place all roles.

        Parameters
        ----------
        addresses : sequence of str
            The worker of each role.
        """
        with self._lock:
            silent = self._silent()  # once for all, as it is to look at every worker
            for role, address in enumerate(addresses):
                seat = self._seats[role] = Seat(role, address, f"{address}: it is being placed")
                self._pin(seat, address, silent)

    def take(self, timeout: float) -> list[Letter]:
        """Take in what has come of placing roles, after waiting for it, and return it."""
        letters = self._deliveries.take(timeout)
        for letter in letters:
            self._take_in(letter)
        return letters

    def _silent(self) -> dict[str, str]:
        """Return which workers begin no task, and why."""
        return self._liveness.silent(self._liveness.recently(2.0))

    def _pin(self, seat: Seat, address: str, silent: Mapping[str, str] | None = None) -> None:
        """Begin to place a role on a worker: from other roles, or else from the source."""
        if address not in self._watched:
            self._liveness.watch(address, self._on_death)
            self._watched.add(address)
        silent = self._silent() if silent is None else silent
        self._deliveries.know(self._liveness.running() - silent.keys(), silent)
        holders = holders_of(self._code, self._seats, seat.role, silent)
        # of one that was placed before all is known that a look would say
        look, epoch = seat.role not in self.columns, next(self._epochs)
        coming = self._deliveries.begin(seat.role, address, epoch, holders, look)
        sources = frozenset(where for _, where in (holders or {}).values())
        seat.begin(address, epoch, coming, sources, self._now())

    # ---- what is told of them

    def _take_in(self, letter: Letter) -> None:
        role, epoch = cast(tuple[int, int], letter.ticket)
        with self._lock:
            seats = self._seats[role], self._succession.coming.get(role)
            for seat in seats:
                if seat is not None and seat.coming is not None and seat.epoch == epoch:
                    break
            else:
                return
            if letter.error is None:
                self._end(seat, letter.result)
            else:
                # or a worker that it needed has gone
                seat.fail(letter.error, isinstance(letter.error, Vanished), self._now())
                text = "Role %d is not placed: %s"
                logger.warning(text if seat is seats[0] else "Role %d stays: %s", role, seat.why)
            is_over = seat.shard is not None or seat.is_given_up
            if is_over and not any(other.coming for other in self._all()):
                self._deliveries.let_go()

    def _end(self, seat: Seat, found: Any) -> None:
        """Note that a role is placed, and what a look at its shard has found, if there was one."""
        seat.end()
        self._liveness.note_answer(seat.address)
        if found is not None:
            self._enter(seat.role, found)
        if self._succession.coming.get(seat.role) is seat:
            old = self._seats[seat.role]
            seat.since = old.since
            del self._succession.coming[seat.role]
            self._seats[seat.role] = seat
            self._succession.leave(old)
            logger.info("Role %d has gone from %s to %s", seat.role, old.address, seat.address)
            self.version += 1
        else:
            self.version += 1
            self._tell(seat)

    def _tell(self, seat: Seat) -> None:
        """Say that a role which was lost is placed again."""
        if seat.since is not None:
            took = self._now() - seat.since
            left = ", ".join(f"role {other}" for other in self.lost)
            then = f"still lost: {left}" if left else f"tolerated again: {self._code.tolerance}"
            text = "Role %d is placed on %s, %.2f s later; %s"
            logger.warning(text, seat.role, seat.address, took, then)

    def _on_death(self, address: str, why: str) -> None:
        with self._lock:
            has_retired = self._liveness.has_retired(address)
            for seat in self._succession.die(address, retired=has_retired):
                self._vacate(seat, why)
            for seat in list(self._seats.values()):
                if seat.address == address and (seat.shard or seat.coming):
                    if has_retired and seat.shard:
                        self._succession.leave(seat, retired=True)
                    self._lose(seat, why)
                    seat.has_retired = has_retired
                    logger.warning("Role %d is lost: %s", seat.role, seat.why)

    def _lose(self, seat: Seat, why: str) -> None:
        """Note that a role is not where it was; if it is being copied, that is where it is."""
        self._vacate(seat, why)
        coming = self._succession.coming.pop(seat.role, None)
        if coming is not None and coming.coming:
            coming.since, coming.why, coming.failed = seat.since, seat.why, ()
            self._seats[seat.role] = coming

    def _vacate(self, seat: Seat, why: str) -> None:
        self._serving.release(seat.role, seat.epoch)
        seat.vacate(why, self._now())
        self.version += 1

    def _all(self) -> Iterator[Seat]:
        """Return the seats of all roles, and those that some will have."""
        return itertools.chain(list(self._seats.values()), list(self._succession.coming.values()))

    # ---- for users, which have shards served to them

    def use(self, user: User) -> None:
        """Have shards served to a user until it is attached to newer ones."""
        with self._lock:
            self._succession.use(user)

    @property
    def moving(self) -> dict[int, str]:
        """Where placed roles are being copied to, which will be served from there."""
        coming = list(self._succession.coming.values())
        return {seat.role: seat.address for seat in coming if seat.coming}

    def serves(self, key: Any) -> bool:
        """Say whether a shard may be used on, though its role is elsewhere now."""
        return self._succession.serves(key)

    def release(self) -> None:
        """Let go of the shards, of the tasks that serve them, and of what is being placed."""
        with self._lock:
            self._is_released = True
            for address in self._watched:
                self._liveness.unwatch(address, self._on_death)
            self._deliveries.close()
            self._serving.release()
            for seat in self._all():
                seat.vacate("the placement is closed", self._now())
            self._succession.release()
            self._deliveries.let_go()
