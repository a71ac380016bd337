"""The port of rounds to a cluster: the one place that knows who is there.

What is known of a worker comes from three sides: its connection may end (the transport says so), it
may leave the cluster or be given another role (the placement's roles say so), and its heartbeats
may stop (the scheduler says how old they are). Here they become three events, and a round need not
know where they came from:

``Lost``
    The role is not there: its worker is gone, or has been replaced, or its connection has ended.
``Ready``
    The role is there again, on whatever worker.
``Silent``
    Its worker gives no sign of life. Whether to wait for it is the round's to say.

A role is *attached* when the transport is bound to the worker that holds its shard. Each look
compares what is attached with what is placed: roles that are placed and not attached are attached,
those that are attached and not placed any more are detached. A role whose connection has ended, but
whose worker has not left, is attached again after a second, in which the scheduler would have told
of a death. Looks are due by time, whatever else comes: twice a second once a round has lasted a
second, and ten times a second while a role is missing.
"""

from __future__ import annotations

import itertools
import logging
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
    InsufficientWorkersError,
    Lost,
    Order,
    Overdue,
    Patience,
    Ready,
    Round,
    Silent,
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
    """

    def __init__(self, data: Placement, work: Work, transport: str) -> None:
        self._data = data
        self._liveness = Liveness.of(data.client)
        self._attached: dict[int, Hashable] = {}  # the key of the shard, by role
        self._left: dict[int, tuple[Hashable, float]] = {}  # with which key, when
        self._silent: set[int] = set()  # of whom the round has been told
        self._version = -1
        self._news: list[Event] = []  # since the last round
        self._begun = self._looked = 0.0
        self.transport = self._open(transport, work)
        self._renew()

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self.transport.close()

    # ---- for the engine

    def now(self) -> float:
        return time.monotonic()

    def patience(self) -> Patience:
        return Patience(seconds("gradcode.timeouts.recover"), seconds("gradcode.timeouts.round"))

    def begin(self, round: int, w: Vector) -> Mapping[int, str]:
        self._news = [change for change in self._renew() if isinstance(change, Ready)]
        self._silent.clear()
        self._begun = self._looked = time.monotonic()
        self.transport.begin(round, w)
        lost = self._data.lost
        absent = set(range(self._data.code.n_workers)) - self._attached.keys()
        return {role: lost.get(role, "its connection has ended") for role in sorted(absent)}

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self.transport.ask(order.role, order.messages)

    def events(self, until: float | None) -> Sequence[Event]:
        if self._news:
            news, self._news = self._news, []
            return news
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
        if isinstance(round.outcome, Overdue):
            where = {role: data.addresses[role] for role in round.outcome.missing}
            return TimeoutError(
                f"Round {round.number} is not done, and nothing has come for "
                f"{round.outcome.seconds:.0f} s, although its workers live (dask.config key "
                f"gradcode.timeouts.round). Waiting for {where}."
            )
        for role, error in state.errors.items():
            error.add_note(f"raised on worker {data.addresses[role]} (role {role})")
            return error
        where = {role: data.addresses[role] for role in sorted(state.lost)}
        reasons = {
            role: why if (why := state.lost[role]).startswith(address) else f"{address}: {why}"
            for role, address in where.items()
        }
        missing = "\n".join(f"  role {role}: {why}" for role, why in reasons.items())
        return InsufficientWorkersError(
            f"The sum cannot be decoded without the workers that are missing:\n{missing}\n"
            f"The code is {data.code!r}.\n"
            f"It tolerates {data.code.tolerance}. Place the data anew on the workers that are "
            "left, or use a code with more n_stragglers."
        )

    # ---- who is there

    def _next_look(self) -> float:
        if len(self._attached) < self._data.code.n_workers:
            return self._looked + _LOOK_FOR_THE_LOST
        return max(self._looked, self._begun + LOOK_EVERY) + LOOK_EVERY

    def _look(self, now: float) -> list[Event]:
        """Return what has changed since the last look: who is attached, and who is silent."""
        self._looked = now
        news = self._renew()
        addresses = {role: self._data.addresses[role] for role in self._attached}
        gone, frozen = self._liveness.absent(addresses.values())
        for role, address in addresses.items():
            if address in gone:
                self._detach(role)
                news.append(Lost(role, f"{address}: {gone[address]}"))
            elif address in frozen:
                self._silent.add(role)
                news.append(Silent(role, self._liveness.silence(address)))
            elif role in self._silent:
                self._silent.discard(role)
                news.append(Silent(role, 0.0))
        return news

    def _renew(self) -> list[Event]:
        """Attach roles that have been placed, detach those that are lost; say which those are."""
        roles = self._data.roles
        roles.tend()
        if self._version == roles.version:
            return []
        self._version = roles.version
        shards, addresses, lost = roles.shards, roles.addresses, roles.lost
        news: list[Event] = []
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
            news.append(Ready(role))
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

    def _open(self, name: str, work: Work) -> Transport:
        if name not in ("auto", "tasks", "stream"):
            raise ValueError(f"transport must be 'auto', 'tasks' or 'stream', got {name!r}.")
        data = self._data
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
            self._renew()
            if name == "stream" or stream.wait_until_open(seconds("gradcode.timeouts.connect")):
                return stream
            stream.close()
            self._attached.clear()
            self._version = -1
            logger.warning("No worker can be reached from here: messages travel as tasks.")
        fit = f"{data.uid}-{next(_fits)}"
        return TaskTransport(data.client, fit, data.code, work, columns)
