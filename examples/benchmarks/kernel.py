"""How long a worker's pass over its rows takes, against SciPy's and NumPy's two products.

    python examples/benchmarks/kernel.py --data PATH [--json PATH]

PATH is train.csv of Amazon employee access. Sparse: value and gradient of the logistic loss over
all of the paper's training rows, against ``X @ w`` and ``X.T @ r`` by SciPy, which have no loss in
them. Dense: the same for 100,000 x 100, against NumPy's. In turns in this process, one BLAS thread.
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
from dask_gradcode.kernels import add_value_and_gradient
from dask_gradcode.losses import Logistic

BUDGETS = {"sparse": 0.85}
TURNS = 30


def compare(X: Any, y: np.ndarray) -> dict[str, float]:
    rng = np.random.default_rng(0)
    w, r, total = rng.normal(size=X.shape[1]) * 1e-3, rng.normal(size=len(y)), np.zeros(0)

    def ours() -> None:
        nonlocal total
        total = np.zeros(1 + w.size)
        add_value_and_gradient(Logistic(), X, y, None, w, 1.0, total)

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
    rng = np.random.default_rng(0)
    data = {
        "sparse": (X, y.astype(float), X.nnz),
        "dense": (rng.normal(size=(100_000, 100)), rng.integers(0, 2, 100_000) * 1.0, 10_000_000),
    }
    print(
        f"{'rows':<10}{'ours':>10}{'two products':>14}{'ours per value':>16}{'ratio':>7}{'budget':>8}"
    )
    rows = {}
    for name, (features, labels, n_values) in data.items():
        rows[name] = row = compare(features, labels)
        print(
            f"{name:<10}{row['ours'] * 1e3:>7.2f} ms{row['two_products'] * 1e3:>11.2f} ms"
            f"{row['ours'] / n_values * 1e9:>13.2f} ns{row['ratio']:>7.2f}{BUDGETS.get(name, '-'):>8}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**about(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
