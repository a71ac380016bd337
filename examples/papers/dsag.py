"""Sums of older points that stand in for late ones: the claims of DSAG, run again.

    python examples/papers/dsag.py

Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed Synchronous-Asynchronous Iterative
Method for Straggler-Resilient Learning", IEEE Transactions on Communications 71, 2023. Three
experiments, each computed from a seed: gradient descent on 20 simulated workers two of which are 8
times slower, the mild stragglers that the authors measured on 100 workers, and four processes of
this machine. Writes ``dsag.txt`` and ``dsag.png`` beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic

import numpy as np
from distributed import Client, LocalCluster
from numpy.typing import NDArray

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

    def minimum(self) -> tuple[Vector, float]:
        objective = InProcessObjective(Uncoded(1), self.blocks(Uncoded(1)), Logistic())
        w0 = np.zeros(self.X.shape[1])
        found = LBFGS().minimize(self.penalised(objective), w0, max_iter=10_000, tol=1e-12)
        return found.w, found.value


@dataclass
class Run:
    """What a minimisation did: seconds at the end of each round, and how far it was then."""

    seconds: list[float]
    away: list[float]
    n_exact: int

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
        (best, _), start = problem.minimum(), clock()
        penalised, run = problem.penalised(objective), cls([], [], 0)

        def seen(w: Vector, one: Evaluation) -> Evaluation:
            run.seconds.append(clock() - start)
            run.away.append(float(np.linalg.norm(w - best) / np.linalg.norm(best)))
            run.n_exact += one.record.exact
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
        return far[-1] if self.away[-1] <= away else float("inf")


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


def twenty_workers(n_rounds: int) -> tuple[list[str], dict[str, Run]]:
    """Gradient descent of step 1/L and others: two slow workers, and one in ten in each round."""
    problem = Problem.drawn(20, 100, 20, condition=841)
    step = 1.0 / problem.curvature
    lines = ["20 simulated workers, a share takes 1 s, messages 0.02 s; logistic, condition 841"]
    lines += [f"{'':42}{'time a round':>13}{'distance to the optimum':>25}{'exact':>8}"]
    runs: dict[str, Run] = {}
    prototype = {
        ("two 8x slower for good", "exact"): "8.45 / 3e-5",
        ("two 8x slower for good", "Fastest(16)"): "1.07 / 8e-2",
        ("two 8x slower for good", "Remember()"): "1.07 / 3e-5",
        ("a tenth 8x slower, drawn anew", "exact"): "7.64 / 3e-5",
        ("a tenth 8x slower, drawn anew", "Fastest(16)"): "1.36 / 6e-3",
        ("a tenth 8x slower, drawn anew", "Remember()"): "1.21 / 3e-5",
    }
    for name, model in (
        ("two 8x slower for good", Slowdown(8.0, workers=[3, 11])),
        ("a tenth 8x slower, drawn anew", Slowdown(8.0, probability=0.1, seed=1)),
    ):
        lines.append(f"{name}, gradient descent of step 1/L, {n_rounds} rounds")
        for rule, wait in (
            ("exact", None),
            ("Fastest(16)", Fastest(16)),
            ("Remember()", Remember()),
        ):
            solver = GradientDescent(step)
            run = simulated(problem, Uncoded(20), model, solver, n_rounds, wait, work=20.0)
            runs[f"{name}, {rule}"] = run
            other = prototype[name, rule]
            lines.append(f"  {rule:40}{told(run)}   prototype: {other}")
    lines.append("to max |gradient| <= 1e-9: rounds, and time (two 8x slower for good)")
    slow = Slowdown(8.0, workers=[3, 11])
    for rule, code, wait, solver in (
        ("exact, Nesterov", Uncoded(20), None, Nesterov(step)),
        ("Remember(), Nesterov", Uncoded(20), Remember(), Nesterov(step)),
        ("exact, L-BFGS", Uncoded(20), None, LBFGS()),
        ("fractional, s = 1, L-BFGS", FractionalRepetition(20, 1), None, LBFGS()),
        ("declustered, s = 1, L-BFGS", DeclusteredRepetition(20, 1), None, LBFGS()),
    ):
        run = simulated(problem, code, slow, solver, 4 * n_rounds, wait, work=20.0, tol=1e-9)
        lines.append(f"  {rule:40}{len(run.seconds):8} rounds{run.seconds[-1]:12.0f} s")
    return lines, runs


def told(run: Run) -> str:
    return f"{run.per_round:13.2f}{run.away[-1]:25.0e}{run.n_exact:8}"


def hundred_workers(n_rounds: int) -> list[str]:
    """Bursts of 10 % that last 35 s, and workers up to 40 % slower, as on the authors' cluster."""
    n = 100
    problem = Problem.drawn(n, 20, 10, condition=100)
    uneven = n * (1.0 + 0.4 * np.arange(n) / n)
    bursts, solver = MarkovSlowdown(rounds_per_step=10), GradientDescent(1.0 / problem.curvature)
    lines = [
        "",
        "100 simulated workers with the stragglers that the authors measured; time until the",
    ]
    lines += ["distance to the optimum is 1e-4, by gradient descent of step 1/L"]
    first = 0.0
    for rule, code, wait in (
        ("exact, uncoded", Uncoded(n), None),
        ("Fastest(80)", Uncoded(n), Fastest(80)),
        ("Remember()", Uncoded(n), Remember()),
        ("Remember(factor=1.05)", Uncoded(n), Remember(factor=1.05)),
        ("fractional, s = 1", FractionalRepetition(n, 1), None),
        ("declustered, s = 1", DeclusteredRepetition(n, 1), None),
    ):
        run = simulated(problem, code, bursts, solver, n_rounds, wait, work=uneven)
        time = run.until(1e-4)
        first = first or time
        lines.append(f"  {rule:40}{time:8.0f} s, {time / first:.2f} times exact rounds")
    lines += [
        "  published, 100 AWS workers: up to 50 % sooner than without older sums, and more than"
    ]
    lines += ["  twice as soon as coded computing"]
    return lines


