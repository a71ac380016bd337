"""What digests save a verified round, beside sums in full.

    python examples/benchmarks/digests.py [--numbers 1000 1000000] [--rounds 25]

Six workers on this machine, b = 1 and 2, ``FractionalRepetition(6, b)``. Rounds in which all send
their sums (``plan=Everybody()``) and rounds in which one of each group does (``Confirming``, as
``verify`` has it) take turns; workers compute next to nothing. Medians, and the median of the
ratios of neighbours.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.rounds import Everybody

N_WORKERS, WARM_UP = 6, 3


def half(w: np.ndarray, block: Any) -> tuple[float, np.ndarray]:
    """Return as many numbers as the point has, for little work."""
    return float(block.n_rows), w * 0.5


def seconds(objective: ClusterObjective, w: np.ndarray) -> float:
    began = time.perf_counter()
    objective(w)
    return time.perf_counter() - began


def compare(client: Client, b: int, n_numbers: int, n_rounds: int) -> tuple[float, float, float]:
    """Return seconds of a round in full, with digests, and their ratio."""
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(60, 3)), np.arange(60) % 2, rng.normal(size=n_numbers)
    with (
        place(X, y, code=FractionalRepetition(N_WORKERS, b), client=client) as data,
        ClusterObjective(data, half, verify=b, plan=Everybody()) as full,
        ClusterObjective(data, half, verify=b) as digests,
    ):
        took = [(seconds(full, w), seconds(digests, w)) for _ in range(WARM_UP + n_rounds)]
    took = took[WARM_UP:]
    first, second = zip(*took, strict=True)
    return median(first), median(second), median(two / one for one, two in took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    print("| numbers | b | in full | with digests | ratio |\n|---|---|---|---|---|")
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for n_numbers in options.numbers:
            for b in (1, 2):
                one, two, ratio = compare(client, b, n_numbers, options.rounds)
                print(
                    f"| {n_numbers:,} | {b} | {1e3 * one:.1f} ms | {1e3 * two:.1f} ms "
                    f"| {ratio:.2f} |"
                )


if __name__ == "__main__":
    main()
