"""A transport on a scripted clock, and the workers behind it as its connections know them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import leaves
from dask_gradcode.rounds import Arrived, Event, Failed, Lost, Yielded
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Climb
from helpers import parts_of

if TYPE_CHECKING:
    from worlds import Worker, World

__all__ = ["FakeTransport", "sums"]


def sums(code: GradientCode, round: int) -> Matrix:
    """Value and gradient of each block, in whole numbers, others in each round."""
    return np.random.default_rng(round + 1).integers(-9, 10, (code.n_blocks, 3)).astype(float)


class FakeTransport:
    """Carries orders to the workers of a world, and their answers back, some of them twice.

    By "stream" workers can be told to yield; by "tasks" that does nothing.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.is_closed = world, name, False
        self.attached: dict[int, Desk] = {}
        self.asked: dict[int, set[int]] = {}  # in this round, since it was attached; not given up
        self.answered: dict[int, set[int]] = {}  # as far as has been told
        # what those owed who were told to yield and have not answered that
        self._told: dict[int, deque[set[int]]] = {}
        self.round = -1
        self.events: list[Event] = []
        self.ended: set[int] = set()  # not told yet
        self._interrupted = False
        self._prepared: dict[int, float] = {}  # when a connection will be open, by key

    def prepare(self, role: int, shard: Any, address: str) -> bool:
        return self.world.clock >= self._prepared.setdefault(shard.key, self.world.clock + 0.3)

    def attach(self, role: int, shard: Any, address: str) -> None:
        assert not self.is_closed
        assert role not in self.attached
        worker = self.world.workers[role]
        assert (worker.key, worker.address) == (shard.key, address)
        self.attached[role] = Desk(self, role, worker)
        self.asked[role], self.answered[role], self._told[role] = set(), set(), deque()
        if not worker.is_alive:
            self.world.after(0.01, lambda: self.end(role, worker.key))

    def detach(self, role: int) -> None:
        assert not self.is_closed
        del self.attached[role]
        self.ended.discard(role)

    def end(self, role: int, key: int) -> None:
        """A connection ends, if it is there; it is told with the next poll."""
        if role in self.attached and self.attached[role].worker.key == key:
            self.ended.add(role)

    def interrupt(self) -> None:
        self._interrupted = True

    def begin(self, round: int, w: Vector, order: int) -> None:
        assert round > self.round
        assert not self.is_closed
        self.round = round
        for found in (self.asked, self.answered):
            found.update((role, set()) for role in self.attached)
        self._told.update((role, deque()) for role in self.attached)

    def ask(self, role: int, messages: Sequence[int]) -> None:
        if not self._is_connected(role):
            return  # it has been lost, which is told
        assert messages
        for message in messages:
            owed = self.asked[role] - self.answered[role]
            code = self.world.code
            assert parts_of(code, owed).isdisjoint(parts_of(code, [message])), "asked twice"
            assert message not in self.asked[role], "asked for what it has sent"
            assert role in self.world.code.senders(message)
            self.asked[role].add(message)
        self._tell(role, lambda desk, round: desk.ask(round, messages))

    def yield_(self, role: int) -> None:
        if self.name == "stream" and self._is_connected(role):
            self._told[role].append(self.asked[role] - self.answered[role])
            self._tell(role, lambda desk, round: desk.yield_(round))

    def drop(self, role: int, messages: Sequence[int]) -> None:
        if self._is_connected(role):
            self.asked[role] -= set(messages) - self.answered[role]
            self._tell(role, lambda desk, round: desk.drop(round, messages))

    def _is_connected(self, role: int) -> bool:
        return role in self.attached and role not in self.ended

    def _tell(self, role: int, act: Callable[[Desk, int], None]) -> None:
        desk, round_ = self.attached[role], self.round
        desk.inbox.append(lambda: act(desk, round_))
        self.world.after(float(self.world.draw.choice([0.0, 0.001, 0.1])), desk.read)

    def in_tasks(self) -> Sequence[int]:
        return ()

    def withheld(self) -> Sequence[int]:
        return ()

    def poll(self, timeout: float | None) -> Sequence[Event]:
        assert not self.is_closed
        assert timeout is not None
        end = self.world.clock + timeout
        self.world.go_on(end, lambda: self.events or self.ended or self._interrupted)
        if self._interrupted:
            raise KeyboardInterrupt
        for role in sorted(self.ended):
            del self.attached[role]
            self.events.append(Lost(role, "its connection has ended"))
        self.ended.clear()
        events, self.events = self.events, []
        for event in events:
            self._note(event)
        return events

    def _note(self, event: Event) -> None:
        """Take in what the round is told of what roles owe."""
        match event:
            case Arrived(self.round, role, message) if role in self.attached:
                self.answered[role].add(message)
            case Yielded(self.round, role, running) if role in self.attached:
                given_up = self._told[role].popleft() - self.answered[role]
                self.asked[role] -= given_up
                self.asked[role] |= set() if running is None else {running}

    def close(self) -> None:
        self.is_closed = True


