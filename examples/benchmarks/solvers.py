"""Rounds, seconds and objective of each solver, on features of all scales, beside scikit-learn's.

    python examples/benchmarks/solvers.py [--rows 100000] [--data train.csv] [--frozen]

Logistic regression with C = 1 on placed data: four worker processes of one thread, fractional
repetition, s = 1; ``--frozen``: one of them is stopped (SIGSTOP) all along. Dense rows of 50
features, well scaled, with scales from 1e-3 to 1e3, and far from zero; and those features of the
paper's data that occur in a hundred rows, if its file is given. "Gap" is how far the objective is
above the lowest that any solver has found, relative to it; seconds are medians of fits in turns.
The budgets are ratios of newton-cholesky to L-BFGS on the columns as they are, which is scikit-
learn's; our "lbfgs" has them centred and scaled.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression

from common import amazon
from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.kernels import one_blas_thread
from no_cost import stopped

SOLVERS = ("lbfgs", "newton-cholesky", "nesterov")
BUDGETS = "budgets 0.10 and 0.33 where features are badly scaled"
N_FEATURES, TOL, MAX_ITER = 50, 1e-7, 2000
FREQUENT = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="train.csv of the paper's data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frozen", action="store_true", help="one worker is stopped all along")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # who has not converged shows in the gap
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for name, X, y in data_sets(args.rows, args.data):
            print(f"\n{name}: {X.shape[0]:,} x {X.shape[1]:,}")
            compare(X, y, client, args.repeats, args.frozen)


def data_sets(n_rows: int, path: Path | None) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, features and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES))
    X[:, 1:] += 0.5 * X[:, :-1]
    y = (X @ rng.normal(size=N_FEATURES) / 5 + rng.logistic(size=n_rows) > 0).astype(int)
    yield "well scaled", X, y
    yield "scales 1e-3 to 1e3", X * np.logspace(-3, 3, N_FEATURES), y
    yield "mean 1e6", X + 1e6, y
    if path is not None:
        X, _, y, _ = amazon.load(path)
        frequent = np.bincount(X.indices, minlength=X.shape[1]) >= FREQUENT
        yield "the paper's data, frequent features", X[:, np.flatnonzero(frequent)], y


def compare(X: Any, y: Any, client: Client, repeats: int, one_is_frozen: bool) -> None:
    """Print a line for each solver, and the ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in (*SOLVERS, "scikit-learn")}
    found: dict[str, tuple[float, int]] = {}
    with ExitStack() as stack:
        data = stack.enter_context(place(X, y, code=FractionalRepetition(4, 1), client=client))
        data.wait(60)
        if one_is_frozen:
            pid = client.run(os.getpid, workers=[data.addresses[0]])[data.addresses[0]]
            stack.enter_context(stopped(pid))
        for name in [*seconds] * repeats:
            began = perf_counter()
            if name == "scikit-learn":
                with one_blas_thread():
                    model: Any = LogisticRegression(tol=TOL, max_iter=MAX_ITER).fit(X, y)
                n_rounds = int(model.n_iter_[0])
            else:
                model = CodedLogisticRegression(solver=name, tol=TOL, max_iter=MAX_ITER).fit(data)
                n_rounds = len(model.history_)
            seconds[name].append(perf_counter() - began)
            found[name] = value(X, y, model), n_rounds
    least = min(lost for lost, _ in found.values())
    took = {name: median(each) for name, each in seconds.items()}
    print(f"{'solver':18s}{'rounds':>8s}{'seconds':>10s}{'gap':>10s}")
    for name, (lost, n_rounds) in found.items():
        print(f"{name:18s}{n_rounds:8d}{took[name]:10.3f}{lost / least - 1.0:10.1e}")
    for name in ("lbfgs", "scikit-learn"):
        rounds = found["newton-cholesky"][1] / found[name][1]
        ratio = took["newton-cholesky"] / took[name]
        print(f"newton-cholesky / {name}: rounds {rounds:.3f}, seconds {ratio:.2f}")
    print(f"({BUDGETS}, against scikit-learn)")


def value(X: Any, y: Any, model: Any) -> float:
    """Return scikit-learn's objective over its number of rows."""
    coef = np.ravel(model.coef_)
    margins = np.where(y == 1, 1.0, -1.0) * (X @ coef + model.intercept_[0])
    return float((-log_expit(margins).sum() + 0.5 * coef @ coef) / len(y))


if __name__ == "__main__":
    main()
