"""How long a worker's pass over its rows takes, against SciPy's and NumPy's two products.

    python examples/benchmarks/kernel.py --data PATH [--json PATH]

PATH is train.csv of Amazon employee access. Sparse: value and gradient of the logistic loss over
the rows of one of 8 workers (s = 1), as its shard holds them, against SciPy's ``X @ w`` and
``X.T @ r`` with the same rows, which have no loss in them. Dense: the same for 100,000 x 100,
against NumPy's products. In turns in this process, one BLAS thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from common import about, amazon
from dask_gradcode.cluster.columns import compact
from dask_gradcode.kernels import add_value_and_gradient
from dask_gradcode.losses import Logistic

BUDGETS = {"sparse": 0.85}
TURNS = 30


def compare(X: Any, held: Any, y: np.ndarray) -> dict[str, float]:
    rng = np.random.default_rng(0)
    w, r = rng.normal(size=X.shape[1]) * 1e-3, rng.normal(size=len(y))
    w_held, total = np.resize(w, held.shape[1]), np.zeros(1 + held.shape[1])

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
    return {**found, "ratio": found["ours"] / found["two_products"]}


def seconds(action: Callable[[], Any]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="train.csv of Amazon employee access")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    X, _, y, _ = amazon.load(arguments.data)
    n_rows = 2 * len(y) // 8
    [held], _ = compact([X[:n_rows]])
    dense, labels = np.random.default_rng(0).normal(size=(100_000, 100)), np.arange(100_000) % 2.0
    data = {
        "sparse": (X[:n_rows], held, y[:n_rows].astype(float), held.nnz),
        "dense": (dense, dense, labels, dense.size),
    }
    print(f"{'rows':<10}{'ours':>10}{'two products':>14}{'per value':>12}{'ratio':>7}{'budget':>8}")
    rows = {}
    for name, (features, held, targets, n_values) in data.items():
        rows[name] = row = compare(features, held, targets)
        print(
            f"{name:<10}{row['ours'] * 1e3:>7.2f} ms{row['two_products'] * 1e3:>11.2f} ms"
            f"{row['ours'] / n_values * 1e9:>9.2f} ns{row['ratio']:>7.2f}"
            f"{BUDGETS.get(name, '-'):>8}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**about(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
