"""Which worker plays which role: placed there, lost, or on the way to a new worker.

Each role has a ``Seat``, which is in one of three states; it is *lost* in the first two::

    vacant --- begin ---> coming --- end ---> shard
      ^                     |                   |
      +-- fail or vacate ---+----- vacate ------+

*Coming* means that tasks are on their way which bring the shard to a worker (``Deliveries``). They
end in a letter: the role is placed, or that went wrong. Then it is begun again, later each time,
and after some errors not at all; after an error on another worker, if there is one to spare.

Whoever runs rounds, or waits for roles, calls ``tend`` again and again. It takes in the letters,
begins anew what waits for workers that are gone or silent, and gives workers to spare to roles that
are vacant or on silent workers. What is known of workers is what the scheduler said last
(``Liveness``); who is to be placed where is decided without deeds (``successors``). The scheduler
tells of deaths when they happen (``_on_death``), and ``release`` ends it all.

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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Letter, Vanished
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.placement.seats import Seats
from dask_gradcode.cluster.placement.successors import bereft, holders_of, hopeless, moves
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import GradientCode

__all__ = ["Roles"]

logger = logging.getLogger("dask_gradcode")


class Roles(Seats):
    """The roles of one placement, and who plays them.

    A role whose worker has died is put on a worker that plays none: a spare, one that was started
    again, a newcomer. So is a role whose worker is frozen, if there is a worker to spare.

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
        self._lock, self._is_released = threading.RLock(), False
        self._watched, self._epochs = set[str](), itertools.count()
        self._stuck: dict[int, tuple[str, str]] = {}  # what a role waits for, on a silent worker

    def hopeless(self) -> dict[int, tuple[str, str]]:
        """Return the roles that nobody who begins tasks is placing, with a worker and a reason."""
        silent = self._liveness.silent(self.addresses.values())
        return hopeless(self._seats, silent, self._stuck)

    # ---- placing them, and keeping them placed

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

    @property
    def is_gone(self) -> bool:
        """Whether the cluster has been restarted, and all that was placed or begun is gone."""
        return self._deliveries.are_gone

    def check_restart(self) -> None:
        """Raise RuntimeError if the cluster has been restarted."""
        if self.is_gone:
            raise RuntimeError(
                "The placed data is gone: its cluster has been restarted (client.restart()) since "
                "it was placed. Place it anew with place(X, y)."
            )

    def doubt(self) -> None:
        """Have begun anew what is waited for: no worker does anything."""
        self._deliveries.doubt()

    def tend(self) -> None:
        """Take in what has come of placing roles anew, and begin what can be begun; never wait."""
        self.take(0)
        vacant = any(seat.shard is None for seat in self._seats.values())
        workers = self._liveness.recently(_ask_every(len(self._seats)) if vacant else 1.0)
        if not vacant and len(workers) <= len(self._seats):
            return  # nobody is missing, or there is nobody to spare
        with self._lock:
            if self._is_released or self.is_gone:
                return
            # anew: until the lock was had a death may have vacated a seat, whose worker is no spare
            workers = self._liveness.recently(2.0)
            for seat in self._seats.values():  # it may have died before its death was watched for
                if seat.address not in workers and self._liveness.told > seat.begun:
                    self._on_death(seat.address, "it left the cluster")
            silent = self._liveness.silent(workers)
            try:
                self._go_around(workers, silent)
                self._fill(workers, silent)
            except BaseException:  # Ctrl-C: who waits for what has been let go is not known
                for seat in self._seats.values():
                    if seat.coming:
                        self._vacate(seat, "placing it was interrupted")
                raise

    def _go_around(self, workers: Mapping[str, Any], silent: Mapping[str, str]) -> None:
        """Begin anew what waits for something from workers that are gone or run no tasks."""
        for role in bereft(self._seats, workers, silent, self._liveness.told):
            self._pin(self._seats[role], self._seats[role].address)
        waiting = {role for role, seat in self._seats.items() if seat.waits_for_chunks}
        able, self._stuck = self._liveness.running() - silent.keys(), {}
        if not waiting or not able:
            return
        self._deliveries.know(able, silent)
        anew, self._stuck = self._deliveries.go_around(waiting)
        for role in anew:
            self._pin(self._seats[role], self._seats[role].address)

    def _fill(self, workers: Mapping[str, Any], silent: Mapping[str, str]) -> None:
        """Begin to place roles on workers to spare."""
        _, frozen = self._liveness.judge(workers)
        for move in moves(self._code, self._seats, workers, silent, frozen, self._now()):
            seat = self._seats[move.role]
            if move.why is not None:
                self._vacate(seat, move.why)
            logger.info("Role %d is being placed on %s", move.role, move.address)
            self._pin(seat, move.address)

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
            seat = self._seats[role]
            if seat.coming is None or seat.epoch != epoch:
                return
            if letter.error is None:
                self._end(seat, letter.result)
            else:
                # or a worker that it needed has gone
                seat.fail(letter.error, isinstance(letter.error, Vanished), self._now())
                logger.warning("Role %d is not placed: %s", role, seat.why)
            is_over = seat.shard is not None or seat.is_given_up
            if is_over and not any(other.coming for other in self._seats.values()):
                self._deliveries.let_go()

    def _end(self, seat: Seat, found: Any) -> None:
        """Note that a role is placed, and what a look at its shard has found, if there was one."""
        seat.end()
        self._liveness.note_answer(seat.address)
        if found is not None:
            self._enter(seat.role, found)
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
            for seat in self._seats.values():
                if seat.address == address and (seat.shard or seat.coming):
                    self._vacate(seat, why)
                    logger.warning("Role %d is lost: %s", seat.role, seat.why)

    def _vacate(self, seat: Seat, why: str) -> None:
        self._serving.release(seat.role)
        seat.vacate(why, self._now())
        self.version += 1

    def release(self) -> None:
        """Let go of the shards, of those who serve them, and of what is being placed."""
        with self._lock:
            self._is_released = True
            for address in self._watched:
                self._liveness.unwatch(address, self._on_death)
            self._deliveries.close()
            self._serving.release()
            for seat in self._seats.values():
                seat.vacate("the placement is closed", self._now())
            self._deliveries.let_go()


def _ask_every(n_roles: int) -> float:
    """Return seconds between questions for newcomers: more workers, longer answers."""
    return min(max(0.02, 0.005 * n_roles), 2.0)
