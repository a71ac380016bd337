"""The port of rounds to a cluster: the one place that knows who is there.

What is known of a worker comes from three sides: its connection may end (the transport says so), it
may leave the cluster or be given another role (the placement's roles say so), and its heartbeats
may stop (the scheduler says how old they are). Here they become a few events, and a round need not
know where they came from:

``Lost``
    The role is not there: its worker is gone, or has been replaced, or its connection has ended.
``Unplaced``
    The role has never been there: its blocks are still on their way.
``Ready``
    The role is there, or there again, on whatever worker.
``Silent``
    Its worker may never answer: it sends no heartbeats, or begins no tasks. Whether to wait for it
    is the round's to say. Of a worker that was alive when a user's function may have begun there,
    nothing follows from its silence: the function may keep Python's lock, and is only slow.
``Heard``
    It is silent no more.

A role is *attached* when the transport is bound to the worker that holds its shard. Each look
compares what is attached with what is placed: roles that are placed and not attached are attached,
those that are attached and not placed any more are detached. A role whose connection has ended, but
whose worker has not left, is attached again after a second, in which the scheduler would have told
of a death. Looks are due by time, whatever else comes: twice a second once a round has lasted a
second, and ten times a second for a role that is missing.

A round that was interrupted leaves the transport in an unknown state; the next one opens another.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Hashable, Mapping, Sequence

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.transport import StreamTransport, TaskTransport, Transport
from dask_gradcode.losses import Loss
from dask_gradcode.messages import Work
from dask_gradcode.rounds import (
    Event,
    Heard,
    InsufficientWorkersError,
    Lost,
    Order,
    Overdue,
    Patience,
    Ready,
    Round,
    Silent,
    Unplaced,
)
from dask_gradcode.typing import Vector

__all__ = ["ClusterPort"]

logger = logging.getLogger("dask_gradcode")

_fits = itertools.count()

_TELLS_OF_DEATH = 1.0
"""Seconds after a connection's end in which the scheduler would tell of a death: until then a role
is not attached again to where it was."""

_LOOK_FOR_THE_LOST = 0.1
"""Seconds between two looks while a role is missing: it may be placed anew at any time."""


class ClusterPort:
    """Keeps a transport attached to the roles that are placed, and tells rounds who is there.

    Parameters
    ----------
    data : Placement
        The data.
    work : Loss or callable
        What to compute on each block.
    transport : {"auto", "tasks", "stream"}
        ``"auto"`` is the stream where this process reaches the workers over plain TCP.

    Attributes
    ----------
    transport : Transport
        The transport.

    Raises
    ------
    ValueError
        If the name of the transport is unknown, or the stream cannot work here.
    ConnectionError
        If it is to be the stream, and no worker can be reached within
        ``gradcode.timeouts.connect``.
    """

    def __init__(self, data: Placement, work: Work, transport: str) -> None:
        self._data, self._name, self._work = data, transport, work
        self._liveness = Liveness.of(data.client)
        # A loss lets other threads run, a function of the user's need not.
        self._may_be_busy_since = math.inf if isinstance(work, Loss) else time.monotonic()
        self._attached: dict[int, Hashable] = {}  # the key of the shard, by role
        self._left: dict[int, tuple[Hashable, float]] = {}  # with which key, when
        self._silent: set[int] = set()  # of whom the round has been told
        self._asked: dict[int, float] = {}  # when, in this round
        self._version = -1
        self._awaited: set[int] = set()  # not placed yet, when last looked at
        self._interrupted = False
        self._looked = self._listen_at = 0.0  # the last look, and when to look at heartbeats
        self.transport = self._open()
        self._renew()

    def interrupted(self) -> None:
        """Note that nothing is known of the transport's state."""
        self._interrupted = True

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self.transport.close()

    # ---- for the engine

    def now(self) -> float:
        return time.monotonic()

    def patience(self) -> Patience:
        return Patience(seconds("gradcode.timeouts.recover"), seconds("gradcode.timeouts.round"))

    def begin(self, round: int, w: Vector) -> Sequence[Lost | Unplaced | Ready]:
        if self._interrupted:
            self._reopen()
        back = [change for change in self._renew() if isinstance(change, Ready)]
        self._silent.clear()
        self._asked.clear()
        self._looked = now = time.monotonic()
        self._listen_at = now + 2 * LOOK_EVERY
        self.transport.begin(round, w)
        return [*back, *self._absent()]

    def _absent(self) -> Sequence[Lost | Unplaced]:
        """Return the roles that cannot be asked now, and why."""
        unplaced, lost = self._data.roles.unplaced, self._data.lost
        absent: list[Lost | Unplaced] = []
        for role in sorted(set(range(self._data.code.n_workers)) - self._attached.keys()):
            why = lost.get(role, "its connection has ended")
            absent.append(Unplaced(role, why) if role in unplaced else Lost(role, why))
        return absent

    def send(self, orders: Sequence[Order]) -> None:
        now = time.monotonic()
        for order in orders:
            self._asked.setdefault(order.role, now)
            self.transport.ask(order.role, order.messages)

    def reached(self) -> Mapping[int, float]:
        withheld = self.transport.withheld()
        return {role: when for role, when in self._asked.items() if role not in withheld}

    def events(self, until: float | None) -> Sequence[Event]:
        if self._interrupted:
            self._reopen()
        now = time.monotonic()
        if now >= self._next_look() and (news := self._look(now)):
            return news
        look = self._next_look()
        events = self.transport.poll(max(0.0, min(look, look if until is None else until) - now))
        for event in events:
            if isinstance(event, Lost):
                self._leave(event.role)
        return events

    def explain(self, round: Round) -> BaseException:
        data, state = self._data, round.state
        data.check_open()
        if isinstance(round.outcome, Overdue):
            where = {role: data.addresses[role] for role in round.outcome.missing}
            paused = self._liveness.paused(set(where.values()))
            return TimeoutError(
                f"Round {round.number} is not done, and nothing has come for "
                f"{round.outcome.seconds:.0f} s, although its workers live (dask.config key "
                f"gradcode.timeouts.round). Waiting for {where}."
                + "".join(f"\n  {address}: {why}" for address, why in paused.items())
            )
        for role, error in state.errors.items():
            error.add_note(f"raised on worker {data.addresses[role]} (role {role})")
            return error
        missing = "\n".join(f"  role {role}: {state.lost[role]}" for role in sorted(state.lost))
        return InsufficientWorkersError(
            f"The sum cannot be decoded without the workers that are missing:\n{missing}\n"
            f"The code is {data.code!r}.\n"
            f"It tolerates {data.code.tolerance}. Place the data anew on the workers that are "
            "left, or use a code with more n_stragglers."
        )

    # ---- who is there

    def _next_look(self) -> float:
        missing = len(self._attached) < self._data.code.n_workers
        roles = self._looked + (_LOOK_FOR_THE_LOST if missing else LOOK_EVERY)
        return min(roles, self._listen_at)

    def _look(self, now: float) -> list[Event]:
        """Return what has changed since the last look: who is attached, and who is silent."""
        self._looked = now
        news: list[Event] = [*self._renew()]
        self._data.check_open()  # what has been cancelled is waited for in vain
        if now >= self._listen_at:
            self._listen_at = now + LOOK_EVERY
            news += self._listen()
        return news

    def _listen(self) -> list[Event]:
        """Return who is gone, who is silent and who is so no more, by the scheduler's word."""
        addresses = {role: self._data.addresses[role] for role in self._attached}
        gone, frozen = self._liveness.absent(addresses.values())
        by_tasks = self.transport.name == "tasks"
        paused = self._liveness.paused(addresses.values()) if by_tasks else {}
        news: list[Event] = []
        for role, address in addresses.items():
            if address in gone:
                self._detach(role)
                news.append(Lost(role, f"{address}: {gone[address]}"))
            elif address in paused or address in frozen:
                why = f"{address}: {paused.get(address) or frozen[address]}"
                busy = address not in paused and self._may_be_busy(address)
                self._silent.add(role)
                news.append(Silent(role, why, may_be_busy=busy))
            elif role in self._silent:
                self._silent.discard(role)
                news.append(Heard(role))
        return news

    def _may_be_busy(self, address: str) -> bool:
        """Say whether a silent worker was alive when a user's function may have begun there."""
        return self._liveness.heard(address) >= self._may_be_busy_since - self._liveness.limit

    def _renew(self) -> list[Lost | Ready]:
        """Attach roles that have been placed, detach those that are lost; say which those are."""
        roles = self._data.roles
        roles.tend()
        if self._version == roles.version:
            return []
        self._version = roles.version
        shards, addresses, lost = roles.shards, roles.addresses, roles.lost
        news: list[Lost | Ready] = []
        for role, key in list(self._attached.items()):
            if role not in shards or shards[role].key != key:
                self._detach(role)
                news.append(Lost(role, lost.get(role, "it has been placed elsewhere")))
        for role in shards.keys() - self._attached.keys():
            key = shards[role].key
            left, when = self._left.get(role, (None, 0.0))
            if left == key and time.monotonic() < when + _TELLS_OF_DEATH:
                self._version = -1
                continue
            self.transport.attach(role, shards[role], addresses[role])
            self._attached[role] = key
            news.append(Ready(role, again=role not in self._awaited))
        self._awaited = set(roles.unplaced)
        return news

    def _detach(self, role: int) -> None:
        del self._attached[role]
        self._silent.discard(role)
        self.transport.detach(role)  # which is then silent about it

    def _leave(self, role: int) -> None:
        """Note that the transport has lost a role; it is attached again if it stays placed."""
        if role in self._attached:  # else it has been noted already
            self._left[role] = self._attached.pop(role), time.monotonic()
            self._silent.discard(role)
            self._version = -1

    def _reopen(self) -> None:
        """Open a new transport in place of one that is in an unknown state."""
        self.transport.close()
        self._attached.clear()
        self._left.clear()
        self._version = -1
        self.transport = self._open()
        self._renew()
        self._interrupted = False

    def _open(self) -> Transport:
        data, name, work = self._data, self._name, self._work
        if name not in ("auto", "tasks", "stream"):
            raise ValueError(f"transport must be 'auto', 'tasks' or 'stream', got {name!r}.")
        columns = data.columns.of(work) if isinstance(work, Loss) else None
        other = [a for a in data.addresses.values() if not a.startswith("tcp://")]
        if name == "stream" and other:
            raise ValueError(
                f"transport='stream' needs workers at tcp:// addresses, got {other[0]}. "
                "Use transport='tasks'."
            )
        if name == "stream" or (name == "auto" and not other):
            self.transport = stream = StreamTransport(
                data.client, data.code, work, data.serving, columns
            )
            began, limit = time.monotonic(), seconds("gradcode.timeouts.connect")
            try:
                self._renew()
                is_open = stream.wait_until_open(limit)
            except BaseException:  # Ctrl-C, say
                stream.close()
                raise
            if is_open:
                return stream
            if name == "stream" and not self._out_of_reach(stream, began):
                return stream
            stream.close()
            if name == "stream":
                raise ConnectionError(
                    f"transport='stream' needs to reach the workers, and none of "
                    f"{sorted(set(data.addresses.values()))} could be connected from this process "
                    f"within {limit:g} s (dask.config key gradcode.timeouts.connect), although "
                    "they send heartbeats. A firewall may be between; use transport='tasks'."
                )
            self._attached.clear()
            self._version = -1
            logger.warning("No worker can be reached from here: messages travel as tasks.")
        fit = f"{data.uid}-{next(_fits)}"
        return TaskTransport(data.client, fit, data.code, work, columns)

    def _out_of_reach(self, stream: StreamTransport, since: float) -> bool:
        """Say whether workers that are not connected live: else they may only be slow or frozen."""
        if stream.has_news:
            return False  # it takes time, or has failed with an error, which a round will raise
        self._liveness.addresses()
        return any(self._liveness.heard(a) > since for a in self._data.addresses.values())
