"""Train on four worker processes while one of them is frozen, and lose nothing.

    python examples/quickstart.py               # breast cancer data, which scikit-learn ships
    python examples/quickstart.py --data PATH   # the paper's: train.csv of Amazon employee access

The first fit is uncoded and nobody is frozen. The second is coded, and one worker is stopped
(SIGSTOP) from before its first round until after its last.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from distributed import Client, LocalCluster
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import amazon
from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.optimizers import LBFGS

TOL = 1e-10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="PATH", help="train.csv of Amazon employee access")
    path = parser.parse_args().data

    if path is None:
        X, y = load_breast_cancer(return_X_y=True)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
        model = CodedLogisticRegression(solver=LBFGS(30), tol=TOL, max_iter=1000)
    else:
        X, X_test, y, y_test = amazon.load(path)
        # the constant is one of the paper's features, so there is no separate intercept
        model = CodedLogisticRegression(
            solver=LBFGS(30), tol=TOL, max_iter=1000, C=0.5, fit_intercept=False
        )
    print(f"data:  {X.shape[0]:,} rows x {X.shape[1]:,} features")

    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        with place(X, y, code="uncoded") as data:
            uncoded = report("uncoded, nobody frozen", model.fit(data))
        with place(X, y, code="fractional", n_stragglers=1) as data:
            with frozen(client, data.addresses[0]):
                coded = report("coded, one worker frozen", model.fit(data))
            print(f"code:  {data.code}, each worker holds {data.code.load:.0%} of the data")

    reference = LogisticRegression(
        solver="newton-cg",
        tol=TOL,
        max_iter=1000,
        C=model.C,
        fit_intercept=model.fit_intercept,
    ).fit(X, y)
    difference = np.abs(model.coef_ - reference.coef_).max()
    print(f"time of a round, coded to uncoded: {coded / uncoded:.2f}")
    print(f"largest difference of a coefficient to scikit-learn's: {difference:.1e}")
    print(f"test AUC: {roc_auc_score(y_test, model.decision_function(X_test)):.4f}")


def report(title: str, model: CodedLogisticRegression) -> float:
    """Print what the rounds of a fit did and return the median time of one."""
    rounds = model.history_.columns
    median = float(np.median(rounds["seconds"]))
    used = Counter(rounds["n_used"])
    counts = ", ".join(f"{used[n]} used {n} workers" for n in sorted(used))
    print(f"{title}:")
    usual = f"{median * 1e3:.0f} ms" if median >= 1e-3 else f"{median * 1e6:.0f} µs"
    print(f"       {len(model.history_)} rounds, median {usual}; {counts}")
    answered = np.sum([np.isfinite(record.arrived_at) for record in model.history_], axis=0)
    print(f"       rounds that each worker answered: {answered.tolist()}")
    return median


@contextmanager
def frozen(client: Client, address: str) -> Iterator[None]:
    """Stop a worker process, as a machine that swaps or hangs would, and wake it at the end."""
    pid = client.run(os.getpid, workers=[address])[address]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        client.run(os.getpid, workers=[address])  # returns once it is awake


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"all of it took {time.perf_counter() - started:.0f} s")
