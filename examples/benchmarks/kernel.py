"""How long a worker's pass over its rows takes, against SciPy's and NumPy's two products.

    python examples/benchmarks/kernel.py --data PATH [--json PATH]

PATH is train.csv of Amazon employee access. Sparse: value and gradient of the logistic loss over
the rows of one of 8 workers (s = 1), with their columns renumbered, against SciPy's ``X @ w`` and
``X.T @ r`` with the same rows, which have no loss in them. One-hot: these rows as a shard holds
them, without their values, which are all one. Dense: the same for 100,000 x 100, against NumPy's
products. In turns in one process, one BLAS thread, in several fresh processes:
where the allocator puts the products' results differs between them, and may double their time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from common import about, amazon
from dask_gradcode.cluster.data.columns import compact
from dask_gradcode.kernels import add_value_and_gradient, one_for_all
from dask_gradcode.losses import Logistic
from dask_gradcode.payloads import Statistic

BUDGETS = {"sparse": 0.85, "one-hot": 0.85}
PROCESSES = 9
TURNS = 30


def compare_both(path: str) -> dict[str, dict[str, float]]:
    X, _, y, _ = amazon.load(path)
    n_rows = 2 * len(y) // 8
    [held], _ = compact([X[:n_rows]])
    dense, labels = np.random.default_rng(0).normal(size=(100_000, 100)), np.arange(100_000) % 2.0
    return {
        "sparse": compare(X[:n_rows], held, y[:n_rows].astype(float), held.nnz),
        "one-hot": compare(X[:n_rows], one_for_all(held), y[:n_rows].astype(float), held.nnz),
        "dense": compare(dense, dense, labels, dense.size),
    }


def compare(X: Any, held: Any, y: np.ndarray, n_values: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    w, r = rng.normal(size=X.shape[1]) * 1e-3, rng.normal(size=len(y))
    w_held, total = np.resize(w, held.shape[1]), np.zeros(Statistic(held.shape[1]).size)

    def ours() -> None:
        total[:] = 0.0
        add_value_and_gradient(Logistic(), held, y, None, w_held, 1.0, total)

    def two_products() -> None:
        X @ w, X.T @ r

    times: dict[str, list[float]] = {"ours": [], "two_products": []}
    with threadpool_limits(1):
        for _ in range(TURNS):
            times["ours"].append(seconds(ours))
            times["two_products"].append(seconds(two_products))
    found = {name: median(took) for name, took in times.items()}
    return {
        **found,
        "per_value": found["ours"] / n_values,
        "ratio": found["ours"] / found["two_products"],
    }


def seconds(action: Callable[[], Any]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="train.csv of Amazon employee access")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    runs = []
    for _ in range(PROCESSES):
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            runs.append(fresh.submit(compare_both, arguments.data).result())
    print(
        f"{'rows':<10}{'ours':>10}{'two products':>14}{'per value':>12}{'ratio':>7}"
        f"{'of the processes':>18}{'budget':>8}"
    )
    rows = {}
    for name in runs[0]:
        of_processes = [run[name] for run in runs]
        rows[name] = row = {key: median(r[key] for r in of_processes) for key in of_processes[0]}
        ratios = sorted(r["ratio"] for r in of_processes)
        print(
            f"{name:<10}{row['ours'] * 1e3:>7.2f} ms{row['two_products'] * 1e3:>11.2f} ms"
            f"{row['per_value'] * 1e9:>9.2f} ns{row['ratio']:>7.2f}"
            f"{f'{ratios[0]:.2f} to {ratios[-1]:.2f}':>18}{BUDGETS.get(name, '-'):>8}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**about(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
