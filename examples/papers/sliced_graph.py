"""Communication-Efficient Approximate Gradient Coding (Munim, Ramamoorthy; arXiv 2603.22514).

    python examples/papers/sliced_graph.py [--out DIR] [--sets 200] [--quick]

The paper's claim: workers that send half of a payload, and hold fewer replicas than there are
stragglers, miss little, and provably so. Three experiments:

1. A design of 91 workers and blocks, ten blocks a worker (the projective plane of order 9), and a
   strongly regular graph of 89: the mean squared error over random sets of silent workers and
   random signs, of 182 slices of blocks, beside the upper bound and the published figures.
2. A bipartite graph of 40 workers, each with three of 20 blocks: the same of 40 slices, with bounds
   for just these sets; and, with the same load and as much sent, groups of six workers of which any
   two are enough (``SlicedRepetition(42, 4, n_slices=2)``), random workers silent or whole groups.
3. Eight real worker processes: a logistic regression by gradient descent, in whose rounds another
   worker falls silent for three tenths of a second each, while they end after a tenth. How far from
   the optimum each code ends.

DIR gets sliced_graph.json and sliced_graph.png; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from report import at_least, write
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.cluster import inject
from dask_gradcode.codes import (
    FractionalRepetition,
    GradientCode,
    SlicedDesign,
    SlicedGraph,
    SlicedRepetition,
    Uncoded,
)
from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.rounds import Deadline
from dask_gradcode.stragglers import FixedDelay

STEP = 2.0  # below 2 / L, so that descent is sure without looking at values
# read off the paper's pictures: error and bound, by how many of 91 are silent (1, 10 and 25 %; the
# last bound is that of 22), and error by how many of 40
DESIGN = {1: (15.6, 16.9), 9: (18.4, None), 22: (23.8, 25.2)}
BIPARTITE = {0: 0.0, 4: 0.2, 10: 1.5}


def error(code: GradientCode, silent: Sequence[int]) -> float:
    """Return the squared error in slices of blocks; groups count as having half as many blocks."""
    alive = set(range(code.n_workers)).difference(silent)
    n_slices = code.n_workers if isinstance(code, SlicedRepetition) else 2 * code.n_blocks
    return n_slices * code.decode(code.available(alive)).error


def mean_error(code: GradientCode, n_silent: int, n_sets: int, seed: int) -> float:
    """Return the mean error of random silent workers."""
    rng = np.random.default_rng(seed)
    sets = (rng.choice(code.n_workers, n_silent, replace=False) for _ in range(n_sets))
    return float(np.mean([error(code, silent.tolist()) for silent in sets]))


def designs(n_sets: int) -> Iterator[dict[str, Any]]:
    """Yield what designs miss."""
    for name, make, n in (
        ("BIBD(91, 10, 1)", lambda seed: SlicedDesign.plane(9, seed), 91),
        ("Paley's graph, 89", lambda seed: SlicedDesign.squares(89, seed), 89),
    ):
        for n_silent, (figure, bound) in DESIGN.items():
            codes = [make(seed) for seed in range(max(2, n_sets // 10))]
            found = np.mean([mean_error(code, n_silent, 10, i) for i, code in enumerate(codes)])
            is_theirs = n == 91
            yield {
                "design": name,
                "of": 2 * n,
                "silent": n_silent,
                "published": figure if is_theirs else None,
                "measured": float(found),
                "published bound": bound if is_theirs else None,
                "our bound": 2 * n * codes[0].upper_bound(n_silent),
                "lower bound": 2 * n * codes[0].lower_bound(n_silent),
            }


def bipartite(n_sets: int) -> Iterator[dict[str, Any]]:
    """Yield what bipartite graphs miss, and what groups do."""
    rival = SlicedRepetition(42, 4, n_slices=2)
    graphs = [SlicedGraph(40, 6, 3, seed) for seed in range(10)]
    for n_silent, figure in BIPARTITE.items():
        rng = np.random.default_rng(n_silent)
        sets = [
            (code, rng.choice(40, n_silent, replace=False).tolist())
            for code in graphs
            for _ in range(max(2, n_sets // 10))
        ]
        yield {
            "silent": f"{n_silent}, random",
            "published, of 40": figure,
            "graph, of 40": float(np.mean([error(*one) for one in sets])),
            "the worst of these": max(error(*one) for one in sets),
            "mean upper bound": float(np.mean([40 * c.upper_bound(s) for c, s in sets])),
            "groups, of 42": mean_error(rival, n_silent, 20 * n_sets, n_silent),
        }
    for n_blocks in (1, 2):
        worst = max(error(code, silent) for code in graphs for silent in holders(code, n_blocks))
        yield {
            "silent": f"{6 * n_blocks}, all who hold {n_blocks} block(s)",
            "published, of 40": None,
            "graph, of 40": None,
            "the worst of these": worst,
            "mean upper bound": None,
            "groups, of 42": error(rival, range(6 * n_blocks)),
        }


def holders(code: SlicedGraph, n_blocks: int) -> Iterator[list[int]]:
    """Yield who holds some blocks, for blocks that have no holder in common."""
    for blocks in combinations(range(code.n_blocks), n_blocks):
        workers = {worker for block in blocks for worker in code.holders[block]}
        if len(workers) == n_blocks * code.degree:
            yield sorted(workers)


def fitted(client: Client, max_iter: int) -> Iterator[dict[str, Any]]:
    """Yield how far from the optimum fits end, in whose rounds some workers are silent."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 30))
    y = (X @ rng.normal(size=30) + rng.logistic(size=4000) > 0).astype(int)
    best = LogisticRegression(tol=1e-10, max_iter=1000).fit(X, y).coef_
    warnings.simplefilter("ignore", ConvergenceWarning)
    for code in (
        Uncoded(8),
        FractionalRepetition(8, 1),
        SlicedRepetition(8, 1),
        SlicedRepetition(8, 2, n_slices=2),
        SlicedGraph(8, 4, 4),
        SlicedDesign(8, (0, 1, 3)),
    ):
        model = CodedLogisticRegression(
            code=code,
            solver=GradientDescent(step=STEP),
            wait=Deadline(0.1),
            max_iter=max_iter,
            tol=1e-9,
            client=client,
        )
        with inject(client, FixedDelay(0.3, n_random=1)):
            model.fit(X, y)
        records = list(model.history_)
        yield {
            "code": repr(code),
            "load": code.load,
            "sent, of p": "1 / 2" if code.mixes else "1 / 2 to 1" if code.shares_sending else "1",
            "rounds": len(records),
            "mean error": float(np.mean([record.error for record in records])),
            "distance": float(np.linalg.norm(model.coef_ - best) / np.linalg.norm(best)),
        }