def processes(n_iter: int) -> list[str]:
    """Four worker processes, one of which computes 8 times slower."""
    problem = Problem.drawn(4, 30_000, 60, condition=300)
    lines = ["", f"4 processes, 120,000 x 60, one computes 8 times slower; {n_iter} iterations"]
    lines += [f"{'':42}{'ms a round':>13}{'distance to the optimum':>25}{'exact':>8}"]
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
                middle, name = 1e3 * statistics.median(took), f"{rule}, {transport}"
                lines.append(f"  {name:40}{middle:13.1f}{run.away[-1]:25.1e}{run.n_exact:8}")
    return lines


def draw(runs: dict[str, Run], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    colours = {"exact": "#4d4d4d", "Fastest(16)": "#f59e0b", "Remember()": "#1d6fb8"}
    for name, run in runs.items():
        model, rule = name.rsplit(", ", 1)
        axis = axes[0] if "two" in model else axes[1]
        axis.semilogy(run.seconds, run.away, color=colours[rule], label=rule, linewidth=1.8)
        axis.set_title(model.replace(", drawn anew", " in each round"), fontsize=11)
        axis.set_xlabel("time (s)")
    longest = max(run.seconds[-1] for name, run in runs.items() if "exact" not in name)
    for axis in axes:
        axis.set_xlim(0, 1.5 * longest)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("distance to the optimum")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few rounds of each, for a look")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where files go")
    given = parser.parse_args(argv)
    lines, runs = twenty_workers(60 if given.quick else 2500)
    lines += hundred_workers(30 if given.quick else 1500)
    lines += processes(10 if given.quick else 200)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (given.out / "dsag.txt").write_text(text)
    draw(runs, given.out / "dsag.png")


if __name__ == "__main__":
    main()