class Desk:
    """A worker as one connection knows it: it computes leaf by leaf what it is asked for."""

    def __init__(self, transport: FakeTransport, role: int, worker: Worker) -> None:
        self.transport, self.role, self.worker = transport, role, worker
        self.inbox: deque[Callable[[], None]] = deque()
        self._round = -1
        self._queue: deque[int] = deque()
        self._climb: Climb | None = None

    def read(self) -> None:
        """Do all that it has been told, in that order."""
        if self._is_reached(self.read):
            while self.inbox:
                self.inbox.popleft()()

    def _is_reached(self, again: Callable[[], None]) -> bool:
        """Say whether it can act; once it wakes, something is tried again."""
        transport, worker, world = self.transport, self.worker, self.transport.world
        is_attached = transport.attached.get(self.role) is self and not transport.is_closed
        if not is_attached or self.role in transport.ended or not worker.is_alive:
            return False
        if math.isfinite(worker.frozen_since):
            if math.isfinite(worker.wakes):
                world.after(worker.wakes - world.clock + 0.01, again)
            return False
        return True

    def ask(self, round: int, messages: Sequence[int]) -> None:
        if round != self._round:
            self._round, self._climb = round, None
            self._queue.clear()
        self._queue.extend(messages)
        self._go_on()

    def yield_(self, round: int) -> None:
        if round != self._round:
            return
        self._queue.clear()
        running = None
        if self._climb is not None:
            for message, payload in self._climb.cut().items():
                self._send(Arrived(round, self.role, message, payload))
            running = self._climb.message
        self.transport.events.append(Yielded(round, self.role, running))

    def drop(self, round: int, messages: Sequence[int]) -> None:
        if round == self._round:
            self._queue = deque(message for message in self._queue if message not in messages)
            if self._climb is not None and self._climb.message in messages:
                self._climb = None
                self._go_on()

    def _go_on(self) -> None:
        if self._climb is None and self._queue:
            self._climb = Climb(self.transport.world.code, self._queue.popleft())
            self._compute(self._climb)

    def _compute(self, climb: Climb) -> None:
        """Compute one leaf, in its part of a share's time."""
        world = self.transport.world
        n_leaves = sum(1 for i in world.code.first(self.role) for _ in leaves(world.code, i))
        seconds = float(world.draw.uniform(0.05, world.slowest)) / n_leaves
        world.after(seconds, lambda: self._finish(climb))

    def _finish(self, climb: Climb) -> None:
        if self._climb is not climb or not self._is_reached(lambda: self._finish(climb)):
            return  # of what has been dropped, or superseded
        code = self.transport.world.code
        assert climb.running is not None
        if self.role in self.transport.world.failing:
            error = ZeroDivisionError("drawn")
            self.transport.events.append(Failed(self._round, self.role, climb.message, error))
            self._climb = None
        else:
            leaf = code.messages[climb.running]
            payload = np.asarray(leaf.coefficients) @ sums(code, self._round)[list(leaf.blocks)]
            climb.take(climb.running, payload)
            if climb.running is not None:
                return self._compute(climb)
            slices, payload = code.messages[climb.message].slices, climb.payload.copy()
            sent = slices.carried(slices.of(payload), payload.size)
            self._send(Arrived(self._round, self.role, climb.message, sent))
            self._climb = None
        self._go_on()

    def _send(self, event: Arrived) -> None:
        n = int(self.transport.world.draw.integers(1, 3))
        self.transport.events += [event] * n
