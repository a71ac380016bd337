"""Mild, lasting stragglers, as on AWS: rounds of several schemes, simulated and on real workers.

    python examples/benchmarks/aws.py [--simulated 100] [--workers 12] [--rounds 100] [--json PATH]

The setting is that of DSAG (Severinson, Rosnes, El Rouayheb and Graell i Amat, IEEE Transactions on
Communications, 2023): bursts of 35 seconds on average, in which a worker is 10.3 % slower, on
workers of which the last are 40 % slower than the first. A step of their chain lasts 10 seconds;
here it is ten rounds.

The mean time of a round, in undisturbed uncoded ones, is shown beside ``n / sum(v)``: the work
divided as finely as one likes over workers of speed v, who are known, wherever the data are.
``fastest`` is uncoded and ignores the slowest tenth of the workers: its sums are approximate, all
others exact. Real workers sleep, so that those of a few cores behave like machines; the schemes
take turns there, a round each.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from common import about
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded
from dask_gradcode.rounds import Fastest
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import Combined, MarkovSlowdown, StragglerModel
from no_cost import REFERENCES, Scenario, Scheme, benches, declustered, row, sleeping


@dataclass(frozen=True)
class Uneven(StragglerModel):
    """The last workers are slower than the first for good."""

    most: float = 0.4

    def slowdowns(self, round: int, n_workers: int) -> np.ndarray:
        return 1.0 + self.most * np.arange(n_workers) / n_workers


AWS = Scenario("AWS", Combined([MarkovSlowdown(rounds_per_step=10), Uneven()]), typical=mean)
SCHEMES = (
    Scheme("uncoded", Uncoded),
    Scheme("fastest", Uncoded, wait=lambda n: Fastest(n - n // 10)),
    Scheme("fractional", lambda n: FractionalRepetition(n, 1)),
    Scheme("cyclic", lambda n: CyclicRepetition(n, 1)),
    Scheme("declustered", declustered),
)


def simulated(n: int, rounds: int) -> dict[str, Any]:
    """Return the mean time of a round of each scheme on the virtual clock."""
    found: dict[str, Any] = {"n": n, "scenario": "AWS, simulated"}
    for scheme in SCHEMES:
        history = simulate(
            scheme.code(n), AWS.model, wait=scheme.wait(n), n_rounds=rounds, work=float(n)
        )
        found[scheme.name] = mean(history.columns["seconds"])
    drawn = [AWS.slowdowns(number, n) for number in range(rounds)]
    return found | {"n / sum(v)": mean(map(REFERENCES["n / sum(v)"], drawn))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", type=int, default=100, help="workers on the virtual clock")
    parser.add_argument("--workers", type=int, default=12, help="real workers; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.1, help="seconds of an uncoded round")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    columns = [*(scheme.name for scheme in SCHEMES), "n / sum(v)"]
    print(f"{'n':>4}  {'':<16}", *(f"{name:>12}" for name in columns), sep="")
    rows = []

    def show(found: dict[str, Any]) -> None:
        rows.append(found)
        shown = (f"{found[name]:>12.2f}" for name in columns)
        print(f"{found['n']:>4}  {found['scenario']:<16}", *shown, sep="", flush=True)

    show(simulated(arguments.simulated, arguments.rounds))
    if n := arguments.workers:
        with benches(n, sleeping(arguments.share), arguments.rounds, SCHEMES) as bench:
            show(row(bench, AWS))
    if arguments.json:
        result = {**about(), **vars(arguments), "json": None, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
