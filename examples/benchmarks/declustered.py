"""What spread, leaves and stragglers of declustered repetition cost and bring, on a virtual clock.

    python examples/benchmarks/declustered.py [--workers 20] [--rounds 200] [--message 0] [--json P]

The first table has the mean time of a round, in shares: what a worker has without a code. ``plan``
is hedging, which knows nothing of the rounds before; so a worker that is slow for good is news in
every round. ``bound`` is ``n / sum(v)``: the work divided as finely as one likes over workers of
speed v, who are known, wherever the data are. The second table says of all pairs and triples of
workers which share leaves the sum incomplete if all of them are lost at once, until their data are
placed anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np

from common import about
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.rounds import Hedging, InsufficientWorkersError
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import Combined, NeverAnswers, Slowdown, StragglerModel
from dask_gradcode.stragglers.drawn import RandomSlowdown

MOST = 20_000  # sets of workers that are tried


@dataclass(frozen=True, kw_only=True)
class Jitter(RandomSlowdown):
    """Everybody is slower by up to 10 %, another time in each round."""

    def draw(self, rng: np.random.Generator, n_workers: int) -> np.ndarray:
        return 1.0 + 0.1 * rng.random(n_workers)


@dataclass(frozen=True, kw_only=True)
class Pareto(RandomSlowdown):
    """Everybody is slower by a factor with a heavy tail."""

    def draw(self, rng: np.random.Generator, n_workers: int) -> np.ndarray:
        return 1.0 + rng.pareto(2.0, n_workers)


MODELS: Mapping[str, StragglerModel] = {
    "10 % jitter": Jitter(),
    "10 % of workers 8x": Combined([Jitter(), Slowdown(8.0, probability=0.1)]),
    "1 % of workers 8x": Combined([Jitter(), Slowdown(8.0, probability=0.01)]),
    "2 workers 3x": Combined([Jitter(), Slowdown(3.0, n_random=2)]),
    "1 worker dead": Combined([Jitter(), NeverAnswers(workers=[3])]),
    "Pareto(2)": Pareto(),
}


def codes(n: int) -> dict[str, GradientCode]:
    """Return the codes that fit, by what a column can say of them."""
    found: dict[str, GradientCode] = {"uncoded": Uncoded(n), "cyclic 1": CyclicRepetition(n, 1)}
    found |= {f"group {s}": FractionalRepetition(n, s) for s in (1, 3) if n % (s + 1) == 0}
    if n % 2 == 0:
        found["d group"] = DeclusteredRepetition(n, 1, "group")
    for s, spread, leaves in [(1, 1, 8), (1, 4, 8), (1, 4, 16), (1, 8, 8), (1, 16, 16), (2, 4, 8)]:
        found[f"d {s} {spread}/{leaves}"] = DeclusteredRepetition(n, s, spread, leaves)
    return found


def lasts(code: GradientCode, model: StragglerModel, rounds: int, message: float) -> float:
    """Return the mean time of a round; inf if one never ends."""
    n = code.n_workers
    try:
        history = simulate(
            code, model, plan=Hedging(), n_rounds=rounds, work=float(n), overhead=message
        )
    except InsufficientWorkersError:
        return float("inf")
    return float(np.mean(history.columns["seconds"]))


def bound(model: StragglerModel, n: int, rounds: int) -> float:
    """Return the mean of ``n / sum(v)``."""
    times = []
    for number in range(rounds):
        slow = model.slowdowns(number, n) * np.where(np.isinf(model.delays(number, n)), np.inf, 1)
        times.append(n / (1.0 / slow).sum())
    return float(np.mean(times))


def undecodable(code: GradientCode, n_lost: int) -> float:
    """Return the share of sets of workers without which the sum is incomplete."""
    n = code.n_workers
    sets = list(islice(combinations(range(n), n_lost), MOST))
    fatal = sum(not code.can_decode(code.available(set(range(n)).difference(s))) for s in sets)
    return fatal / len(sets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--message", type=float, default=0.0, help="cost of a message, in shares")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()
    n, rows = arguments.workers, list[dict[str, Any]]()
    tried = codes(n)

    def show(name: str, figures: Mapping[str, float], form: str) -> None:
        rows.append({"row": name, **figures})
        print(f"{name:<20}", *(f"{figure:>10{form}}" for figure in figures.values()), flush=True)

    print(f"{'rounds, in shares':<20}", *(f"{name:>10}" for name in tried), f"{'bound':>10}")
    for name, model in MODELS.items():
        figures = {
            column: lasts(code, model, arguments.rounds, arguments.message)
            for column, code in tried.items()
        }
        show(name, figures | {"bound": bound(model, n, arguments.rounds)}, ".2f")
    print(f"\n{'incomplete without':<20}", *(f"{name:>10}" for name in tried))
    for n_lost, name in (2, "any two"), (3, "any three"):
        show(name, {column: undecodable(code, n_lost) for column, code in tried.items()}, ".1%")
    if arguments.json:
        result = {**about(), **vars(arguments), "json": None, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
