"""A whole fit on dense data: placement, rounds and all, against dask-ml and scikit-learn.

    python examples/benchmarks/fit.py [--rows 400000] [--json PATH]

Dense data of 100 features come to four worker processes of one thread; s = 1 and code="auto", which
is fractional repetition up to this size. References in the same run, in turns with ours:
persisting such a dask array (for placing one), scikit-learn's L-BFGS in one process with one BLAS
thread (for the rounds on placed data to the same objective value), and dask-ml's
``LogisticRegression(solver="lbfgs")`` on the persisted array (for ``fit`` including placement;
``pip install dask-ml``, else left out). ``anchors.py`` has Spark and xgboost as well, and what each
does when it loses a worker.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression

from common import about
from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.kernels import one_blas_thread

BUDGETS = {"placement / persist": 3.0, "rounds / scikit-learn": 1.0, "fit / dask-ml": 0.2}
TOL = 1e-6
N_FEATURES, N_WORKERS = 100, 4
CODE = "auto"
NAMES = ("persist", "placement", "rounds", "fit", "scikit_learn", "dask_ml")


def data_set(n_rows: int, seed: int) -> tuple[da.Array, da.Array]:
    """Return lazy features and labels, which nobody has computed yet if the seed is new."""
    rng = da.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_FEATURES), chunks=(n_rows // 8, -1))
    coef = np.random.default_rng(1).normal(size=N_FEATURES) / 5
    y = (X @ coef + rng.logistic(size=n_rows, chunks=n_rows // 8) > 0).astype(np.int8)
    return X, y


def value(X: np.ndarray, y: np.ndarray, model: Any) -> float:
    """Return scikit-learn's objective over its number of rows."""
    coef = np.ravel(model.coef_)
    margins = np.where(y == 1, 1.0, -1.0) * (X @ coef + np.ravel(model.intercept_)[0])
    return float((-log_expit(margins).sum() + 0.5 * coef @ coef) / len(y))


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    sleep(1.0)  # the workers free meanwhile what was let go before
    start = perf_counter()
    result = action()
    return perf_counter() - start, result


def dask_ml() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from dask_ml.linear_model import LogisticRegression as DaskML
        except ImportError:
            return None
    return DaskML


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    times: dict[str, list[float]] = {name: [] for name in NAMES}
    ours = CodedLogisticRegression(tol=TOL, code=CODE)
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        X, y = client.persist(data_set(arguments.rows, seed=0))
        wait([X, y])
        # from Dask it may come at an odd address, which makes scikit-learn six times slower
        in_memory = [
            np.require(a, requirements=["C", "A"]) for a in client.compute([X, y], sync=True)
        ]
        for turn in range(arguments.repeats):
            measure_placement(client, arguments.rows, turn, times)
            theirs = measure_fits(X, y, in_memory, ours, times)
    result = {**about(), **report(times)}
    gap = value(*in_memory, ours) - value(*in_memory, theirs)
    print(f"objective minus scikit-learn's, per row: {gap:.1e}; rounds: {len(ours.history_)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def measure_placement(
    client: Client, n_rows: int, turn: int, times: dict[str, list[float]]
) -> None:
    """Take the times of persisting and of placing what nobody has computed yet."""
    lazy = data_set(n_rows, seed=2 * turn + 1)
    took, copy = seconds(lambda: wait_for(client.persist(lazy)))
    times["persist"].append(took)
    del copy
    other = data_set(n_rows, seed=2 * turn + 2)
    took, data = seconds(lambda: place(*other, code=CODE))
    times["placement"].append(took)
    data.close()


def measure_fits(
    X: da.Array,
    y: da.Array,
    in_memory: list[np.ndarray],
    ours: CodedLogisticRegression,
    times: dict[str, list[float]],
) -> LogisticRegression:
    """Take the times of fits of the same model, and return scikit-learn's."""
    with place(X, y, code=CODE) as data:
        times["rounds"].append(seconds(lambda: ours.fit(data))[0])
    times["fit"].append(seconds(lambda: ours.fit(X, y))[0])
    in_memory[0].sum()  # what lay idle may have been paged out
    with one_blas_thread():
        took, theirs = seconds(lambda: LogisticRegression(tol=TOL).fit(*in_memory))
    times["scikit_learn"].append(took)
    if (DaskML := dask_ml()) is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = DaskML(solver="lbfgs", max_iter=100, C=1.0)
            times["dask_ml"].append(seconds(lambda: other.fit(X, y))[0])
    return theirs


def report(times: dict[str, list[float]]) -> dict[str, Any]:
    """Print the medians and their ratios, and return them."""
    medians = {name: median(took) if took else None for name, took in times.items()}
    ratios = {
        "placement / persist": (medians["placement"], medians["persist"]),
        "rounds / scikit-learn": (medians["rounds"], medians["scikit_learn"]),
        "fit / dask-ml": (medians["fit"], medians["dask_ml"]),
    }
    for name, took in medians.items():
        print(f"{name:<24}{'-' if took is None else f'{took:.3f} s'}")
    found: dict[str, float] = {}
    for name, (mine, reference) in ratios.items():
        if reference is None:
            print(f"{name:<24}dask-ml is not installed")
            continue
        found[name] = mine / reference
        print(f"{name:<24}{found[name]:.2f} (budget {BUDGETS[name]})")
    return {**medians, "ratio": found}


def wait_for(collection: Any) -> Any:
    wait(collection)
    return collection


if __name__ == "__main__":
    main()
