"""The paper's own data set: scikit-learn's optimum, reached while one worker is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode
from dask_gradcode.optimizers import LBFGS
from helpers import frozen, pid_of

HERE = Path(__file__).parents[2]
DATA = HERE.parent / "shared/data/amazon-employee-access/train.csv"
C = 0.5

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.exists(), reason=f"needs the Amazon data at {DATA}"),
]


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest) -> tuple[Any, Any, float]:
    """Features, labels and the value of the objective at its minimum, by scikit-learn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE / "examples")
        import amazon
    X, _, y, _ = amazon.load(DATA)
    best = LogisticRegression(
        solver="newton-cg", C=C, tol=1e-10, max_iter=1000, fit_intercept=False
    ).fit(X, y)
    return X, y, objective(X, y, best.coef_[0])


def objective(X: Any, y: Any, coef: Any) -> float:
    margins = np.where(y == 1, 1.0, -1.0) * (X @ coef)
    return float(-C * log_expit(margins).sum() + 0.5 * coef @ coef)


@pytest.mark.parametrize("code", [FractionalRepetition(6, 1), CyclicRepetition(6, 1)], ids=repr)
def test_scikit_learns_optimum_is_reached_with_a_frozen_worker(
    data: tuple[Any, Any, float], code: GradientCode
) -> None:
    X, y, best = data
    model = CodedLogisticRegression(
        C=C, tol=1e-8, max_iter=1000, fit_intercept=False, solver=LBFGS(30)
    )
    with (
        LocalCluster(n_workers=6, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(X, y, code=code) as placed,
    ):
        with frozen(pid_of(client, placed.addresses[2])):
            coef = model.fit(placed).coef_[0]
        assert abs(objective(X, y, coef) - best) <= 1e-8 * best
        if isinstance(code, FractionalRepetition):
            assert model.fit(placed).coef_[0].tobytes() == coef.tobytes()
