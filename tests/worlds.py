"""A cluster on a scripted clock: what the port of rounds stands on, without Dask."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from dask_gradcode.cluster.port import ClusterPort
from dask_gradcode.cluster.presence import Presence
from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import Ask, Event, Order, Planner, Policy, RoundRecord, State
from fake_transport import FakeTransport, sums
from helpers import parts_of

__all__ = ["FROZEN_AFTER", "Fault", "Watched", "World", "sums"]

FROZEN_AFTER = 5.0


@dataclass(frozen=True)
class Fault:
    """What happens to the worker of a role; ``told`` is how much later each side says so."""

    at: float
    what: str  # dies, cut, freezes, fails, interrupt
    role: int
    lasts: float = 10.0
    told: tuple[float, float] = (0.0, 0.0)  # by the connection, by the roles


@dataclass
class Worker:
    """Who plays a role: ``key`` is new with each."""

    key: int
    address: str
    is_alive: bool = True
    frozen_since: float = math.inf
    wakes: float = -math.inf


@dataclass
class World:
    """Workers, a clock, and what will happen; stands for roles, liveness and placement, too."""

    code: GradientCode
    seed: int = 0
    slowest: float = 2.0  # seconds of an answer, at most
    busy_since: float = math.inf
    clock: float = 0.0
    version: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    unplaced: set[int] = field(default_factory=set)
    transports: list[FakeTransport] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng(self.seed)
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._n = 0
        self.workers: dict[int, Worker] = {}
        self.former: list[Worker] = []  # who still serve what others have now
        for role in range(self.code.n_workers):
            self._seat(role)
        self.able_since: float = 0.0  # since when those who can answer are enough
        self.able_until = 0.0  # when those who could answer last were enough, for 3 s on end
        self.failing: set[int] = set()

    # ---- the port that stands on it

    def port(self, name: str = "stream") -> ClusterPort:
        liveness: Any = self
        roles: Any = self
        n = self.code.n_workers
        presence = Presence(n, roles, liveness, self.busy_since, lambda: self.clock)

        def opened() -> Any:
            assert all(transport.is_closed for transport in self.transports)
            self.transports.append(FakeTransport(self, name))
            presence.bind(self.transports[-1])  # type: ignore[arg-type]
            return self.transports[-1]

        data: Any = self
        return ClusterPort(data, presence, opened, lambda: self.clock)

    # ---- what is to come

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self._n += 1
        heapq.heappush(self._due, (self.clock + seconds, self._n, act))

    def go_on(self, until: float, is_enough: Callable[[], object] = lambda: False) -> None:
        while not is_enough() and self._due and self._due[0][0] <= until:
            self.clock, _, act = heapq.heappop(self._due)
            act()
            self._note_who_is_able()
        if not is_enough():
            self.clock = max(self.clock, until)

    def suffer(self, fault: Fault) -> None:
        """Have a fault happen when it is its time."""
        acts = {"dies": self._die, "cut": self._cut, "freezes": self._freeze, "fails": self._fail}
        if fault.what == "interrupt":
            self.after(fault.at, lambda: self.transport.interrupt())
        else:
            self.after(fault.at, lambda: acts[fault.what](fault))

    @property
    def transport(self) -> FakeTransport:
        return self.transports[-1]

    def _die(self, fault: Fault) -> None:
        role, worker = fault.role, self.workers[fault.role]
        if not worker.is_alive or role in self.lost:
            return
        worker.is_alive = False
        by_connection, by_roles = fault.told
        self.after(by_connection, lambda: self.transport.end(role, worker.key))

        def told() -> None:
            self.lost[role] = f"{worker.address}: it left the cluster"
            self.version += 1

        self.after(by_roles, told)
        if math.isfinite(fault.lasts):
            self.after(by_roles + fault.lasts, lambda: self.place(role))

    def place(self, role: int) -> None:
        """Place a role on a new worker."""
        self._seat(role)
        self.lost.pop(role, None)
        self.unplaced.discard(role)
        self.version += 1

    def _seat(self, role: int) -> None:
        self._n += 1
        self.workers[role] = Worker(self._n, f"tcp://{role}:{self._n}")

    def move(self, role: int) -> None:
        """Have a role go to another worker, while the one that it had serves on."""
        self.former.append(self.workers[role])
        self.place(role)

    def _cut(self, fault: Fault) -> None:
        self.transport.end(fault.role, self.workers[fault.role].key)

    def _freeze(self, fault: Fault) -> None:
        worker = self.workers[fault.role]
        if math.isinf(worker.frozen_since):
            worker.frozen_since, worker.wakes = self.clock, self.clock + fault.lasts

            def wake() -> None:
                worker.frozen_since = math.inf

            if math.isfinite(fault.lasts):
                self.after(fault.lasts, wake)

    def _fail(self, fault: Fault) -> None:
        self.failing.add(fault.role)
        self.after(fault.lasts, lambda: self.failing.discard(fault.role))

    def _note_who_is_able(self) -> None:
        able = [
            role
            for role, worker in self.workers.items()
            if role not in self.lost and worker.is_alive and math.isinf(worker.frozen_since)
        ]
        arrived = np.zeros(len(self.code.messages), dtype=bool)
        arrived[[index for role in able for index in self.code.messages_of[role]]] = True
        if not self.code.can_decode(arrived):
            self.able_since = math.inf
        elif math.isinf(self.able_since):
            self.able_since = self.clock
        if self.clock >= self.able_since + 3.0:
            self.able_until = self.clock

    # ---- as Roles, and as Placement

    @property
    def roles(self) -> World:
        return self

    @property
    def addresses(self) -> dict[int, str]:
        return {role: worker.address for role, worker in self.workers.items()}

    @property
    def shards(self) -> dict[int, Any]:
        workers = self.workers.items()
        return {r: SimpleNamespace(key=w.key) for r, w in workers if r not in self.lost}

    def tend(self) -> None:
        """Nothing to do: what happens is scripted."""

    def use(self, user: object) -> None:
        """Nothing is let go."""

    def serves(self, key: int) -> bool:
        """Say whether a role has moved, and is served where it was."""
        return any(worker.key == key for worker in self.former)

    @property
    def _everybody(self) -> dict[str, Worker]:
        return {worker.address: worker for worker in (*self.former, *self.workers.values())}

    def check_open(self) -> None:
        """It is."""

    # ---- as Liveness

    limit = FROZEN_AFTER

    def heard(self, address: str) -> float:
        return min(self._everybody[address].frozen_since, self.clock)

    def absent(self, addresses: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        by_address = self._everybody
        gone = {a: "it left the cluster" for a in addresses if not by_address[a].is_alive}
        silent = {a: self.clock - by_address[a].frozen_since for a in addresses}
        frozen = {a: "no heartbeat" for a, seconds in silent.items() if seconds > FROZEN_AFTER}
        return gone, {a: why for a, why in frozen.items() if a not in gone}

    def has_retired(self, address: str) -> bool:
        return False

    def paused(self, addresses: Sequence[str]) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Watched(Policy):
    """A policy of which it is checked that what is missing has been asked of somebody."""

    policy: Policy

    def start(self, code: GradientCode) -> Planner:
        return _Watched(self.policy.start(code))


class _Watched(Planner):
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    @property
    def look_at(self) -> float | None:  # type: ignore[override]
        return self._planner.look_at

    def copy(self) -> Planner:
        return _Watched(self._planner.copy())

    def begin(self, state: State, now: float) -> list[Order]:
        return self._checked(self._planner.begin(state, now), state)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        return self._checked(self._planner.react(event, state, now), state)

    def end(self, record: RoundRecord) -> None:
        self._planner.end(record)

    def _checked(self, orders: list[Order], state: State) -> list[Order]:
        code = state.code
        parts = {role: parts_of(code, state.owed(role)) for role in state.ready()}
        for order in orders:
            if isinstance(order, Ask):
                more = parts_of(code, order.messages)
                assert parts[order.role].isdisjoint(more), "asked for what it owes"
                parts[order.role] |= more
        left = set(product(range(code.n_blocks), range(code.resolution)))
        left -= parts_of(code, np.flatnonzero(state.arrived).tolist())
        for part in left if code.divides or code.shares_sending else ():
            able = [role for role in state.holders(part[0]) if role not in state.errors]
            waits = [role for role in able if part in parts[role] or role in state.ledger.yielding]
            assert waits or not able, f"nobody has been asked for {part}"
        return orders
