"""Sums that are nearly whole: ErasureHead, and codes of graphs with optimal decoding.

    python examples/papers/nearly_whole.py [--out DIR] [--sets 3000] [--quick]

Wang, Charles and Papailiopoulos, "ErasureHead: Distributed Gradient Descent without Delays Using
Approximate Gradient Coding", arXiv 1901.09671: groups of fractional repetition, fewer replicas than
stragglers; down to a noise floor gradient descent is as fast by iterations as exact, and faster by
time. Glasgow and Wootters, "Approximate Gradient Coding with Optimal Decoding", 2021: blocks are
vertices of a graph, workers its edges; for random stragglers the error decays exponentially with
the number of replicas, where with fixed weights it cannot, and for the worst stragglers it is
nearly half of that of other codes. Four experiments, each from a seed:

1. Sixty workers, each silent with probability 0.2: what is missed on average.
2. The same, the worst workers silent that a search finds.
3. Sixty simulated workers with exponential delays of 0.5 s on average, which is what ErasureHead's
   code injects: how long gradient descent takes, and how near it comes.
4. Twelve real worker processes, whose rounds end after 0.2 s. In each another one falls silent for
   0.6 s, or always the same three do: how near gradient descent comes.

DIR gets nearly_whole.json and nearly_whole.png; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from dsag import Problem, Run, simulated
from report import at_least, write
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.cluster import inject
from dask_gradcode.codes import FractionalRepetition, GradientCode, GraphRepetition, Uncoded
from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.rounds import Deadline, Fastest
from dask_gradcode.stragglers import ExponentialDelay, FixedDelay

N, P, DEGREES = 60, 0.2, (3, 4, 5, 6)
STEP = 1.0  # below 2 / L, so that descent is sure without looking at values


def error(code: GradientCode, silent: set[int]) -> float:
    """Return what is missed where some workers are silent."""
    return code.decode(code.available(set(range(code.n_workers)) - silent)).error


def random_sets(n_sets: int) -> Iterator[set[int]]:
    """Yield workers that are silent, each with probability ``P``."""
    for mask in np.random.default_rng(0).random((n_sets, N)) < P:
        yield {*np.flatnonzero(mask).tolist()}


def fixed(code: GraphRepetition, silent: set[int]) -> float:
    """Return what is missed where whatever comes gets the weight that is right on average."""
    weights = np.full(N, 1.0 / (code.degree * (1.0 - P)))
    weights[[*silent]] = 0.0
    return float(code.judge(weights).error)


def random_stragglers(n_sets: int) -> Iterator[dict[str, Any]]:
    """Yield by number of replicas what is missed on average."""
    for d in DEGREES:
        graph, groups = GraphRepetition(N, d), FractionalRepetition(N, d - 1)
        sets = [*random_sets(n_sets)]
        yield {
            "replicas, d": d,
            "nobody answers, p^d": P**d,
            "graph": float(np.mean([error(graph, silent) for silent in sets])),
            "groups": float(np.mean([error(groups, silent) for silent in sets])),
            "fixed weights, p / (d (1 - p))": P / (d * (1.0 - P)),
            "graph, fixed weights": float(np.mean([fixed(graph, silent) for silent in sets])),
        }


def worst_stragglers() -> Iterator[dict[str, Any]]:
    """Yield by how many are silent what is missed at most: of graphs, as far as a search finds."""
    d = 3
    graph, groups = GraphRepetition(N, d), FractionalRepetition(N, d - 1)
    for n_silent in (3, 6, 9, 12):
        found = max(error(graph, around(graph, start, n_silent)) for start in range(graph.n_blocks))
        whole = error(groups, {*range(n_silent)})
        yield {"silent": n_silent, "graph": found, "groups": whole, "ratio": found / whole}


def around(code: GraphRepetition, start: int, n_silent: int) -> set[int]:
    """Return the holders of a block, and of those for which the fewest more have to be silent."""
    silent, left = {*code.holders[start]}, {*range(code.n_blocks)} - {start}
    while left:
        block = min(left, key=lambda b: (len({*code.holders[b]} - silent), b))
        more = {*code.holders[block]} - silent
        if len(silent) + len(more) > n_silent:
            break
        silent |= more
        left.remove(block)
    return silent


def descents(n_rounds: int) -> Iterator[tuple[str, Run]]:
    """Yield runs of gradient descent on simulated workers that are late at random."""
    problem = Problem.drawn(120, 20, 20, condition=100)
    late, solver = ExponentialDelay(0.5), GradientDescent(1.0 / problem.curvature)
    for name, code, wait in (
        ("exact, uncoded", Uncoded(N), None),
        ("exact, fractional, s = 2", FractionalRepetition(N, 2), None),
        ("Fastest(40), uncoded", Uncoded(N), Fastest(40)),
        ("Fastest(40), groups, d = 3", FractionalRepetition(N, 2), Fastest(40)),
        ("Fastest(40), graph, d = 3", GraphRepetition(N, 3), Fastest(40)),
    ):
        yield name, simulated(problem, code, late, solver, n_rounds, wait, work=1.0)


def fitted(client: Client, max_iter: int) -> Iterator[dict[str, Any]]:
    """Yield how far from the optimum fits end on real processes."""
    rng = np.random.default_rng(0)
    means, effects = rng.normal(size=(2, 24, 10)).repeat(200, axis=1)  # no two blocks are alike
    X = means + rng.normal(size=means.shape)
    slopes = 0.3 * rng.normal(size=10) + 0.3 * effects
    y = ((X * slopes).sum(axis=1) + rng.logistic(size=len(X)) > 0).astype(int)
    best = LogisticRegression(tol=1e-10, max_iter=1000).fit(X, y).coef_
    warnings.simplefilter("ignore", ConvergenceWarning)
    for silent, model in (
        ("for three rounds, one more in each", FixedDelay(0.6, n_random=1)),
        ("0, 1 and 2", FixedDelay(0.6, workers=[0, 1, 2])),
    ):
        for code in Uncoded(12), FractionalRepetition(12, 2), GraphRepetition(12, 3):
            fit = CodedLogisticRegression(
                code=code,
                solver=GradientDescent(step=STEP),
                wait=Deadline(0.2),
                max_iter=max_iter,
                tol=1e-9,
                client=client,
            )
            with inject(client, model):
                fit.fit(X, y)
            yield {
                "silent": silent,
                "code": repr(code),
                "load": code.load,
                "mean error": float(np.mean(fit.history_.columns["error"])),
                "distance": float(np.linalg.norm(fit.coef_ - best) / np.linalg.norm(best)),
            }


def draw(rows: list[dict[str, Any]], runs: list[tuple[str, Run]], path: Path) -> None:
    """Draw the error by replicas, and descents against time."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, style in {
        "graph, fixed weights": "s-",
        "groups": "^-",
        "graph": "o-",
        "nobody answers, p^d": "k--",
    }.items():
        left.semilogy(DEGREES, [row[name] for row in rows], style, label=name)
    left.set(title=f"{N} workers, each silent with probability {P}", ylabel="error, mean")
    left.set(xlabel="workers that hold a block, d", xticks=DEGREES)
    for name, run in runs:
        right.semilogy(run.seconds, run.away, label=name)
    right.set(title="gradient descent, exponential delays", xlabel="time (s)")
    right.set(ylabel="distance to the optimum")
    right.set_xlim(0, 1.3 * max(run.seconds[-1] for name, run in runs if "exact" not in name))
    for ax in (left, right):
        ax.legend()
        ax.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument(
        "--sets", type=at_least(10), default=3000, help="of silent workers, for each mean"
    )
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    options = parser.parse_args()
    rows = list(random_stragglers(100 if options.quick else options.sets))
    runs = list(descents(30 if options.quick else 800))
    with (
        LocalCluster(n_workers=12, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        fits = list(fitted(client, 10 if options.quick else 80))
    tables = {
        f"Sixty workers, each silent with probability {P}: mean error": rows,
        "Sixty workers, three replicas, the worst are silent: error": list(worst_stragglers()),
        "Sixty simulated workers, exponential delays of 0.5 s": [
            {
                "rule, code": name,
                "time of a round": run.per_round,
                "time until the distance is 0.05": run.until(0.05) if run.away[-1] < 0.05 else None,
                "distance at the end": run.away[-1],
            }
            for name, run in runs
        ],
        "Fits on twelve processes": fits,
    }
    write(options.out, "nearly_whole", tables)
    draw(rows, runs, options.out / "nearly_whole.png")


if __name__ == "__main__":
    main()
