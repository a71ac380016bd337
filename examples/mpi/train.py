"""Train on whatever cluster ``distributed.Client()`` finds, and print a digest of the result.

    dask-gradcode mpirun -n 6 examples/mpi/train.py               # synthetic data
    dask-gradcode mpirun -n 6 examples/mpi/train.py --data PATH   # the paper's: train.csv

Fractional repetition with s = 2: any two of the workers may be slow, frozen or dead, and the
coefficients keep their bits. It needs a number of workers that 3 divides.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import LBFGS, Solution
from dask_gradcode.typing import Evaluation, Objective, Vector

sys.path.insert(0, str(Path(__file__).parents[1]))  # for amazon.py
import amazon


@dataclass(frozen=True)
class Narrated(LBFGS):
    """L-BFGS that prints a line for every round."""

    def minimize(self, objective: Objective, w0: Vector, **options: Any) -> Solution:
        def narrated(w: Vector) -> Evaluation:
            seen = objective(w)
            record: Any = seen.record
            print(
                f"round {record.round}: value {seen.value:.6f}, {record.used.sum()} workers used, "
                f"{len(record.late)} late, {len(record.lost)} lost",
                flush=True,
            )
            return seen

        return super().minimize(narrated, w0, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="PATH", help="train.csv of Amazon employee access")
    path = parser.parse_args().data
    if path is None:
        X, y = synthetic()
        model = CodedLogisticRegression(solver=Narrated(), tol=1e-10, max_iter=1000)
    else:
        X, _, y, _ = amazon.load(path)
        model = CodedLogisticRegression(
            solver=Narrated(30), C=0.5, tol=1e-8, max_iter=1000, fit_intercept=False
        )
    with Client() as client:
        n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        with place(X, y, code=FractionalRepetition(n_workers, 2)) as data:
            model.fit(data)
    digest = hashlib.sha256(np.append(model.coef_, model.intercept_).tobytes()).hexdigest()
    print(f"coefficients sha256 {digest}")


def synthetic(n_samples: int = 20_000, n_features: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of overlapping classes, and features so correlated that L-BFGS has to work."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features)) * np.logspace(-0.6, 0.6, n_features)
    X = X @ np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    y = X @ rng.standard_normal(n_features) + 3 * rng.logistic(size=n_samples) > 0
    return X, y.astype(int)


if __name__ == "__main__":
    main()
