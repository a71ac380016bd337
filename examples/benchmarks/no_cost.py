"""What tolerance costs where every worker is a machine of its own: rounds with and without faults.

    python examples/benchmarks/no_cost.py [--workers 6 12] [--rounds 30] [--quick] [--json PATH]
    python examples/benchmarks/no_cost.py --work dense sparse   # real kernels: a core for each

A worker is a process whose work is sleeping, so much for each row, so that processes on a few cores
behave like machines; or the gradient of a logistic loss. All codes have their data on the same
workers and take turns, a round each; s = 1. Figures are in undisturbed uncoded rounds, measured
before and after each scenario:

- nobody is late;
- one worker computes 8 times slower, for good;
- one worker is frozen (SIGSTOP), for good: without a code that never ends;
- in every round another worker is frozen in the middle of a leaf, and woken after the round;
- each worker computes 8 times slower in a round with probability 0.1: the same draws for all codes
  and for the references, ten times as many rounds, and means in place of medians.

``ring``, ``group`` and ``declustered`` are declustered repetition with the replicas of a share on
one other worker, on the other one of a group, and in four parts on four others.

Two references are computed. ``leaves`` knows who is slow and gives whole leaves, eighths of what a
worker has without a code, to workers that hold them in ``declustered``. ``n / sum(v)`` divides the
work as finely as one likes, over workers of speed v, wherever the data are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, median
from threading import Timer
from typing import Any, Literal

import dask
import numpy as np
from distributed import Client, LocalCluster
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from common import about
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement, inject
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Policy, UntilExact, WaitRule
from dask_gradcode.stragglers import Slowdown, StragglerModel
from dask_gradcode.work import Block
from threads import dense, sparse

S, FACTOR, LATE = 1, 8.0, 2  # LATE: who is slow or frozen for good
LEAVES, SPREAD = 8, 4  # of a share: leaves, and parts whose replicas lie together
STOPPED_AT = 2.5 / LEAVES  # of a share: in the middle of the third leaf
WARM_UP = 5  # rounds: of these the faults that last are known


@dataclass(frozen=True)
class Scheme:
    """A code for n workers, a wait rule for as many, and a plan; None is the usual one."""

    name: str
    code: Callable[[int], GradientCode]
    plan: Policy | None = None
    wait: Callable[[int], WaitRule] = lambda n: UntilExact()


def declustered(n: int) -> DeclusteredRepetition:
    """Return the code that is on trial."""
    return DeclusteredRepetition(n, S, SPREAD, LEAVES)


SCHEMES = (
    Scheme("uncoded", Uncoded),
    Scheme("fractional", lambda n: FractionalRepetition(n, S)),
    Scheme("cyclic", lambda n: CyclicRepetition(n, S)),
    Scheme("ring", lambda n: DeclusteredRepetition(n, S, 1, LEAVES)),
    Scheme("group", lambda n: DeclusteredRepetition(n, S, "group", LEAVES)),
    Scheme("declustered", declustered),
)


@dataclass(frozen=True)
class Scenario:
    """What happens to the workers, for how many times the usual number of rounds."""

    name: str
    model: StragglerModel
    frozen: Literal["no", "for good", "in a leaf"] = "no"
    times: int = 1
    typical: Callable[[list[float]], float] = median

    def victim(self, round: int, n: int) -> int:
        """Return who is frozen in a round."""
        return LATE if self.frozen == "for good" else int(np.random.default_rng(round).integers(n))

    def slowdowns(self, round: int, n: int) -> np.ndarray:
        """Return how many times slower each worker is in a round, infinitely if frozen."""
        slow = self.model.slowdowns(round, n)
        if self.frozen != "no":
            slow[self.victim(round, n)] = np.inf
        return slow


SCENARIOS = (
    Scenario("nobody late", StragglerModel()),
    Scenario("one 8x slower", Slowdown(FACTOR, workers=[LATE])),
    Scenario("one frozen", StragglerModel(), frozen="for good"),
    Scenario("one stopped", StragglerModel(), frozen="in a leaf"),
    Scenario("10% at 8x", Slowdown(FACTOR, probability=0.1), times=10, typical=mean),
)


@dataclass(frozen=True)
class Work:
    """What workers do for the rows of their shares, and what a row adds to the objective."""

    data: Callable[[int], tuple[Any, np.ndarray]]  # of so many shares
    loss: Any
    value: float  # of a row, at w = 0


def sleeping(seconds: float) -> Work:
    """Return work that takes so long for a share."""
    rows = 64

    def sleep(w: np.ndarray, block: Block) -> tuple[float, np.ndarray]:
        time.sleep(seconds / rows * block.n_rows)
        return float(block.n_rows), w

    return Work(lambda n: (np.zeros((rows * n, 1)), np.arange(rows * n) % 2), sleep, 1.0)


def logistic(make: Callable[[int], Any], rows: int) -> Work:
    """Return the gradient of a logistic loss over so many rows."""

    def data(n: int) -> tuple[Any, np.ndarray]:
        X = make(rows * n)
        return X, (np.arange(X.shape[0]) % 2).astype(float)

    return Work(data, Logistic(), np.log(2.0))


WORKS: dict[str, Callable[[argparse.Namespace], Work]] = {
    "sleeping": lambda given: sleeping(given.share),
    "dense": lambda given: logistic(dense, given.rows),
    "sparse": lambda given: logistic(sparse, given.rows),
}


# ---- references, in shares: what a worker has without a code


def best_of_leaves(slowdowns: np.ndarray) -> float:
    """Return the shortest time in which holders can compute all leaves, one after the other."""
    n = slowdowns.size
    held = declustered(n).holders
    kinds = sorted(set(held))  # leaves with the same holders are alike
    count = [held.count(kind) for kind in kinds]
    source, sink = n + len(kinds), n + len(kinds) + 1

    def feasible(seconds: float) -> bool:
        capacity = np.floor(seconds * LEAVES / slowdowns + 1e-9).astype(np.int32)
        flow = np.zeros((sink + 1, sink + 1), dtype=np.int32)
        flow[:n, sink] = capacity
        for at, kind in enumerate(kinds, start=n):
            flow[source, at] = count[at - n]
            flow[at, list(kind)] = count[at - n]
        return maximum_flow(csr_array(flow), source, sink).flow_value == len(held)

    finite = slowdowns[np.isfinite(slowdowns)]
    times = np.unique(np.outer(finite, np.arange(1, 2 * LEAVES + 1)) / LEAVES)
    low, high = 0, times.size - 1  # twice the work of a share is enough: s = 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if feasible(times[middle]) else (middle + 1, high)
    return float(times[low])


REFERENCES: dict[str, Callable[[np.ndarray], float]] = {
    "leaves": best_of_leaves,
    "n / sum(v)": lambda slowdowns: slowdowns.size / float((1.0 / slowdowns).sum()),
}


# ---- rounds


@contextmanager
def stopped(pid: int, after: float = 0.0) -> Iterator[None]:
    """Freeze a process after so many seconds."""
    timer = Timer(after, os.kill, (pid, signal.SIGSTOP))
    timer.start()
    if not after:
        timer.join()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True)
class Bench:
    """Everybody's data on the same workers."""

    client: Client
    n: int
    schemes: Sequence[Scheme]
    placed: dict[str, Placement]
    work: Work
    rounds: int

    def calm(self) -> list[float]:
        """Return the seconds of uncoded rounds while nobody is late."""
        with ClusterObjective(self.placed["uncoded"], self.work.loss) as objective:
            return [self.timed(objective) for _ in range(WARM_UP + self.rounds)][WARM_UP:]

    def timed(self, objective: ClusterObjective) -> float:
        """Return the seconds of a round, whose sum must be right."""
        w = np.zeros(self.placed["uncoded"].n_features)
        start = time.perf_counter()
        seen = objective(w)
        took = time.perf_counter() - start
        expected = self.work.value * self.placed["uncoded"].n_samples
        assert abs(seen.value - expected) < 1e-9 * expected, (seen.value, expected)
        return took

    def disturbed(self, scenario: Scenario, share: float) -> dict[str, list[float]]:
        """Return the seconds of each scheme's rounds, the first ones left out."""
        with ExitStack() as stack:
            stack.enter_context(inject(self.client, scenario.model))
            objectives = {
                scheme.name: stack.enter_context(
                    ClusterObjective(
                        self.placed[scheme.name],
                        self.work.loss,
                        wait=scheme.wait(self.n),
                        plan=scheme.plan,
                    )
                )
                for scheme in self.schemes
                if scenario.frozen == "no" or self.placed[scheme.name].code.n_stragglers
            }
            took: dict[str, list[float]] = {name: [] for name in objectives}
            pids = self.pids()
            if scenario.frozen == "for good":
                for objective in objectives.values():
                    self.timed(objective)  # which opens the connections
                stack.enter_context(stopped(pids[LATE]))
            for number in range(WARM_UP + scenario.times * self.rounds):
                for name, objective in objectives.items():
                    with (
                        stopped(pids[scenario.victim(number, self.n)], STOPPED_AT * share)
                        if scenario.frozen == "in a leaf"
                        else nullcontext()
                    ):
                        took[name].append(self.timed(objective))
        return {name: times[WARM_UP:] for name, times in took.items()}

    def pids(self) -> list[int]:
        """Return the processes; each has a role in every code, mostly the same one."""
        addresses = self.placed["uncoded"].addresses
        found = self.client.run(os.getpid)
        return [found[addresses[role]] for role in range(self.n)]


