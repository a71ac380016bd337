"""What a worker that is frozen for good costs: the time of rounds with and without it.

    python examples/benchmarks/frozen.py --data PATH [--json PATH]

PATH is train.csv of Amazon employee access; n = 8, fractional repetition, s = 1, over a stream. In
turns, rounds are run while nobody is frozen and while one worker is stopped (SIGSTOP).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from distributed import Client, LocalCluster

from common import about, amazon
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.typing import Vector

BUDGETS = {"frozen / nobody": 1.1, "longest / median": 2.0}
N_WORKERS, TURNS, ROUNDS = 8, 6, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="train.csv of Amazon employee access")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    nobody, frozen = measure(arguments.data)
    # the first round of a turn may be the one in which the frozen worker is first missed
    steady = [took[1:] for took in frozen]
    one_frozen = median(seconds for took in steady for seconds in took)
    found = {
        "frozen / nobody": one_frozen / median(nobody),
        "longest / median": median(max(took) / median(took) for took in steady),
    }
    print(f"median round, nobody frozen {median(nobody) * 1e3:.1f} ms")
    print(f"median round, one frozen    {one_frozen * 1e3:.1f} ms")
    first = median(took[0] for took in frozen) * 1e3
    print(f"first round after freezing  {first:.1f} ms")
    for name, ratio in found.items():
        print(f"{name:<18}{ratio:>6.2f} (budget {BUDGETS[name]})")
    if arguments.json:
        result = {**about(), "nobody": median(nobody), "frozen": frozen, "ratio": found}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(path: str) -> tuple[list[float], list[list[float]]]:
    """Return the seconds of rounds while nobody is frozen, and by turns while one worker is."""
    X, _, y, _ = amazon.load(path)
    w = np.random.default_rng(0).normal(size=X.shape[1]) * 1e-3
    nobody: list[float] = []
    frozen: list[list[float]] = []
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(X, y, code=FractionalRepetition(N_WORKERS, 1)) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        pids = client.run(os.getpid)
        rounds(objective, w)
        for turn in range(TURNS):
            nobody += rounds(objective, w)
            pid = pids[data.addresses[turn % N_WORKERS]]
            os.kill(pid, signal.SIGSTOP)
            try:
                frozen.append(rounds(objective, w))
            finally:
                os.kill(pid, signal.SIGCONT)
            rounds(objective, w)  # it has caught up
    return nobody, frozen


def rounds(objective: ClusterObjective, w: Vector) -> list[float]:
    """Return the seconds of some rounds."""
    took = []
    for _ in range(ROUNDS):
        start = perf_counter()
        objective(w)
        took.append(perf_counter() - start)
    return took


if __name__ == "__main__":
    main()
