"""Workers that share what they compute, over links that lose some of it.

    python examples/papers/cooperative.py

Weng, Xiao, Ren and Skoglund, "Cooperative Gradient Coding", IEEE Transactions on Communications 73,
2025 (arXiv 2507.05230). Three experiments, each computed from a seed: how often a round of ten
workers can be decoded, against the closed formula, and how much of the others is left; gradient
descent for a ridge regression on ten blocks that have little in common; and ten processes of this
machine, which exchange gradients by Dask's transfers. Writes ``cooperative.json`` and
``cooperative.png`` beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from numpy.typing import NDArray
from report import write
from scipy.stats import binom

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, LossyLinks, inject
from dask_gradcode.codes import CooperativeRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Squared
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.rounds import Deadline, TooMuchLostError
from dask_gradcode.simulation import (
    ExchangeObjective,
    blocks_recovered,
    transmissions_needed,
)
from dask_gradcode.typing import Objective
from dask_gradcode.work import Block

Vector = NDArray[np.float64]

N = 10
PROBABILITIES = 0.1, 0.2, 0.4
STATED = {(0.1, 3): 0.530, (0.1, 7): 0.877, (0.4, 3): 0.000, (0.4, 7): 0.001}
ANY_STATED = {0.1: "1.00", 0.4: "0.80 to 0.90"}
"""Of plain decoding by the paper's formula, and of any sums with two transmissions."""


def outages(neighbours: Sequence[int], n_rounds: int) -> Iterator[dict[str, Any]]:
    """Yield how often rounds can be decoded, by the paper's formula and as they are drawn."""
    for p in PROBABILITIES:
        for s in neighbours:

            def drawn(n_transmissions: int, p: float = p, s: int = s, **given: bool) -> float:
                code = CooperativeRepetition(N, s, n_transmissions, **given)
                return float((transmissions_needed(code, LossyLinks(p), n_rounds) > 0).mean())

            yield {
                "p": p,
                "s": s,
                "stated": STATED.get((p, s)),
                "formula": float(binom.sf(N - s - 1, N, (1 - p) ** (s + 1))),
                "plain": drawn(1, complete_only=True),
                "any, 1 transmission": drawn(1),
                "plain, 2": drawn(2, complete_only=True),
                "any, 2": drawn(2),
                "any, 2, stated": ANY_STATED.get(p) if s in (3, 7) else None,
                "N uploads of 2 N arrive": float(binom.sf(N - 1, 2 * N, 1 - p)),
                "some block, 2": float((left := recovered(p, s, n_rounds)).astype(bool).mean()),
                "share of blocks, 2": float(left.mean() / N),
                "any, 4": drawn(4),
            }


def recovered(p: float, s: int, n_rounds: int) -> NDArray[np.intp]:
    """Return of how many blocks rounds of two transmissions have the exact sum."""
    code = CooperativeRepetition(N, s, 2, approximation="blocks")
    return blocks_recovered(code, LossyLinks(p), n_rounds)