def draw(path: Path, n_sets: int) -> None:
    """Draw what is missed against how many are silent."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plane, n_seeds = SlicedDesign.plane(9), max(2, n_sets // 40)
    at = np.arange(1, 46, 4)
    found = [
        np.mean([mean_error(SlicedDesign.plane(9, seed), s, 3, seed) for seed in range(n_seeds)])
        for s in at
    ]
    left.plot(at / 91, found, "o-", label="measured")
    left.plot(at / 91, [182 * plane.upper_bound(s) for s in at], "--", label="upper bound")
    left.plot(
        at / 91, [182 * plane.lower_bound(s) for s in at], ":", label="lower bound, worst set"
    )
    published = [figure for figure, _ in DESIGN.values()]
    left.plot([n / 91 for n in DESIGN], published, "kx", label="published")
    left.set(title="BIBD(91, 10, 1)", ylabel="squared error, of 182")
    at = np.arange(0, 17, 2)
    graphs = [SlicedGraph(40, 6, 3, seed) for seed in range(n_seeds)]
    found = [np.mean([mean_error(c, s, 8, s) for c in graphs]) for s in at]
    rival = [mean_error(SlicedRepetition(42, 4, n_slices=2), s, 5 * n_sets, s) for s in at]
    right.plot(at / 40, found, "o-", label="bipartite graph")
    right.plot(at / 42, rival, "s-", label="groups, two slices")
    shares = [n / 40 for n in BIPARTITE]
    right.plot(shares, list(BIPARTITE.values()), "kx", label="published, graph")
    right.set(title="40 workers, three of 20 blocks each", ylabel="squared error, of 40 (42)")
    for ax in (left, right):
        ax.set(xlabel="share of workers that are silent")
        ax.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument(
        "--sets", type=at_least(10), default=200, help="of silent workers, for each mean"
    )
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    options = parser.parse_args()
    n_sets = 20 if options.quick else options.sets
    tables = {"Designs": list(designs(n_sets)), "Bipartite graphs": list(bipartite(n_sets))}
    with (
        LocalCluster(n_workers=8, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        tables["Fits on eight processes"] = list(fitted(client, 20 if options.quick else 150))
    write(options.out, "sliced_graph", tables)
    draw(options.out / "sliced_graph.png", n_sets)


if __name__ == "__main__":
    main()
