"""Workers that lie, and fits in which they are found: what the experiments on them share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import LBFGS, Optimizer, Solution
from dask_gradcode.typing import Evaluation

__all__ = ["LIARS", "N_FEATURES", "N_WORKERS", "cluster", "data_set", "fitted", "n_rounds"]

N_WORKERS, N_FEATURES = 6, 100
LIARS: dict[str, dict[str, Any]] = {
    "random numbers": {"kind": "random"},
    "wrong sign": {"kind": "sign"},
    "one chunk": {"kind": "chunk"},
    "wrong copy of the rows": {"kind": "copy"},
    "truthful at first": {"kind": "chunk", "from_round": 5},
    "the same lie together": {"kind": "random", "together": True},
}


@contextmanager
def cluster() -> Iterator[Client]:
    """Six worker processes."""
    logging.getLogger("dask_gradcode").setLevel(logging.ERROR)  # it tells of every liar
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as workers,
        Client(workers) as client,
    ):
        yield client


def data_set(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of features of different scales, and classes that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, N_FEATURES)) * 10.0 ** rng.integers(-1, 2, N_FEATURES)
    y = X @ rng.standard_normal(N_FEATURES) / 10 + rng.logistic(size=n_rows) > 0
    return X, y.astype(int)


def fitted(
    data: Placement,
    verify: int | str,
    optimizer: Optimizer | None = None,
    points: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, ClusterObjective, dict[int, int]]:
    """Return coefficients, the objective, and who was expelled in which round.

    ``points`` gets the point of each round that is run, in order.
    """
    expelled: dict[int, int] = {}
    with ClusterObjective(data, Logistic(), verify=verify) as objective:

        def watched(w: np.ndarray) -> Evaluation:
            seen = objective(w)
            if seen.record is not None:  # it is run, and not told again after a lie
                expelled.update(dict.fromkeys(seen.record.expelled, seen.record.round))
                if points is not None:
                    points.append(w.copy())
            return seen

        scale = 1.0 / data.n_samples
        penalised = Penalised(watched, scale=scale, alpha=1e-4, n_penalised=N_FEATURES)

        def run() -> Solution:
            return (optimizer or LBFGS()).minimize(
                penalised, np.zeros(N_FEATURES), max_iter=40, tol=1e-6
            )

        found = objective.audited(run, lambda solution: solution.w)
    return found.w, objective, expelled


def n_rounds(objective: ClusterObjective) -> int:
    """Return how many rounds a fit took, those that were taken back included."""
    return 1 + max(log.number for log in objective.logs)