def row(bench: Bench, scenario: Scenario) -> dict[str, Any]:
    """Measure one scenario, in undisturbed uncoded rounds."""
    before = bench.calm()
    took = bench.disturbed(scenario, median(before))
    share = median(before + bench.calm())
    found: dict[str, Any] = {"n": bench.n, "scenario": scenario.name, "share": share}
    for scheme in bench.schemes:
        times = took.get(scheme.name)
        found[scheme.name] = scenario.typical(times) / share if times else float("inf")
    numbers = range(WARM_UP, WARM_UP + scenario.times * bench.rounds)
    drawn = [scenario.slowdowns(number, bench.n) for number in numbers]
    for name, reference in REFERENCES.items():
        found[name] = scenario.typical([reference(slowdowns) for slowdowns in drawn])
    return found


@contextmanager
def benches(
    n: int, work: Work, rounds: int, schemes: Sequence[Scheme] = SCHEMES
) -> Iterator[Bench]:
    """Place the data of all schemes on n processes."""
    X, y = work.data(n)
    # Dask would give up a worker that is frozen for five minutes
    with ExitStack() as stack, dask.config.set({"distributed.scheduler.worker-ttl": None}):
        cluster = stack.enter_context(
            LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0", memory_limit=0)
        )
        client = stack.enter_context(Client(cluster))
        placed = {}
        for scheme in schemes:
            data = stack.enter_context(place(X, y, code=scheme.code(n), client=client))
            data.wait(600)
            placed[scheme.name] = data
        yield Bench(client, n, schemes, placed, work, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--rounds", type=int, default=30, help="of each scheme in a scenario")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=["sleeping"])
    parser.add_argument("--share", type=float, default=0.1, help="seconds of a share of sleep")
    parser.add_argument("--rows", type=int, default=50_000, help="of a dense share")
    parser.add_argument("--quick", action="store_true", help="3 rounds, 6 workers, 30 ms")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.workers, arguments.rounds, arguments.share = [6], 3, 0.03

    columns = [*(scheme.name for scheme in SCHEMES), *REFERENCES]
    heads = "".join(f"{name:>12}" for name in columns)
    print(f"{'work':<10}{'n':>3}  {'scenario':<16}{'share':>10}{heads}")
    rows = []
    for kind, n in product(arguments.work, arguments.workers):
        with benches(n, WORKS[kind](arguments), arguments.rounds) as bench:
            for scenario in SCENARIOS:
                rows.append(found := {"work": kind, **row(bench, scenario)})
                shown = "".join(f"{found[name]:>12.2f}" for name in columns)
                share = f"{found['share'] * 1e3:>7.1f} ms"
                print(f"{kind:<10}{n:>3}  {scenario.name:<16}{share}{shown}", flush=True)
    if arguments.json:
        result = {**about(), **vars(arguments), "json": None, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
