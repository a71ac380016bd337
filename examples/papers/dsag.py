"""Sums of older points that stand in for late ones: the claims of DSAG, run again.

    python examples/papers/dsag.py [--out DIR] [--quick]

Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed Synchronous-Asynchronous Iterative
Method for Straggler-Resilient Learning", IEEE Transactions on Communications 71, 2023. The paper's
claim: where the last sums of late workers stand in for new ones, a fit is done up to 50 % sooner
than without, and more than twice as soon as by coded computing. Three experiments, each from a
seed:

1. Twenty simulated workers, two of them 8 times slower for good, or a tenth in each round: how long
   a round takes, and how far from the optimum gradient descent of step 1/L is at the end; then how
   long solvers take until the gradient is 1e-9.
2. A hundred simulated workers with the mild stragglers that the authors measured: how long gradient
   descent takes until the distance to the optimum is 1e-4.
3. Four processes of this machine, one of which computes 8 times slower, with both transports.

DIR gets dsag.json and dsag.png; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from numpy.typing import NDArray
from report import write

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, inject
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov, Optimizer
from dask_gradcode.rounds import Fastest, Remember, WaitRule
from dask_gradcode.simulation import SimulatedObjective
from dask_gradcode.stragglers import MarkovSlowdown, Slowdown, StragglerModel
from dask_gradcode.typing import Evaluation, Objective
from dask_gradcode.work import Block

Vector = NDArray[np.float64]


@dataclass
class Problem:
    """Logistic regression with a ridge penalty, every block of which has a mean of its own."""

    X: Vector
    y: Vector
    alpha: float

    @classmethod
    def drawn(cls, n_blocks: int, rows: int, n_features: int, condition: float) -> Problem:
        rng = np.random.default_rng(0)
        scales = np.geomspace(1.0, 0.03, n_features)
        means = 0.7 * rng.standard_normal((n_blocks, n_features)).repeat(rows, axis=0)
        X = (means + rng.standard_normal(means.shape)) * scales
        y = (X @ (3 * rng.standard_normal(n_features)) + rng.logistic(size=len(X)) > 0) * 1.0
        problem = cls(X, y, 0.0)
        return cls(X, y, problem.curvature / (condition - 1.0))

    @property
    def curvature(self) -> float:
        """The largest second derivative of the mean loss, at most; with the penalty's."""
        largest = np.linalg.eigvalsh(self.X.T @ self.X)[-1] / len(self.X)
        return float(0.25 * largest) + self.alpha

    def blocks(self, code: GradientCode) -> dict[int, Block]:
        ends = [len(self.y) * i // code.n_blocks for i in range(code.n_blocks + 1)]
        return {i: Block(self.X[a:b], self.y[a:b]) for i, (a, b) in enumerate(pairwise(ends))}

    def penalised(self, objective: Objective) -> Penalised:
        n = self.X.shape[1]
        return Penalised(objective, scale=1 / len(self.y), alpha=self.alpha, n_penalised=n)

    @cached_property
    def best(self) -> Vector:
        """Where the minimum is."""
        objective = InProcessObjective(Uncoded(1), self.blocks(Uncoded(1)), Logistic())
        w0 = np.zeros(self.X.shape[1])
        found = LBFGS().minimize(self.penalised(objective), w0, max_iter=10_000, tol=1e-12)
        return found.w


@dataclass
class Run:
    """What a minimisation did: when each round ended, and how far from the optimum it was."""

    seconds: list[float]
    away: list[float]
    n_exact: int
    gradient: float

    @classmethod
    def of(
        cls,
        problem: Problem,
        objective: Objective,
        clock: Callable[[], float],
        solver: Optimizer,
        max_iter: int,
        tol: float = 0.0,
    ) -> Run:
        best, start = problem.best, clock()
        penalised, run = problem.penalised(objective), cls([], [], 0, inf)

        def seen(w: Vector, one: Evaluation) -> Evaluation:
            run.seconds.append(clock() - start)
            run.away.append(float(np.linalg.norm(w - best) / np.linalg.norm(best)))
            run.n_exact += one.record.exact
            run.gradient = float(abs(one.gradient).max())
            return one

        class Noted:
            def __call__(self, w: Vector) -> Evaluation:
                return seen(w, penalised(w))

            def exactly(self, w: Vector) -> Evaluation:
                return seen(w, penalised.exactly(w))

        solver.minimize(Noted(), np.zeros(best.size), max_iter=max_iter, tol=tol)
        return run

    @property
    def per_round(self) -> float:
        return self.seconds[-1] / len(self.seconds)

    def until(self, away: float) -> float:
        """Return when it was as near as that for good; inf if it never was."""
        far = [second for second, a in zip(self.seconds, self.away, strict=True) if a > away]
        return far[-1] if self.away[-1] <= away else inf


def simulated(
    problem: Problem,
    code: GradientCode,
    model: StragglerModel,
    solver: Optimizer,
    max_iter: int,
    wait: WaitRule | None = None,
    work: Vector | float = 1.0,
    tol: float = 0.0,
) -> Run:
    objective = SimulatedObjective(
        code, problem.blocks(code), Logistic(), model, wait=wait, work=work, overhead=0.02
    )
    clock: Callable[[], float] = lambda: objective.seconds  # noqa: E731
    return Run.of(problem, objective, clock, solver, max_iter, tol)


def descents(problem: Problem, n_rounds: int) -> Iterator[tuple[str, str, Run]]:
    """Yield runs of gradient descent: what workers are like, the rule, the run."""
    for name, model in (
        ("two 8x slower for good", Slowdown(8.0, workers=[3, 11])),
        ("a tenth 8x slower in each round", Slowdown(8.0, probability=0.1, seed=1)),
    ):
        for rule, wait in ("exact", None), ("Fastest(16)", Fastest(16)), ("Remember()", Remember()):
            solver = GradientDescent(1.0 / problem.curvature)
            run = simulated(problem, Uncoded(20), model, solver, n_rounds, wait, work=20.0)
            yield name, rule, run


def told(run: Run) -> dict[str, Any]:
    return {"distance to the optimum": run.away[-1], "exact rounds": run.n_exact}


def to_the_end(problem: Problem, max_iter: int) -> Iterator[dict[str, Any]]:
    """Yield what solvers take with two workers that are slow for good."""
    slow, step = Slowdown(8.0, workers=[3, 11]), 1.0 / problem.curvature
    for rule, code, wait, solver in (
        ("exact, gradient descent", Uncoded(20), None, GradientDescent(step)),
        ("Remember(), gradient descent", Uncoded(20), Remember(), GradientDescent(step)),
        ("exact, Nesterov", Uncoded(20), None, Nesterov(step)),
        ("Remember(), Nesterov", Uncoded(20), Remember(), Nesterov(step)),
        ("exact, L-BFGS", Uncoded(20), None, LBFGS()),
        ("fractional, s = 1, L-BFGS", FractionalRepetition(20, 1), None, LBFGS()),
        ("declustered, s = 1, L-BFGS", DeclusteredRepetition(20, 1), None, LBFGS()),
    ):
        run = simulated(problem, code, slow, solver, max_iter, wait, work=20.0, tol=1e-9)
        yield {
            "rule, solver": rule,
            "rounds": len(run.seconds),
            "time (s)": run.seconds[-1],
            "gradient at the end": run.gradient,
            **told(run),
        }


def hundred_workers(n_rounds: int) -> dict[str, float]:
    """Bursts of 10 % that last 35 s, and workers up to 40 % slower, as on the authors' cluster."""
    n = 100
    problem = Problem.drawn(n, 20, 10, condition=100)
    uneven = n * (1.0 + 0.4 * np.arange(n) / n)
    bursts, solver = MarkovSlowdown(rounds_per_step=10), GradientDescent(1.0 / problem.curvature)
    times: dict[str, float] = {}
    for rule, code, wait in (
        ("exact, uncoded", Uncoded(n), None),
        ("Fastest(80)", Uncoded(n), Fastest(80)),
        ("Remember()", Uncoded(n), Remember()),
        ("Remember(factor=1.05)", Uncoded(n), Remember(factor=1.05)),
        ("fractional, s = 1", FractionalRepetition(n, 1), None),
        ("declustered, s = 1", DeclusteredRepetition(n, 1), None),
    ):
        run = simulated(problem, code, bursts, solver, n_rounds, wait, work=uneven)
        times[rule] = run.until(1e-4)
    return times


def beside_published(times: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the paper's claims, and how many times as long others take here as older sums."""
    for other, what, published in (
        ("exact, uncoded", "without older sums", "up to 1.5"),
        ("fractional, s = 1", "coded computing", "more than 2"),
    ):
        ratio = times[other] / times["Remember(factor=1.05)"] if np.isfinite(times[other]) else None
        yield {"time of": what, "published": published, "here": ratio}


def processes(n_rows: int, n_iter: int) -> Iterator[dict[str, Any]]:
    """Four worker processes, one of which computes 8 times slower."""
    problem = Problem.drawn(4, n_rows, 60, condition=20)
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(problem.X, problem.y, code=Uncoded(4), client=client) as data,
    ):
        data.wait(60)
        for transport in ("stream", "tasks"):
            for rule, wait in (
                ("exact", None),
                ("Fastest(3)", Fastest(3)),
                ("Remember()", Remember()),
            ):
                with (
                    inject(client, Slowdown(8.0, workers=[3])),
                    ClusterObjective(data, Logistic(), wait=wait, transport=transport) as summed,
                ):
                    solver = GradientDescent(1.0 / problem.curvature)
                    run = Run.of(problem, summed, monotonic, solver, n_iter)
                took = np.diff([0.0, *run.seconds])
                middle = 1e3 * statistics.median(took)
                yield {
                    "transport": transport,
                    "rule": rule,
                    "ms a round (median)": middle,
                    **told(run),
                }


def draw(runs: list[tuple[str, str, Run]], path: Path) -> None:
    """Draw how far from the optimum runs are, against time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    colours = {"exact": "#4d4d4d", "Fastest(16)": "#f59e0b", "Remember()": "#1d6fb8"}
    for name, rule, run in runs:
        axis = axes[0] if name.startswith("two") else axes[1]
        axis.semilogy(run.seconds, run.away, color=colours[rule], label=rule, linewidth=1.8)
        axis.set_title(name, fontsize=11)
        axis.set_xlabel("time (s)")
    longest = max(run.seconds[-1] for _, rule, run in runs if rule != "exact")
    for axis in axes:
        axis.set_xlim(0, 1.5 * longest)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("distance to the optimum")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    options = parser.parse_args()
    n_rounds, max_iter, n_mild = (60, 240, 30) if options.quick else (2500, 10_000, 1500)
    problem = Problem.drawn(20, 100, 20, condition=841)
    runs = list(descents(problem, n_rounds))
    times = hundred_workers(n_mild)
    exact = times["exact, uncoded"]
    mild = [
        {"rule": rule, "time (s)": time, "exact, uncoded = 1": time / exact if time < inf else None}
        for rule, time in times.items()
    ]
    tables = {
        f"Twenty simulated workers, gradient descent of step 1/L, {n_rounds} rounds": [
            {"workers": name, "rule": rule, "time of a round": run.per_round, **told(run)}
            for name, rule, run in runs
        ],
        "The same, two 8x slower for good, until the gradient is 1e-9": list(
            to_the_end(problem, max_iter)
        ),
        "A hundred simulated workers, until the distance to the optimum is 1e-4": mild,
        "Times as long as with older sums": list(beside_published(times)),
        "Four processes": list(processes(*((1000, 10) if options.quick else (100_000, 200)))),
    }
    write(options.out, "dsag", tables)
    draw(runs, options.out / "dsag.png")


if __name__ == "__main__":
    main()
