"""How the client's time grows with the number of workers: real processes, and roles without any.

    python examples/benchmarks/scale.py [--workers 8 16 32 64] [--roles 30 100 300 1000]

Without a network: the engine, a plan and a decoder, and a port at which every answer is there at
once, or after the time that simulated workers take: nobody is late, one role is silent for good, or
each role computes 8 times slower in a round with probability 0.1. Time is the client's processor
time outside the port, of a round, by code and plan. The figure is microseconds a role, and its
ratio to that of the smallest number of roles in the same run: above 1 the client's time grows
faster than the roles. A line more says what each number of a message costs, by rounds of short
messages and of long ones.

With real workers, forked processes that share this machine's cores and compute nothing: processor
time of the calling thread a message (``Uncoded``, d = 1000), its ratio to that of bare blocking
sockets (``socket_loop.py``) in turns of the same run; what Python's garbage collector takes of it a
message in 300 further rounds, in microseconds, and the longest collection among them, in
milliseconds; how often it waited in a round (voluntary context switches), file descriptors while it
is open and after all is closed, how long it takes to place, to open with a first round and to
close, and the longest round around a kill -9 of one worker
(``FractionalRepetition``, s = 1), in median rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_THREAD, getrusage
from statistics import median
from typing import Any

import numpy as np

from common import about
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    GraphRepetition,
    Uncoded,
)
from dask_gradcode.rounds import Arrived, Ask, Balancing, Engine, Everybody, Hedging, Patience
from dask_gradcode.simulation.port import VirtualPort
from dask_gradcode.stragglers import NeverAnswers, Slowdown
from forked_cluster import forked_cluster
from socket_loop import SocketLoop

D = 1000
ROUNDS, TURNS = 9, 5
CODES: dict[str, Callable[[int], GradientCode]] = {
    "uncoded": Uncoded,
    "fractional": lambda n: FractionalRepetition(n, 1),
    "cyclic s=3": lambda n: CyclicRepetition(n, 3),
    "graph": lambda n: GraphRepetition(n, 4),
    "declustered": lambda n: DeclusteredRepetition(n, 1),
}
PLANS = Everybody(), Hedging(), Balancing()


# ---------------------------------------------------------------- without a network


class AtOnce:
    """A port at which the answers to all orders are there at once."""

    def __init__(self, n_numbers: int) -> None:
        self._clock, self._payload = 0.0, np.ones(n_numbers)
        self._coming: list[Arrived] = []

    def now(self) -> float:
        return self._clock

    def patience(self) -> Patience:
        return Patience()

    def begin(self, round: int, w: Any, order: int) -> Sequence[Any]:
        self._round = round
        self._coming.clear()
        return []

    def send(self, orders: Sequence[Any]) -> None:
        asks = (order for order in orders if isinstance(order, Ask))
        pairs = ((ask.role, message) for ask in asks for message in ask.messages)
        self._coming += [Arrived(self._round, *pair, self._payload) for pair in pairs]

    def events(self, until: float | None) -> Sequence[Any]:
        self._clock += 1e-3
        events, self._coming = self._coming, []
        return events

    def reached(self) -> dict[int, float]:
        return {}

    def explain(self, round: Any) -> BaseException:
        return RuntimeError(f"{round.outcome}")


class Outside:
    """A port that tells how much processor time this thread has spent in it."""

    def __init__(self, port: Any) -> None:
        self._port, self.seconds = port, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return method(*arguments)
            finally:
                self.seconds += time.thread_time() - start

        setattr(self, name, timed)
        return timed


def seconds_of_rounds(code: GradientCode, plan: Any, port: Any, d: int) -> list[float]:
    """Return the client's processor time of each of some rounds, after four to learn from."""
    outside, found = Outside(port), []
    engine, w = Engine(code, outside, policy=plan), np.zeros(d)
    for _ in range(4 + ROUNDS):
        start = time.thread_time() - outside.seconds
        round_ = engine.run(w)
        engine.conclude(round_, round_.record(0.0, 0.0))
        found.append(time.thread_time() - outside.seconds - start)
    return found[4:]


def ports(code: GradientCode) -> Iterator[tuple[str, Any]]:
    def nothing(*_: Any) -> np.ndarray:
        return np.zeros(D + 1)

    n = code.n_workers
    yield "nobody late", AtOnce(D + 1)
    if code.n_stragglers:
        yield "one silent", VirtualPort(code, NeverAnswers(workers=[3]), float(n), 1e-3, nothing)
    if isinstance(code, DeclusteredRepetition):
        slow = Slowdown(8.0, probability=0.1, seed=0)
        yield "a tenth slow", VirtualPort(code, slow, float(n), 1e-3, nothing)


def without_a_network(counts: Sequence[int]) -> list[dict[str, Any]]:
    print(f"client's time in us a role, and its ratio to that of {counts[0]} roles")
    print(f"{'code':<14}{'plan':<12}{'who is late':<14}", *(f"{n:>14}" for n in counts))
    rows = []
    for name, make in CODES.items():
        for plan in PLANS:
            if not make(counts[0]).divides and isinstance(plan, Balancing):
                continue  # which is then Hedging
            found: dict[str, list[float]] = {}
            for n in counts:
                for who, port in ports(code := make(n)):
                    found.setdefault(who, []).append(
                        median(seconds_of_rounds(code, plan, port, D)) / n
                    )
            for who, each in found.items():
                rows.append({"code": name, "plan": repr(plan), "late": who, "seconds": each})
                shown = (f"{each_:7.1f} ({each_ / each[0] * 1e-6:.2f})" for each_ in scaled(each))
                print(f"{name:<14}{type(plan).__name__:<12}{who:<14}", *(f"{s:>14}" for s in shown))
    return rows