@dataclass
class Problem:
    """Ridge regression on ten blocks, each with a mean and coefficients of its own."""

    blocks: dict[int, Block]
    alpha: float

    @classmethod
    def drawn(cls, rows: int = 40, n_features: int = 8) -> Problem:
        rng, blocks = np.random.default_rng(0), {}
        for i in range(N):
            X = rng.normal(2.0 * rng.normal(size=n_features), 1.0, size=(rows, n_features))
            blocks[i] = Block(X, X @ rng.normal(size=n_features) + rng.normal(size=rows))
        return cls(blocks, alpha=0.5)

    @property
    def X(self) -> Vector:
        return np.vstack([block.X for block in self.blocks.values()])

    @property
    def y(self) -> Vector:
        return np.concatenate([block.y for block in self.blocks.values()])

    def penalised(self, objective: Objective) -> Penalised:
        d = self.X.shape[1]
        return Penalised(objective, scale=1 / len(self.y), alpha=self.alpha, n_penalised=d)

    def descent(self, objective: Objective, n_rounds: int) -> tuple[list[float], int]:
        """Return how far gradient descent is after each round, and how many rounds were lost.

        A round that cannot be decoded leaves the point where it is, as in the paper.
        """
        X, y = self.X, self.y
        hessian = X.T @ X / len(y) + self.alpha * np.eye(X.shape[1])
        best = np.linalg.solve(hessian, X.T @ y / len(y))
        step, penalised = 1.0 / np.linalg.eigvalsh(hessian)[-1], self.penalised(objective)
        w, away, n_lost = np.zeros(best.size), list[float](), 0
        for _ in range(n_rounds):
            try:
                w = w - step * penalised(w).gradient
            except TooMuchLostError:
                n_lost += 1
            away.append(float(np.linalg.norm(w - best) / np.linalg.norm(best)))
        return away, n_lost


def descents(n_rounds: int) -> tuple[list[dict[str, Any]], dict[tuple[float, str], list[float]]]:
    """Return how far each scheme is after so many rounds, and all the way to there."""
    problem, rows, ways = Problem.drawn(), list[dict[str, Any]](), {}
    everything = InProcessObjective(Uncoded(N), problem.blocks, Squared())
    exact, _ = problem.descent(everything, n_rounds)
    for p in (0.1, 0.4):
        links = LossyLinks(p)

        def over(
            code: CooperativeRepetition, wait: Deadline | None = None, links: LossyLinks = links
        ) -> ExchangeObjective:
            return ExchangeObjective(code, problem.blocks, Squared(), links, wait)

        schemes: dict[str, Callable[[], Objective]] = {
            "no links fail": lambda: InProcessObjective(Uncoded(N), problem.blocks, Squared()),
            "plain, s = 7": lambda: over(CooperativeRepetition(N, 7, 1, complete_only=True)),
            "any sums, s = 7, 2 transmissions": lambda: over(CooperativeRepetition(N, 7, 2)),
            "any sums, s = 7, 2 transmissions, else single blocks": lambda: over(
                CooperativeRepetition(N, 7, 2, approximation="blocks"), Deadline(1e9)
            ),
            "any sums, s = 3, 2 transmissions, else single blocks": lambda: over(
                CooperativeRepetition(N, 3, 2, approximation="blocks"), Deadline(1e9)
            ),
            "any sums, s = 7, up to 8": lambda: over(CooperativeRepetition(N, 7, 8)),
            "what comes, scaled up, s = 0": lambda: over(
                CooperativeRepetition(N, 0, 1), Deadline(1e9)
            ),
        }
        for name, made in schemes.items():
            away, n_lost = problem.descent(made(), n_rounds)
            ways[p, name] = away
            rows.append(
                {
                    "p": p,
                    "scheme": name,
                    "rounds lost": n_lost,
                    "of": n_rounds,
                    "distance to the optimum": away[-1],
                    "times exact descent's": away[-1] / exact[-1],
                }
            )
    return rows, ways


