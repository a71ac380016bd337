"""Elastic net by coded rounds against scikit-learn's saga and liblinear, and its own conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import GradientDescent, Nesterov
from helpers import assert_same_model, logistic_data, tight

X, Y = logistic_data(300, 8)
X[:, 5:] *= 0.1


def ours(**parameters: Any) -> CodedLogisticRegression:
    return tight(**{"solver": "nesterov", "tol": 1e-8, "max_iter": 20_000, **parameters})


def saga(**parameters: Any) -> LogisticRegression:
    return LogisticRegression(solver="saga", tol=1e-10, max_iter=100_000, **parameters)


def assert_same_zeros(ours: Any, theirs: Any) -> None:
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)
    assert 0 < np.count_nonzero(ours.coef_ == 0.0) < ours.coef_.size


@pytest.mark.parametrize("l1_ratio", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", ["nesterov", "gradient-descent", Nesterov(step=1.0)], ids=repr)
def test_two_classes_are_sagas(l1_ratio: float, fit_intercept: bool, solver: Any) -> None:
    parameters = {"C": 0.05, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    model, theirs = (m.fit(X, Y) for m in (ours(solver=solver, **parameters), saga(**parameters)))
    assert_same_model(model, theirs, atol=1e-5)
    assert_same_zeros(model, theirs)


def test_without_an_intercept_it_is_liblinears() -> None:
    parameters = {"C": 0.05, "l1_ratio": 1.0, "fit_intercept": False}
    theirs = LogisticRegression(solver="liblinear", tol=1e-10, max_iter=10_000, **parameters)
    model = ours(**parameters).fit(X, Y)
    assert_allclose(model.coef_, theirs.fit(X, Y).coef_, atol=1e-5)
    assert_same_zeros(model, theirs)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize(("C", "l1_ratio"), [(0.1, 1.0), (0.05, 0.5)])
def test_any_number_of_classes_is_sagas(load: Any, C: float, l1_ratio: float) -> None:
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = ours(C=C, l1_ratio=l1_ratio).fit(X, y)
    theirs = saga(C=C, l1_ratio=l1_ratio).fit(X, y)
    assert_same_model(model, theirs, atol=1e-4)
    assert_same_zeros(model, theirs)


@pytest.mark.parametrize("weight", [None, np.arange(300.0) % 4], ids=["", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_the_stopping_rule_is_the_optimality_condition(weight: Any, form: Any) -> None:
    C, l1_ratio, tol = 0.05, 0.6, 1e-6
    model = ours(C=C, l1_ratio=l1_ratio, tol=tol, class_weight={1: 2.0}).fit(form(X), Y, weight)
    row = (np.ones(300) if weight is None else weight) * np.where(Y == 1, 2.0, 1.0)
    w = model.coef_[0]
    residual = row * (model.predict_proba(X)[:, 1] - Y)
    gradient = C * X.T @ residual + (1 - l1_ratio) * w
    limit = tol * C * row.sum() * (1 + 1e-9)
    assert abs(C * residual.sum()) <= limit
    assert (abs(gradient[w == 0]) <= l1_ratio + limit).all()
    assert (abs(gradient + l1_ratio * np.sign(w))[w != 0] <= limit).all()
    assert 0 < (w == 0).sum() < 8


def test_the_history_tells_of_the_whole_objective() -> None:
    C, l1_ratio = 0.05, 0.5
    model = ours(C=C, l1_ratio=l1_ratio).fit(X, Y)
    p, w = model.predict_proba(X)[np.arange(300), Y], model.coef_
    penalty = l1_ratio * abs(w).sum() + 0.5 * (1 - l1_ratio) * (w**2).sum()
    objective = (penalty - C * np.log(p).sum()) / (C * 300)
    frame = model.history_.to_frame()
    assert_allclose(frame.value.min(), objective, rtol=1e-9)
    assert frame.grad_norm.min() <= 1e-8
    assert len(frame) > model.n_iter_[0]  # every trial point is a round, and each is on record


def test_no_penalty_at_all_and_all_of_it() -> None:
    plain = tight().fit(X, Y)
    assert_same_model(ours(l1_ratio=0.0).fit(X, Y), plain, atol=1e-5)
    free = ours(C=np.inf, l1_ratio=1.0).fit(X, Y)
    assert_same_model(free, tight(C=np.inf).fit(X, Y), atol=1e-4)
    assert not ours(C=1e-6, l1_ratio=1.0).fit(X, Y).coef_.any()


def test_a_search_over_l1_ratio_and_a_warm_start() -> None:
    grid = {"l1_ratio": [0.0, 0.5, 1.0], "C": [0.05, 0.5]}
    search = GridSearchCV(ours(tol=1e-6), grid, cv=3).fit(X, Y)
    expected = GridSearchCV(saga(), grid, cv=3).fit(X, Y)
    assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], atol=0.01
    )
    model = ours(C=0.05, l1_ratio=1.0, warm_start=True).fit(X, Y)
    assert model.fit(X, Y).n_iter_[0] == 0
    plain = model.to_sklearn()
    assert (plain.l1_ratio, plain.solver) == (1.0, "saga")
    assert_array_equal(plain.predict(X), model.predict(X))


@pytest.mark.cluster
def test_on_a_cluster_it_takes_the_same_steps(client: Client) -> None:
    sparse = np.where(np.random.default_rng(0).random((300, 8)) < 0.5, X, 0.0)
    for rows in (X, csr_array(sparse)):
        parameters = {"C": 0.1, "l1_ratio": 0.7, "code": FractionalRepetition(4, 1)}
        remote = ours(client=client, **parameters).fit(rows, Y)
        assert remote.history_.transport == "stream"
        theirs = saga(C=0.1, l1_ratio=0.7).fit(rows, Y)
        assert_same_model(remote, theirs, atol=1e-5)
        assert_array_equal(remote.coef_ == 0, theirs.coef_ == 0)


def test_gradient_descent_with_a_schedule_is_the_proximal_method() -> None:
    model = ours(solver=GradientDescent(step=lambda t: 1.0), C=0.05, l1_ratio=1.0).fit(X, Y)
    assert_same_model(model, saga(C=0.05, l1_ratio=1.0).fit(X, Y), atol=1e-5)
