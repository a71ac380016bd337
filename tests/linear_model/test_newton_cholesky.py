"""``solver="newton-cholesky"``: scikit-learn's coefficients in few rounds, whatever the scales."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode import (
    CodedHuberRegressor,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
)
from dask_gradcode.optimizers import NewtonCholesky
from dask_gradcode.typing import Matrix

NEWTON: dict[str, Any] = {"solver": "newton-cholesky", "tol": 1e-9}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Z = X @ [1.0, -1.0, 0.5, 0.0]
NOISE = RNG.logistic(size=300)
LABELS = {"binary": (Z + NOISE > 0).astype(int), "classes": np.digitize(Z + NOISE, [-1.0, 1.0])}
COUNTS = RNG.poisson(np.exp(0.5 * Z))
WEIGHT = RNG.integers(1, 4, 300).astype(float)


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", [np.asarray, csr_array, np.float32])
def test_logistic_regression_is_scikit_learns(
    y: Any, C: float, fit_intercept: bool, kind: Any
) -> None:
    rows = np.asarray(X, dtype=np.float32).astype(float)
    parameters = {"C": C, "fit_intercept": fit_intercept, "class_weight": "balanced", **NEWTON}
    theirs = LogisticRegression(**parameters).fit(rows, y, WEIGHT)
    ours = CodedLogisticRegression(**parameters).fit(kind(rows), y, WEIGHT)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-7)
    assert abs(ours.n_iter_[0] - theirs.n_iter_[0]) <= 1
    assert len(ours.history_) == ours.n_iter_[0] + 1


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_poisson_regression_is_scikit_learns(alpha: float, fit_intercept: bool) -> None:
    parameters = {"alpha": alpha, "fit_intercept": fit_intercept, **NEWTON}
    theirs = PoissonRegressor(**parameters).fit(X, COUNTS, WEIGHT)
    ours = CodedPoissonRegressor(**parameters).fit(X, COUNTS, WEIGHT)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-7)


def objective(model: Any, rows: Matrix, y: Any, C: float) -> float:
    z = rows @ model.coef_[0] + model.intercept_[0]
    lost = np.logaddexp(0.0, np.where(y == 1, -z, z)).mean()
    return float(lost + 0.5 * (model.coef_**2).sum() / (C * len(y)))


@pytest.mark.parametrize("C", [1.0, 1e4])
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_badly_scaled_and_far_columns_reach_the_best_that_scikit_learn_finds(
    C: float, mean: float
) -> None:
    rows, y = X * np.logspace(-6, 6, 4) + mean, LABELS["binary"]
    ours = CodedLogisticRegression(C=C, solver="newton-cholesky", tol=1e-7).fit(rows, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [
            objective(LogisticRegression(C=C, solver=solver, tol=1e-10).fit(rows, y), rows, y, C)
            for solver in ("lbfgs", "newton-cholesky")
        ]
    assert objective(ours, rows, y, C) <= min(theirs) * (1 + 1e-8)
    assert len(ours.history_) <= 10


def test_collinear_columns_are_left_to_lbfgs_as_in_scikit_learn() -> None:
    rows, y = np.column_stack([X, X[:, 0]]), LABELS["binary"]
    for model in (
        LogisticRegression(C=np.inf, **NEWTON),
        CodedLogisticRegression(C=np.inf, **NEWTON),
    ):
        with pytest.warns(LinAlgWarning, match=r"singular or very ill-conditioned .* to lbfgs"):
            model.fit(rows, y)
    alone = CodedLogisticRegression(C=np.inf, **NEWTON).fit(X, y)
    assert_allclose(model.coef_[0, 1:4], alone.coef_[0, 1:], atol=1e-6)
    assert_allclose(model.coef_[0, 0] + model.coef_[0, 4], alone.coef_[0, 0], atol=1e-6)


def test_too_many_parameters_are_refused_with_the_solver_that_takes_them() -> None:
    rows = np.zeros((4, 4096))
    with pytest.raises(ValueError, match=r"at most 4095 parameters.*got 4097, .*'lbfgs'"):
        CodedLogisticRegression(**NEWTON).fit(rows, [0, 1, 0, 1])


def test_models_without_second_derivatives_refuse_it() -> None:
    for model in (CodedHuberRegressor(**NEWTON), CodedRidge(**NEWTON)):
        with pytest.raises(InvalidParameterError, match=r"'solver' parameter .* must be a str"):
            model.fit(X, Z)
    with pytest.raises(TypeError, match=r"Huber.* has no second derivatives.*'lbfgs'"):
        CodedHuberRegressor(solver=NewtonCholesky()).fit(X, Z)


def test_with_l1_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes no L1 penalty .* solver='nesterov'"):
        CodedLogisticRegression(l1_ratio=0.5, **NEWTON).fit(X, LABELS["binary"])


def test_where_lbfgs_needs_more_iterations_it_names_newtons_method() -> None:
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2\)\. .*solver='newton-cholesky'"):
        CodedLogisticRegression(max_iter=2, tol=1e-9).fit(X, LABELS["binary"])


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path: Any) -> None:
    y = LABELS["classes"]
    whole = CodedLogisticRegression(**NEWTON).fit(X, y)
    saved = {"checkpoint": tmp_path, "checkpoint_every": 1, **NEWTON}
    with pytest.warns(ConvergenceWarning):
        CodedLogisticRegression(max_iter=2, **saved).fit(X, y)
    resumed = CodedLogisticRegression(**saved).fit(X, y)
    assert resumed.n_iter_ == whole.n_iter_
    assert resumed.coef_.tobytes() == whole.coef_.tobytes()
