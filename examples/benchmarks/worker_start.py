"""What a fresh worker needs until its first message, beside one that only imports its libraries.

    python examples/benchmarks/worker_start.py [--repetitions 5] [--json PATH]

In turns, each time on a worker process of its own: ``bare`` imports numpy and scipy.sparse in its
first task (a Dask worker has imported distributed by then); ``coded`` has
1,000 x 20 dense rows placed on it and answers one round. Processor time and resident memory
(Linux's VmRSS) are those of the worker's process since it was started; seconds are counted on the
client from the moment that the worker is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from distributed import Client, LocalCluster

from common import about
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.losses import Logistic

BUDGETS = {"CPU s": 0.25, "MB": 20.0}
HEAVY = ("sklearn", "pandas", "scipy.stats", "scipy.optimize", "dask.array")


def bare(client: Client) -> None:
    """Import what any worker with arrays imports."""

    def imports() -> None:
        import numpy  # noqa: F401
        import scipy.sparse  # noqa: F401

    client.submit(imports, pure=False).result()


def coded(client: Client) -> None:
    """Place data and compute one message."""
    X = np.random.default_rng(0).standard_normal((1000, 20))
    with (
        place(X, (X[:, 0] > 0).astype(int), client=client) as data,
        ClusterObjective(data, Logistic()) as objective,
    ):
        objective(np.zeros(20))


@contextmanager
def fresh_worker(scheduler: str) -> Iterator[psutil.Process]:
    """Start a worker as from a shell: one of a LocalCluster would import this script."""
    worker = ["-m", "distributed.cli.dask_worker", scheduler, "--nthreads=1", "--no-nanny"]
    with subprocess.Popen([sys.executable, *worker], stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def measure(act: Callable[[Client], None]) -> dict[str, float]:
    """Do something on a fresh worker; return what it has cost, and what it has loaded."""

    def loaded() -> list[str]:
        import sys

        return [name for name in HEAVY if name in sys.modules]

    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        fresh_worker(cluster.scheduler_address) as worker,
    ):
        client.wait_for_workers(1)
        before = time.perf_counter()
        act(client)
        seconds = time.perf_counter() - before
        times, resident = worker.cpu_times(), worker.memory_info().rss
        for modules in client.run(loaded).values():
            if modules:
                print(f"{act.__name__} has loaded {modules}")
    return {"CPU s": times.user + times.system, "MB": resident / 1e6, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    runs: dict[str, list[dict[str, float]]] = {"bare": [], "coded": []}
    for _ in range(arguments.repetitions):
        runs["bare"].append(measure(bare))
        runs["coded"].append(measure(coded))
    found = {
        name: {what: median(run[what] for run in made) for what in made[0]}
        for name, made in runs.items()
    }
    print(f"{'':<10}{'bare':>8}{'coded':>8}{'more':>8}")
    for what in found["bare"]:
        more = found["coded"][what] - found["bare"][what]
        budget = f"  (budget {BUDGETS[what]:g})" if what in BUDGETS else ""
        print(
            f"{what:<10}{found['bare'][what]:>8.2f}{found['coded'][what]:>8.2f}{more:>8.2f}{budget}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**about(), "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