def scaled(seconds: Sequence[float]) -> list[float]:
    return [each * 1e6 for each in seconds]


def a_number(n: int = 100, more: int = 100_000) -> dict[str, float]:
    """Return what a message costs the client, and what each number of it, in seconds."""
    found = {}
    for name in ("uncoded", "declustered"):
        code = CODES[name](n)
        short, long = (
            median(seconds_of_rounds(code, Balancing(), AtOnce(d + 1), d)) / n
            for d in (D, D + more)
        )
        found[name] = (long - short) / more
        print(f"{name}: {short * 1e6:.1f} us a message, {found[name] * 1e9:.2f} ns a number more")
    return found


# ---------------------------------------------------------------- real workers


def nothing(w: np.ndarray, block: Any) -> tuple[float, np.ndarray]:
    return 0.0, w


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def spent(rounds: Callable[[], Any], count: int) -> tuple[float, float]:
    """Return this thread's processor time, and how often it waited, a round."""
    time_before, waits_before = time.thread_time(), getrusage(RUSAGE_THREAD).ru_nvcsw
    for _ in range(count):
        rounds()
    seconds = time.thread_time() - time_before
    return seconds / count, (getrusage(RUSAGE_THREAD).ru_nvcsw - waits_before) / count


def collected(rounds: Callable[[], Any], count: int) -> tuple[float, float]:
    """Return the processor time of Python's garbage collector, and of the longest collection."""
    times: list[float] = []

    def note(phase: str, info: Any) -> None:
        now = time.thread_time()
        if phase == "start":
            times.append(-now)
        else:
            times[-1] += now

    gc.callbacks.append(note)
    try:
        for _ in range(count):
            rounds()
    finally:
        gc.callbacks.remove(note)
    return sum(times), max(times, default=0.0)


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    found[name] = time.perf_counter() - start


def real(n: int) -> dict[str, Any]:
    found: dict[str, Any] = {"n": n}
    X, y, w = np.zeros((16 * n, D)), np.arange(16 * n) % 2, np.zeros(D)
    start = time.perf_counter()
    with forked_cluster(n) as (client, pids):
        found["start"] = time.perf_counter() - start
        before = descriptors()
        with timed(found, "place"):
            data = place(X, y, code=Uncoded(n), client=client)
        with timed(found, "open"):
            objective = ClusterObjective(data, nothing, transport="stream")
            objective(w)
        found["descriptors"] = descriptors() - before
        bare = SocketLoop(data.code, shards_of(data), D, nothing)
        ours, theirs = [], []
        for _ in range(TURNS + 1):
            ours.append(spent(lambda: objective(w), 20))
            theirs.append(spent(lambda: bare.round(w), 20))
        bare.close()
        found["message"] = median(seconds for seconds, _ in ours[1:]) / n
        garbage, found["longest"] = collected(lambda: objective(w), 300)
        found["garbage"] = garbage / 300 / n
        found["waits"] = median(waits for _, waits in ours[1:])
        found["sockets"] = median(seconds for seconds, _ in theirs[1:]) / n
        with timed(found, "close"):
            objective.close()
        data.close()
        found["death"] = death(client, pids, X, y)
        found["left"] = descriptors() - before
    return found


def shards_of(data: Placement) -> dict[int, Any]:
    futures = list(data.shards.values())
    return dict(zip(data.shards, data.client.gather(futures), strict=True))


def death(client: Any, pids: dict[str, int], X: np.ndarray, y: np.ndarray) -> float:
    """Return the longest of 20 rounds after a worker is killed, in median rounds before."""
    w, code = np.zeros(D), FractionalRepetition(len(pids), 1)
    with (
        place(X, y, code=code, client=client) as data,
        ClusterObjective(data, nothing, transport="stream") as objective,
    ):

        def round_() -> float:
            start = time.perf_counter()
            objective(w)
            return time.perf_counter() - start

        before = [round_() for _ in range(60)][20:]
        os.kill(pids[data.addresses[1]], signal.SIGKILL)
        return max(round_() for _ in range(20)) / median(before)


def with_workers(counts: Sequence[int]) -> list[dict[str, Any]]:
    print(
        f"\n{'n':>4}{'us/message':>12}{'sockets':>9}{'ratio':>7}{'gc':>6}{'ms':>6}{'waits':>7}{'fds':>6}{'left':>6}"
        f"{'start':>9}{'place':>9}{'open':>9}{'close':>9}{'death':>8}"
    )
    rows = []
    for n in counts:
        rows.append(row := real(n))
        times = (f"{row[name]:>7.2f} s" for name in ("start", "place", "open", "close"))
        print(
            f"{n:>4}{row['message'] * 1e6:>12.1f}{row['sockets'] * 1e6:>9.1f}"
            f"{row['message'] / row['sockets']:>7.2f}{row['garbage'] * 1e6:>6.1f}"
            f"{row['longest'] * 1e3:>6.1f}{row['waits']:>7.1f}{row['descriptors']:>6}"
            f"{row['left']:>6}",
            *times,
            f"{row['death']:>6.1f}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[8, 16, 32, 64])
    parser.add_argument("--roles", type=int, nargs="*", default=[30, 100, 300, 1000])
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    options = parser.parse_args()
    # real ones first: their processes are forked before this one starts threads
    found: dict[str, Any] = {"workers": with_workers(options.workers) if options.workers else []}
    if options.roles:
        found |= {"roles": without_a_network(options.roles), "number": a_number()}
    if options.json:
        options.json.write_text(json.dumps({**about(), **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
