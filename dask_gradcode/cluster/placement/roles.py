"""Which worker plays which role: placed there, lost, or on the way to a new worker.

Each role has a ``Seat``, which is in one of three states; it is *lost* in the first two::

    vacant --- begin ---> coming --- end ---> shard
      ^                     |                   |
      +-- fail or vacate ---+----- vacate ------+

*Coming* means that tasks are on their way which bring the shard to a worker (``Deliveries``). They
end in a letter: the role is placed, or that went wrong. Then it is begun again, later each time,
and after some errors not at all; after an error on another worker, if there is one to spare.

What runs rounds, or waits for roles, calls ``tend`` again and again. That takes in the letters,
begins anew what waits for workers that are gone or silent, gives workers to roles that are vacant
or on silent workers, and has roles copied from workers that will leave, or have more of them than
others, or are much slower. Such a role has a second seat, *coming* too, until it is served from
there (``Succession``). What is known of workers is what the scheduler said last (``Liveness``), and
fits say which are slow; where to place a role is decided without deeds (``successors``). The
scheduler tells of deaths when they happen (``_on_death``), and ``release`` ends it all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.placement.choice import Choice
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.placement.seating import Seating
from dask_gradcode.cluster.placement.successors import bereft, hopeless, moves, relocations

__all__ = ["Roles"]

logger = logging.getLogger("dask_gradcode")


class Roles(Seating):
    """The roles of one placement, and the workers that play them.

    A role whose worker has died is put on a worker that plays none: a spare, one that was started
    again, a newcomer; or, after ``gradcode.timeouts.share``, on one that plays few. So is a role
    whose worker is frozen, if there is a worker to spare. A role whose worker will leave, or plays
    more roles than a newcomer would, or is slow while another is free, is copied first.
    """

    def hopeless(self) -> dict[int, tuple[str, str]]:
        """Return roles that no worker that begins tasks is placing, with a worker and a reason."""
        silent = self._liveness.silent(self.addresses.values())
        return hopeless(self._seats, silent, self._stuck)

    # ---- placing them, and keeping them placed

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
        if not vacant and not self._may_go_elsewhere(len(workers)):
            return
        with self._lock:
            if self._is_released or self.is_gone:
                return
            # anew: until the lock was had a death may have vacated a seat, whose worker is no spare
            workers = self._liveness.recently(2.0)
            for seat in self._all():  # it may have died before its death was watched for
                if seat.address not in workers and self._liveness.told > seat.begun:
                    self._on_death(seat.address, "it left the cluster")
            silent, leaving = self._liveness.silent(workers), self._liveness.leaving()
            try:
                self._go_around(workers, silent)
                self._fill(workers, silent, leaving)
            except BaseException:  # Ctrl-C: who waits for what has been let go is not known
                for seat in self._all():
                    if seat.coming:
                        self._vacate(seat, "placing it was interrupted")
                raise

    def _may_go_elsewhere(self, n_workers: int) -> bool:
        """Say whether there is a worker to spare, or one that will leave, or a role on its way."""
        used = {seat.address for seat in self._seats.values()}
        leaving = used.intersection(self._liveness.leaving())
        return n_workers > len(used) or bool(leaving) or self._succession.is_busy

    def _go_around(self, workers: Mapping[str, Any], silent: Mapping[str, str]) -> None:
        """Begin anew what waits for something from workers that are gone or run no tasks."""
        coming = self._succession.coming
        for seats in (self._seats, coming):
            for role in bereft(seats, workers, silent, self._liveness.told):
                self._pin(seats[role], seats[role].address)
        waiting = {seat.role for seat in self._all() if seat.waits_for_chunks}
        able, self._stuck = self._liveness.running() - silent.keys(), {}
        if not waiting or not able:
            return
        self._deliveries.know(able, silent)
        anew, self._stuck = self._deliveries.go_around(waiting)
        for seat in self._all():
            if seat.role in anew and seat.waits_for_chunks:
                self._pin(seat, seat.address)

    def _fill(
        self, workers: Mapping[str, Any], silent: Mapping[str, str], leaving: Mapping[str, str]
    ) -> None:
        """Begin to place roles that are lost, and to copy those that are to go elsewhere."""
        _, frozen = self._liveness.judge(workers)
        now, succession, seats = self._now(), self._succession, self._seats
        for role, seat in list(succession.coming.items()):
            if seat.coming and (seat.address in silent or seat.address in leaving):
                self._vacate(seat, "it could not stay there")
                del succession.coming[role]
        avoided = silent.keys() | frozen.keys() | leaving.keys()
        able = {a: workers[a] for a in self._liveness.running() - avoided if a in workers}
        nbytes = self.nbytes if self._deliveries.storage == "memory" else {}
        choice = Choice(self._code, succession.where(seats), able, nbytes)
        share_after = seconds("gradcode.timeouts.share")
        away = {**silent, **leaving}
        for move in moves(seats, choice, frozen, away, now, share_after):
            seat = seats[move.role]
            if move.why is not None:
                self._lose(seat, move.why)
            if seats[move.role].coming:
                continue  # it was being copied
            logger.info("Role %d is being placed on %s", move.role, move.address)
            self._pin(seats[move.role], move.address)
        for move in relocations(seats, succession.coming, choice, leaving, self._slow, now):
            text = "Role %d goes from %s to %s: %s"
            logger.info(text, move.role, seats[move.role].address, move.address, move.why)
            seat = succession.coming.get(move.role) or Seat(move.role, move.address, "")
            self._pin(seat, move.address)
            succession.coming[move.role] = seat
        succession.tidy(now)

    def note_slow(self, role: int, why: str | None) -> None:
        """Note that a role's worker is slow, and how much; or, None, that it is so no more."""
        with self._lock:
            address = self._seats[role].address
            self._slow = {a: w for a, w in {**self._slow, address: why}.items() if w is not None}

    @property
    def leaving(self) -> dict[int, str]:
        """The roles that are on workers which will leave, and why these will."""
        leaving = self._liveness.leaving()
        where = {role: seat.address for role, seat in self._seats.items() if seat.shard}
        return {r: f"{a}: {leaving[a]}" for r, a in where.items() if a in leaving}


def _ask_every(n_roles: int) -> float:
    """Return seconds between questions for newcomers: more workers, longer answers."""
    return min(max(0.02, 0.005 * n_roles), 2.0)
