"""Train on whatever cluster ``distributed.Client()`` finds, and print a digest of the result.

    dask-gradcode mpirun -n 6 examples/mpi/train.py               # synthetic data
    dask-gradcode mpirun -n 6 examples/mpi/train.py --data PATH   # the paper's: train.csv
    dask-gradcode mpirun -n 6 examples/mpi/train.py --disturb     # one is killed, one frozen

Fractional repetition with s = 2: any two of the workers may be slow, frozen or dead, and the
coefficients keep their bits. It needs a number of workers that 3 divides.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, Future

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import LBFGS, Solution
from dask_gradcode.typing import Evaluation, Objective, Vector

sys.path.insert(0, str(Path(__file__).parents[1]))  # for amazon.py
import amazon


@dataclass(frozen=True)
class Narrated(LBFGS):
    """L-BFGS that prints a line for every round, and then does what it is told."""

    then: Callable[[int], object] | None = None

    def minimize(self, objective: Objective, w0: Vector, **options: Any) -> Solution:
        def narrated(w: Vector) -> Evaluation:
            seen = objective(w)
            record: Any = seen.record
            print(
                f"round {record.round}: value {seen.value:.6f}, {record.used.sum()} workers used, "
                f"{len(record.late)} late, {len(record.lost)} lost",
                flush=True,
            )
            if self.then is not None:
                self.then(record.round)
            return seen

        return super().minimize(narrated, w0, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="PATH", help="train.csv of Amazon employee access")
    parser.add_argument("--disturb", action="store_true", help="kill and freeze a worker each")
    parser.add_argument("--slowly", action="store_true", help="pause for 0.3 s after each round")
    arguments = parser.parse_args()
    with Client() as client:
        pids = client.run(os.getpid)
        for address, pid in pids.items():
            print(f"worker {address} has process id {pid}")
        orders: list[Future[None]] = []

        def between_rounds(round: int) -> None:
            if arguments.slowly:
                time.sleep(0.3)
            if arguments.disturb and round == 3:
                orders.extend(disturb(client, pids))

        if arguments.data is None:
            X, y = synthetic()
            solver, given = Narrated(then=between_rounds), {"tol": 1e-10}
        else:
            X, _, y, _ = amazon.load(arguments.data)
            solver = Narrated(30, between_rounds)
            given = {"C": 0.5, "tol": 1e-8, "fit_intercept": False}
        model = CodedLogisticRegression(solver=solver, max_iter=1000, **given)
        with place(X, y, code=FractionalRepetition(len(pids), 2)) as data:
            model.fit(data)
    digest = hashlib.sha256(np.append(model.coef_, model.intercept_).tobytes()).hexdigest()
    print(f"coefficients sha256 {digest}")


def disturb(client: Client, pids: dict[str, int]) -> list[Future[None]]:
    """Freeze a worker and kill another one; return once the scheduler has missed the latter."""
    frozen, killed, *_ = pids

    def send(address: str, signum: int) -> Future[None]:  # on whatever host it is
        return client.submit(os.kill, pids[address], signum, workers=[address], pure=False)

    orders = [send(frozen, signal.SIGSTOP), send(killed, signal.SIGKILL)]
    while killed in client.scheduler_info(n_workers=-1)["workers"]:
        time.sleep(0.05)
    print(f"process {pids[frozen]} has been frozen, process {pids[killed]} killed", flush=True)
    return orders


def synthetic(n_samples: int = 20_000, n_features: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of overlapping classes, and features so correlated that L-BFGS has to work."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features)) * np.logspace(-0.6, 0.6, n_features)
    X = X @ np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    y = X @ rng.standard_normal(n_features) + 3 * rng.logistic(size=n_samples) > 0
    return X, y.astype(int)


if __name__ == "__main__":
    main()
