"""Who is there: which roles a transport is attached to, and which of their workers are silent.

A role is *attached* when the transport is bound to the worker that holds its shard. Each look
compares what is attached with what is placed: roles that are placed and not attached are attached,
those that are attached and not placed any more are detached. A role that has gone to another worker
is served by the old one until it can be attached there at once, and a round begins. A role whose
connection has ended, but whose worker has not left, is attached again after a second, in which the
scheduler would have told of a death. Looks are due by time, whatever else comes: twice a second
once a round has lasted a second, and ten times a second for a role that is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Hashable
from typing import Any, NamedTuple

from distributed import Future

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.cluster.transport import Transport
from dask_gradcode.rounds import Event, Heard, Lost, News, Ready, Relocated, Silent, Unplaced

__all__ = ["Presence"]

_TELLS_OF_DEATH = 1.0
"""Seconds after a connection's end in which the scheduler would tell of a death: until then a role
is not attached again to where it was."""

_LOOK_FOR_THE_LOST = 0.1
"""Seconds between two looks while a role is missing: it may be placed anew at any time."""


class _Attached(NamedTuple):
    key: Hashable  # of the shard
    address: str


class Presence:
    """Keeps a transport attached to the roles that are placed, and tells of changes.

    Parameters
    ----------
    n_roles : int
        How many roles the code has.
    roles : Roles
        Which of them are placed.
    liveness : Liveness
        What the scheduler says of workers.
    may_be_busy_since : float, default=inf
        When a function may have begun on workers that keeps their heartbeats; inf: none does.
    now : callable
        The clock.
    """

    def __init__(
        self,
        n_roles: int,
        roles: Roles,
        liveness: Liveness,
        may_be_busy_since: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_roles, self._roles, self.liveness = n_roles, roles, liveness
        self._may_be_busy_since, self._now = may_be_busy_since, now
        self._transport: Transport | None = None
        self._attached: dict[int, _Attached] = {}  # by role
        self._left: dict[int, tuple[Hashable, float]] = {}  # with which key, when
        self._silent: set[int] = set()  # of which the round has been told
        self._version = -1
        self._awaited: set[int] = set()  # not placed yet, when last looked at
        self._looked = self._listen_at = 0.0  # the last look, and when to look at heartbeats
        roles.use(self)

    @property
    def held(self) -> Collection[Hashable]:
        """The keys of the shards that are used here; for any thread."""
        return [attached.key for attached in list(self._attached.values())]

    def bind(self, transport: Transport) -> None:
        """Begin anew with a transport that is attached to no role."""
        self._transport = transport
        self.unbind()
        self._left.clear()
        self._version = -1
        self.renew()

    def unbind(self) -> None:
        """Use no shard any more; the transport is closed."""
        self._attached.clear()

    def begin(self) -> list[News]:
        """Return which roles are back or elsewhere, and which are absent, when a round begins."""
        back = [c for c in self.renew(between_rounds=True) if not isinstance(c, Lost)]
        self._silent.clear()
        self._looked = now = self._now()
        self._listen_at = now + 2 * LOOK_EVERY
        return [*back, *self._absent()]

    def _absent(self) -> list[Lost | Unplaced]:
        """Return the roles that cannot be asked now, and why."""
        unplaced, lost = self._roles.unplaced, self._roles.lost
        absent: list[Lost | Unplaced] = []
        for role in sorted(set(range(self._n_roles)) - self._attached.keys()):
            why = lost.get(role, "its connection has ended")
            absent.append(Unplaced(role, why) if role in unplaced else Lost(role, why))
        return absent

    # ---- in a round

    @property
    def look_at(self) -> float:
        """When the next look is due."""
        missing = len(self._attached) < self._n_roles
        roles = self._looked + (_LOOK_FOR_THE_LOST if missing else LOOK_EVERY)
        return min(roles, self._listen_at)

    def look(self, now: float) -> list[Event]:
        """Return what has changed since the last look: which roles are attached, which silent."""
        self._looked = now
        news: list[Event] = [*self.renew()]
        if now >= self._listen_at:
            self._listen_at = now + LOOK_EVERY
            news += self._listen()
        return news

    def leave(self, role: int) -> None:
        """Note that the transport has lost a role; it is attached again if it stays placed."""
        if role in self._attached:  # else it has been noted already
            self._left[role] = self._attached.pop(role).key, self._now()
            self._silent.discard(role)
            self._version = -1

    def _listen(self) -> list[Event]:
        """Return which roles are gone, silent, or silent no more, by the scheduler's word."""
        addresses = {role: address for role, (_, address) in self._attached.items()}
        gone, frozen = self.liveness.absent(addresses.values())
        paused = self.liveness.paused(addresses.values())
        assert self._transport is not None
        in_tasks = set(self._transport.in_tasks())
        news: list[Event] = []
        for role, address in addresses.items():
            stopped = paused.get(address) if role in in_tasks else None
            if address in gone and self.liveness.has_retired(address):
                pass  # it serves until its connection ends
            elif address in gone:
                self._detach(role)
                news.append(Lost(role, f"{address}: {gone[address]}"))
            elif stopped or address in frozen:
                why = f"{address}: {stopped or frozen[address]}"
                busy = not stopped and self._may_be_busy(address)
                self._silent.add(role)
                news.append(Silent(role, why, may_be_busy=busy))
            elif role in self._silent:
                self._silent.discard(role)
                news.append(Heard(role))
        return news

    def _may_be_busy(self, address: str) -> bool:
        """Say whether a silent worker was alive when a user's function may have begun there."""
        return self.liveness.heard(address) >= self._may_be_busy_since - self.liveness.limit

    def renew(self, *, between_rounds: bool = False) -> list[Lost | Ready | Relocated]:
        """Attach roles that have been placed, detach those that are lost; say which those are.

        Roles that have gone elsewhere are attached there between rounds.
        """
        roles, transport = self._roles, self._transport
        assert transport is not None
        roles.tend()
        if self._version == roles.version:
            return []
        self._version = roles.version
        shards, addresses, lost = roles.shards, roles.addresses, roles.lost
        news: list[Lost | Ready | Relocated] = []
        for role, (key, _) in list(self._attached.items()):
            if role in shards and shards[role].key == key:
                continue
            if not roles.serves(key):
                self._detach(role)
                news.append(Lost(role, lost.get(role, "it has been placed elsewhere")))
                continue
            ready = role in shards and transport.prepare(role, shards[role], addresses[role])
            if ready and between_rounds:
                self._detach(role)
                self._attach(role, shards[role], addresses[role])
                news.append(Relocated(role, addresses[role]))
            else:
                self._version = -1
        for role in shards.keys() - self._attached.keys():
            left, when = self._left.get(role, (None, 0.0))
            if left == shards[role].key and self._now() < when + _TELLS_OF_DEATH:
                self._version = -1
                continue
            self._attach(role, shards[role], addresses[role])
            news.append(Ready(role, again=role not in self._awaited))
        self._awaited = set(roles.unplaced)
        return news

    def _attach(self, role: int, shard: Future[Any], address: str) -> None:
        assert self._transport is not None
        # held before it is used, and let go after that
        self._attached[role] = _Attached(shard.key, address)
        self._transport.attach(role, shard, address)

    def _detach(self, role: int) -> None:
        assert self._transport is not None
        self._silent.discard(role)
        self._transport.detach(role)  # which is then silent about it
        del self._attached[role]