def processes(n: int, s: int, size: int, n_rounds: int) -> Iterator[dict[str, Any]]:
    """Yield what rounds of real processes do, whose payloads are some numbers long."""
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(20 * n, size)), rng.normal(size=20 * n), np.zeros(size)
    gradient, uncoded = X.T @ (X @ w - y), Uncoded(n)
    cases: list[tuple[str, GradientCode, float]] = [
        ("uncoded", uncoded, 0.0),
        ("plain", CooperativeRepetition(n, s, 1, complete_only=True), 0.0),
        ("plain", CooperativeRepetition(n, s, 1, complete_only=True), 0.1),
        ("any, 2 transmissions", CooperativeRepetition(n, s, 2), 0.1),
        ("any, 2 transmissions", CooperativeRepetition(n, s, 2), 0.4),
        ("any, up to 8", CooperativeRepetition(n, s, 8), 0.4),
    ]
    with (
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for name, code, p in cases:
            links = LossyLinks(p, seed=1)
            drawn = None
            if isinstance(code, CooperativeRepetition):
                drawn = int((transmissions_needed(code, links, n_rounds) > 0).sum())
            with place(X, y, code=code, client=client) as data:
                data.wait(60)
                with (
                    inject(client, links),
                    ClusterObjective(data, Squared(), transport="tasks") as objective,
                ):
                    before = between_workers(client)
                    seconds, off, n_done = run(objective, w, gradient, n_rounds)
                    sent = between_workers(client) - before
            yield {
                "decoding": name,
                "p": p,
                "exact rounds": n_done,
                "as drawn": drawn,
                "of": n_rounds,
                "largest relative error": off,
                "ms a round": 1e3 * statistics.median(seconds),
                "payloads from worker to worker a round": sent / n_rounds / (8 * (size + 1)),
            }


def run(
    objective: ClusterObjective, w: Vector, gradient: Vector, n_rounds: int
) -> tuple[list[float], float, int]:
    seconds, off, n_done = list[float](), 0.0, 0
    for _ in range(n_rounds):
        began = perf_counter()
        try:
            found = objective(w).gradient
        except TooMuchLostError:
            found = None
        seconds.append(perf_counter() - began)
        if found is not None:
            n_done += 1
            off = max(off, float(np.linalg.norm(found - gradient) / np.linalg.norm(gradient)))
    return seconds, off, n_done


def between_workers(client: Client) -> int:
    """Return how many bytes workers have received from each other until now."""

    def received(dask_worker: Any) -> int:
        return sum(one["total"] for one in dask_worker.transfer_incoming_log)

    return sum(client.run(received).values())


def draw(
    rates: Sequence[dict[str, Any]], ways: dict[tuple[float, str], list[float]], path: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for p, colour in zip(PROBABILITIES, ("#1d6fb8", "#4d4d4d", "#f59e0b"), strict=True):
        mine = [row for row in rates if row["p"] == p]
        at = [row["s"] for row in mine]
        axes[0].plot(at, [row["formula"] for row in mine], "-", color=colour, label=f"p = {p}")
        axes[0].plot(at, [row["plain"] for row in mine], "o", color=colour, markersize=4)
        axes[0].plot(at, [row["any, 2"] for row in mine], "--", color=colour)
    axes[0].set(xlabel="neighbours s", ylabel="share of rounds decoded", ylim=(-0.03, 1.03))
    axes[0].set_title(
        "plain: formula, drawn (dots)\nany sums, 2 transmissions: dashed", fontsize=10
    )
    axes[0].legend(frameon=False, loc=(0.02, 0.14))
    for axis, p in zip(axes[1:], (0.1, 0.4), strict=True):
        for (of, name), away in ways.items():
            if of == p:
                style = "k:" if name == "no links fail" else "-"
                axis.semilogy(away, style, label=name, linewidth=1.6)
        axis.set(xlabel="round", ylabel="distance to the optimum")
        axis.set_title(f"ridge, ten blocks, p = {p}", fontsize=10)
    axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few rounds of each, for a look")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where files go")
    given = parser.parse_args(argv)
    quick = given.quick
    rates = list(outages((3, 7) if quick else range(1, N), 50 if quick else 2000))
    far, ways = descents(20 if quick else 150)
    n, s = (4, 2) if quick else (N, 3)
    real = list(processes(n, s, 1000 if quick else 20_000, 5 if quick else 60))
    tables = {
        f"Rounds of {N} workers that can be decoded": rates,
        "Gradient descent, ridge, ten blocks": far,
        f"{n} processes, {s} neighbours": real,
    }
    write(given.out, "cooperative", tables)
    draw(rates, ways, given.out / "cooperative.png")


if __name__ == "__main__":
    main()
