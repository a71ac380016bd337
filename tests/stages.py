"""A small Dask on a scripted clock: its workers run tasks, keep what comes of them, and lose it."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from dask_gradcode.cluster.client import departures, liveness, whereabouts
from dask_gradcode.cluster.client.departures import TOPIC
from dask_gradcode.cluster.client.mailbox import Letter, Vanished
from dask_gradcode.cluster.data.shard import build_shard, copy_shard

__all__ = ["Fault", "Stage", "Task", "Worker"]

CLOSING = "closing_gracefully"


@dataclass(frozen=True)
class Fault:
    """What happens to a worker; ``told`` is how much later a death is, perhaps twice.

    Another one comes ``lasts`` after a death. Who is being retired begins no task, and is gone 3 s
    later; who leaves is gone 8 s after that has been announced. Who fails raises when it builds a
    shard; what one has that forgets is gone when it is fetched. An interrupt is Ctrl-C in the
    ``which``th next call.
    """

    at: float
    what: str  # dies, retires, leaves, freezes, pauses, fails, forgets, interrupt
    which: int = 0
    lasts: float = math.inf
    told: tuple[float, ...] = (0.0,)


@dataclass(eq=False)
class Worker:
    """A process at an address; ``troubles`` are the faults that last, and since when they do."""

    address: str
    host: str
    is_alive: bool = True
    troubles: dict[str, float] = field(default_factory=dict)

    @property
    def status(self) -> str:
        paused = "paused" if "pauses" in self.troubles else "running"
        return CLOSING if "retires" in self.troubles else paused

    @property
    def is_awake(self) -> bool:
        return self.is_alive and "freezes" not in self.troubles


@dataclass(eq=False)
class Task:
    """Computed once, and again if what came of it is lost, as long as it is needed."""

    key: Any
    does: Any
    needs: list[Task] = field(repr=False)
    named: tuple[str, ...]  # empty: anybody
    is_loose: bool  # others may do it if all that are named are gone
    is_wanted: bool = True
    is_left_alone: bool = False  # there was nobody to run it: Dask does not look again
    worker: Worker | None = None  # runs it
    where: set[str] = field(default_factory=set)
    error: BaseException | None = None
    runs: int = 0  # how often it has been begun


class Future:
    """A hold on a task, as long as anybody has it."""

    def __init__(self, task: Task) -> None:
        self.task, self.key = task, task.key

    def release(self) -> None:
        self.task.is_wanted = False

    __del__ = release


class Stage:
    """Workers, their tasks, a clock, and what will happen: stands for client and mailbox, too."""

    def __init__(self, n_workers: int, seed: int = 0) -> None:
        self.draw, self.clock = np.random.default_rng(seed), 1000.0
        self.workers: dict[str, Worker] = {}
        self.tasks: dict[Any, Task] = {}  # that are needed
        self.begun: list[Any] = []  # all keys
        self.taken: list[tuple[float, Letter]] = []
        self.generation, self.status, self.interrupt_in = 0, "running", math.inf
        self._letters: list[Letter] = []
        self._expected: list[tuple[Any, Future, bool]] = []
        self._topics: dict[str, Callable[[Any], object]] = {}
        self._n, self._due = 0, list[tuple[float, int, Callable[[], object]]]()
        self.loop: Any = SimpleNamespace(add_callback=self._call)
        self.scheduler: Any = SimpleNamespace(
            identity=self._identity, who_has=self._who_has, events=self._events
        )
        for _ in range(n_workers):
            self.join()

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """Have others see this clock."""
        patch = mock.patch.object
        with (
            patch(liveness, "time", self),
            patch(whereabouts, "time", self),
            patch(departures, "time", self),
        ):
            yield

    def monotonic(self) -> float:
        return self.clock

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self._n += 1
        heapq.heappush(self._due, (self.clock + seconds, self._n, act))

    def go_on(self, seconds: float) -> None:
        end = self.clock + seconds
        self._settle()
        while self._due and self._due[0][0] <= end:
            self.clock, _, act = heapq.heappop(self._due)
            act()
            self._settle()
        self.clock = end

    # ---- what happens to workers

    def suffer(self, fault: Fault) -> None:
        """Have a fault happen when it is its time."""
        self.after(fault.at, lambda: self._suffer(fault))

    def _suffer(self, fault: Fault) -> None:
        if fault.what == "interrupt":
            self.interrupt_in = fault.which + 1
        elif self.workers:
            worker = list(self.workers.values())[fault.which % len(self.workers)]
            over: Callable[[], object] = self.join
            if fault.what == "dies":
                self.die(worker.address, fault.told)
            elif fault.what == "retires":
                self.retire(worker)
            elif fault.what == "leaves":
                self.drain(worker.address, 8.0)
                worker.troubles["leaves"] = self.clock
                self.after(8.0, lambda: self.die(worker.address, fault.told))
            else:
                worker.troubles.setdefault(fault.what, self.clock)
                over = lambda: worker.troubles.pop(fault.what, None)  # noqa: E731
            if math.isfinite(fault.lasts):
                self.after(fault.lasts, over)

    def join(self) -> Worker:
        self._n += 1
        worker = Worker(f"tcp://{self._n}", f"host {self._n % 3}")
        self.workers[worker.address] = worker
        for task in self.tasks.values():  # Dask looks again, but not at those that name others
            task.is_left_alone &= bool(task.named)
        return worker

    def retire(self, worker: Worker) -> None:
        """Have a worker retired, as Dask does: it begins no task any more, and is then gone."""
        worker.troubles["retires"] = self.clock
        self._tell(worker.address, {"action": "worker-status-change", "status": CLOSING})
        self.after(3.0, lambda: self.die(worker.address))

    def drain(self, address: str, seconds: float) -> None:
        """Announce that a worker will leave."""
        self._tell(TOPIC, {"workers": [address], "seconds": seconds})

    def _tell(self, topic: str, what: Any) -> None:
        self._topics.get(topic, lambda event: None)((self.clock, what))

    def die(self, address: str, told: Sequence[float] = (0.0,)) -> None:
        if address not in self.workers:
            return
        worker = self.workers.pop(address)
        worker.is_alive = False
        for task in self.tasks.values():
            task.where.discard(address)
            if task.worker is worker:
                task.worker = None
        for seconds in told:
            self.after(seconds, lambda: self._tell(address, {"action": "remove-worker"}))

    # ---- as Client

    def submit(
        self,
        function: Any,
        *arguments: Any,
        key: Any,
        workers: Sequence[str] | None = None,
        allow_other_workers: bool = False,
        **_: Any,
    ) -> Future:
        self._may_be_interrupted()
        assert key not in self.begun, "a key is used twice"
        needs = [argument.task for argument in arguments if isinstance(argument, Future)]
        assert all(task.is_wanted for task in needs), "built from what has been let go"
        self.begun.append(key)
        self.tasks[key] = Task(key, function, needs, tuple(workers or ()), allow_other_workers)
        return Future(self.tasks[key])

    def _may_be_interrupted(self) -> None:
        self.interrupt_in -= 1
        if self.interrupt_in == 0:
            raise KeyboardInterrupt

    def subscribe_topic(self, address: str, handler: Callable[[Any], object]) -> None:
        self._may_be_interrupted()
        self._topics[address] = handler

    def unsubscribe_topic(self, address: str) -> None:
        del self._topics[address]

    def _call(self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> None:
        """Run a coroutine, which awaits one answer of the scheduler's."""
        there, back = self.draw.uniform(0.001, 0.2, size=2)

        def answer() -> None:
            coroutine = function(*arguments)
            coroutine.send(None)
            self.after(back, lambda: next(coroutine.__await__(), None))

        self.after(there, answer)

    async def _identity(self, n_workers: int) -> Any:
        said = {
            address: {
                "host": worker.host,
                "status": worker.status,
                "memory_limit": 10**9,
                "last_seen": worker.troubles.get("freezes", self.clock),
            }
            for address, worker in self.workers.items()
        }
        await asyncio.sleep(0)  # it travels
        return {"workers": said}

    async def _events(self, topic: str) -> Any:
        await asyncio.sleep(0)  # it travels
        return ()

    async def _who_has(self, keys: Sequence[Any]) -> Any:
        found = {key: tuple(self.tasks[key].where) if key in self.tasks else () for key in keys}
        await asyncio.sleep(0)  # it travels
        return found

    # ---- as Mailbox

    def expect(self, futures: dict[Any, Future], *, fetch: bool = True) -> None:
        self._may_be_interrupted()
        self._expected += [(ticket, future, fetch) for ticket, future in futures.items()]

    def take(self, timeout: float) -> list[Letter]:
        letters, self._letters = self._letters, []
        self.go_on(0.01)  # deaths may be told before these are taken in
        self.taken += [(self.clock, letter) for letter in letters]
        return letters

    def close(self) -> None:
        while self._expected:
            self._expected.pop()[1].release()

    def _deliver(self, ticket: Any, future: Future, fetch: bool) -> bool:
        """Say what has become of a task, soon; return whether anything has."""
        task = future.task
        holders = [self.workers[address] for address in task.where]
        result, error = (None, None, 1, {}) if fetch else None, task.error
        if not task.is_wanted or any("forgets" in worker.troubles for worker in holders):
            result, error = None, Vanished(f"{task.key}")
        elif error is None and not any(worker.is_awake or not fetch for worker in holders):
            return False
        letter = Letter(ticket, None if error else result, error)
        self.after(float(self.draw.uniform(0.0, 0.3)), lambda: self._letters.append(letter))
        return True

    # ---- as scheduler and workers

    def _settle(self) -> None:
        """Forget what nobody needs, begin what can be begun, and say what has ended."""
        needed: dict[Any, Task] = {}
        stack = [task for task in self.tasks.values() if task.is_wanted]
        while stack:
            task = stack.pop()
            if task.key not in needed:
                needed[task.key] = task
                stack += task.needs if not task.where and task.error is None else ()
        for key in self.tasks.keys() - needed.keys():
            self.tasks[key].worker, self.tasks[key].where = None, set()
        self.tasks = needed
        for task in needed.values():
            task.error = next((need.error for need in task.needs if need.error), task.error)
            is_ready = all(need.where for need in task.needs)
            if is_ready and not (task.where or task.worker or task.error):
                self._begin(task)
        self._expected = [mail for mail in self._expected if not self._deliver(*mail)]

    def _begin(self, task: Task) -> None:
        able = [worker for worker in self.workers.values() if worker.status == "running"]
        named = [worker for worker in able if worker.address in task.named]
        task.is_left_alone |= bool(task.named) and task.is_loose and not self.workers
        able = named or (able if task.is_loose or not task.named else [])
        if able and not task.is_left_alone:
            task.runs = run = task.runs + 1
            task.worker = able[int(self.draw.integers(len(able)))]
            self.after(float(self.draw.uniform(0.01, 0.3)), lambda: self._end(task, run))

    def _end(self, task: Task, run: int) -> None:
        worker = task.worker
        if worker is None or task.runs != run or task.key not in self.tasks:
            return
        sources = [{self.workers[address] for address in need.where} for need in task.needs]
        if not all(sources):
            task.worker = None  # it waits for them to be computed again
        elif not worker.is_awake or not all(
            worker in holders or any(holder.is_awake for holder in holders) for holders in sources
        ):
            self.after(0.5, lambda: self._end(task, run))
        else:
            for need in task.needs:
                need.where.add(worker.address)
            fails = "fails" in worker.troubles and task.does in (build_shard, copy_shard)
            task.error = ZeroDivisionError("drawn") if fails else None
            task.worker, task.where = None, set() if fails else {worker.address}
