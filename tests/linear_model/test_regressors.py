"""Ridge, Huber and generalised linear regression against their scikit-learn twins."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.linear_model._huber import _huber_loss_and_gradient
from sklearn.model_selection import GridSearchCV, cross_val_score

from dask_gradcode import (
    CodedGammaRegressor,
    CodedHuberRegressor,
    CodedPoissonRegressor,
    CodedRidge,
    CodedTweedieRegressor,
    place,
)
from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from helpers import frozen, pid_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 5))
LINEAR = X @ [1.0, -2.0, 0.5, 0.0, 3.0] + 4.0
WEIGHT = RNG.integers(0, 4, 240).astype(float)
NOISY = LINEAR + RNG.standard_t(df=2, size=240)
COUNTS = RNG.poisson(np.exp(0.3 * LINEAR - 1.0)).astype(float)
AMOUNTS = 1.0 + np.exp(0.1 * LINEAR) * RNG.gamma(3.0, 1 / 3, 240)

TIGHT = {"tol": 1e-8, "max_iter": 5000}
TWINS: dict[str, tuple[Any, Any, Any]] = {
    "ridge": (CodedRidge(alpha=2.0), Ridge(alpha=2.0, solver="cholesky"), NOISY),
    "least squares": (CodedRidge(alpha=0.0), Ridge(alpha=0.0, solver="svd"), NOISY),
    "Poisson": (
        CodedPoissonRegressor(alpha=0.1),
        PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-12),
        COUNTS,
    ),
    "Poisson, free": (
        CodedPoissonRegressor(alpha=0.0),
        PoissonRegressor(alpha=0.0, solver="newton-cholesky", tol=1e-12),
        COUNTS,
    ),
    "Gamma": (
        CodedGammaRegressor(alpha=0.1),
        GammaRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-12),
        AMOUNTS,
    ),
    "Tweedie": (
        CodedTweedieRegressor(power=1.5, alpha=0.1),
        TweedieRegressor(power=1.5, alpha=0.1, solver="newton-cholesky", tol=1e-12),
        np.where(RNG.random(240) < 0.2, 0.0, AMOUNTS),
    ),
    "Huber": (CodedHuberRegressor(alpha=0.5), HuberRegressor(alpha=0.5), NOISY),
    "Huber, close": (
        CodedHuberRegressor(epsilon=3.0),
        HuberRegressor(epsilon=3.0),
        LINEAR + 0.01 * RNG.normal(size=240),  # the scale is far below 1
    ),
}
every_twin = pytest.mark.parametrize("name", TWINS)


def twins(name: str, **parameters: Any) -> tuple[Any, Any, Any]:
    ours, theirs, y = TWINS[name]
    return clone(ours).set_params(**TIGHT, **parameters), clone(theirs), y


def assert_same(ours: Any, theirs: Any) -> None:
    # scikit-learn's Huber stops where the value falls by less than 1e-9: 1e-4 off
    atol = 1e-3 if isinstance(theirs, HuberRegressor) else 1e-6
    assert_allclose(ours.coef_, theirs.coef_, atol=atol)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=atol)
    assert type(ours.intercept_) is np.float64 or not ours.fit_intercept
    assert ours.coef_.shape == theirs.coef_.shape
    if isinstance(theirs, HuberRegressor):
        assert_allclose(ours.scale_, theirs.scale_, atol=atol)


@pytest.mark.parametrize(
    ("name", "fit_intercept"),
    [(name, True) for name in TWINS]
    + [(name, False) for name in TWINS if "close" not in name],  # nothing is, without one
)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_coefficients_are_scikit_learns(
    name: str, weight: Any, fit_intercept: bool, form: Any
) -> None:
    ours, theirs, y = twins(name)
    # always dense rows for scikit-learn, whose exact solvers take no others
    for model, rows in ((ours, form(X)), (theirs, X)):
        model.set_params(fit_intercept=fit_intercept).fit(rows, y, sample_weight=weight)
    assert_same(ours, theirs)
    assert_allclose(ours.predict(form(X)), theirs.predict(X), rtol=1e-2, atol=1e-2)
    expected = theirs.score(X, y, weight)
    assert ours.score(form(X), y, weight) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "solver"),
    [(name, "nesterov") for name in TWINS]
    + [(name, "gradient-descent") for name in TWINS if "close" not in name],  # too slow there
)
def test_every_solver_ends_at_the_same_place(name: str, solver: str) -> None:
    ours, _, y = twins(name)
    other = clone(ours).set_params(solver=solver, tol=1e-6, max_iter=50_000)
    assert_allclose(other.fit(X, y).coef_, ours.fit(X, y).coef_, atol=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("epsilon", [1.1, 1.35, 4.0])  # at 1 the scale is 0
def test_hubers_objective_is_scikit_learns_and_smaller(epsilon: float, weight: Any) -> None:
    model = CodedHuberRegressor(epsilon=epsilon, alpha=0.3, **TIGHT).fit(X, NOISY, weight)
    w = np.array([*model.coef_, model.intercept_, model.scale_])
    row = np.ones(240) if weight is None else weight
    value, gradient = _huber_loss_and_gradient(w, X, NOISY, epsilon, 0.3, row)
    assert abs(gradient).max() <= 1e-5
    theirs = HuberRegressor(epsilon=epsilon, alpha=0.3).fit(X, NOISY, weight)
    there = np.array([*theirs.coef_, theirs.intercept_, theirs.scale_])
    assert value <= _huber_loss_and_gradient(there, X, NOISY, epsilon, 0.3, row)[0]


def test_no_penalty_is_linear_regression_whatever_the_scales() -> None:
    wild = X * [1e-3, 1.0, 50.0, 1e3, 1.0] + [0.0, 100.0, 0.0, 0.0, -5.0]
    best = np.linalg.lstsq(np.column_stack([wild, np.ones(240)]), NOISY, rcond=None)[0]
    ours = CodedRidge(alpha=0).fit(wild, NOISY)
    assert_allclose(ours.coef_, best[:5], rtol=1e-5)
    assert_allclose(ours.intercept_, best[5], rtol=1e-5)
    theirs = LinearRegression().fit(X, NOISY)
    assert_allclose(CodedRidge(alpha=0).fit(X, NOISY).coef_, theirs.coef_, rtol=1e-6)


def test_defaults_are_close_to_scikit_learns() -> None:
    X, y = load_diabetes(return_X_y=True)
    assert_allclose(CodedRidge().fit(X, y).coef_, Ridge().fit(X, y).coef_, rtol=1e-4)
    ours, theirs = CodedPoissonRegressor().fit(X, y), PoissonRegressor(tol=1e-10).fit(X, y)
    assert ours.n_iter_ < theirs.n_iter_  # its columns are scaled
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4)


@every_twin
def test_whole_numbers_and_float32_are_targets_too(name: str) -> None:
    ours, theirs, y = twins(name)
    for convert in (lambda y: np.rint(y).astype(int), lambda y: y.astype(np.float32), list):
        if "close" in name and convert is not list:
            continue
        assert_same(ours.fit(X, convert(y)), theirs.fit(X, convert(y)))


@every_twin
def test_a_plain_model_comes_out_and_a_warm_start_goes_on(name: str) -> None:
    ours, theirs, y = twins(name, warm_start=True)
    frame = pd.DataFrame(X, columns=list("abcde"))
    plain = ours.fit(frame, y).to_sklearn()
    assert type(plain) is type(theirs)
    assert plain.alpha == ours.alpha
    assert_allclose(plain.predict(frame), ours.predict(frame), rtol=1e-12)
    assert plain.score(frame, y) == pytest.approx(ours.score(frame, y))
    assert ours.fit(frame, y).n_iter_ <= 1
    twin = pickle.loads(pickle.dumps(ours))
    assert_array_equal(twin.predict(frame), ours.predict(frame))


@every_twin
def test_searches_and_cross_validation(name: str) -> None:
    ours, theirs, y = twins(name)
    ours.set_params(tol=1e-6)  # the twins' own would end some folds with a warning
    grid = {"alpha": [0.1, 10.0]}
    found, expected = (GridSearchCV(m, grid, cv=3).fit(X, y) for m in (ours, theirs))
    for key in ("mean_test_score", "rank_test_score"):
        assert_allclose(found.cv_results_[key], expected.cv_results_[key], rtol=1e-3)
    assert_allclose(
        cross_val_score(ours, X, y, cv=3), cross_val_score(theirs, X, y, cv=3), rtol=1e-3
    )


@pytest.mark.cluster
@every_twin
def test_on_a_cluster(client: Client, name: str) -> None:
    ours, theirs, y = twins(name)
    lazy = [da.from_array(a, chunks=(70, *a.shape[1:])) for a in (X, y, WEIGHT)]
    theirs.fit(X, y, sample_weight=WEIGHT)
    assert_same(ours.fit(*lazy), theirs)
    assert ours.history_.transport == "stream"
    predicted = ours.predict(lazy[0])
    assert isinstance(predicted, da.Array)
    assert_allclose(predicted.compute(), ours.predict(X), rtol=1e-12)
    assert ours.score(*lazy) == pytest.approx(ours.score(X, y, WEIGHT), rel=1e-9)
    assert type(ours.score(*lazy)) is float
    with place(csr_array(X), y, code=CyclicRepetition(4, 2)) as data:
        assert_same(ours.fit(data), theirs.fit(X, y))
    with place(X, y, code=FractionalRepetition(4, 1)) as data:
        assert_same(ours.fit(data), theirs)


@pytest.mark.cluster
@pytest.mark.parametrize("model", [CodedPoissonRegressor(), CodedTweedieRegressor(power=1.5)])
def test_targets_that_a_fit_refuses_are_not_scored(client: Client, model: Any) -> None:
    model = clone(model).fit(X, COUNTS)
    for y, text in ((COUNTS - 1.0, "out of the valid range"), (-COUNTS, "mean is positive|range")):
        for rows, targets in ((X, y), (da.from_array(X, chunks=(70, 5)), y)):
            with pytest.raises(ValueError, match=text):
                model.score(rows, targets)


@pytest.mark.cluster
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_a_straggler_leaves_no_trace_in_the_coefficients(client: Client, solver: str) -> None:
    def fitted(data: Any) -> bytes:
        model = CodedTweedieRegressor(power=1.5, solver=solver, tol=1e-6).fit(data)
        return bytes(model.coef_.tobytes())

    with place(X, AMOUNTS, code=DeclusteredRepetition(4, 1)) as data:
        whole = fitted(data)
        for address in data.addresses.values():
            with frozen(pid_of(client, address)):
                assert fitted(data) == whole


TARGETS: dict[str, tuple[Any, Any, str]] = {
    "negative": (CodedPoissonRegressor(), -COUNTS, "out of the valid range of the loss"),
    "all zero": (CodedPoissonRegressor(), 0 * COUNTS, "all y are 0"),
    "below zero": (CodedTweedieRegressor(power=1.5), -COUNTS, "valid range .* must be >= 0"),
    "zero": (CodedGammaRegressor(), COUNTS, "power 2.0: they must be > 0, the smallest is 0.0"),
    "mean below zero": (CodedTweedieRegressor(link="log"), -AMOUNTS, "is positive, got -"),
    "strings": (CodedRidge(), np.array(["a", "b"])[X[:, 0].astype(int) % 2], "convert|numeric"),
    "NaN": (CodedHuberRegressor(), np.where(X[:, 0] > 0, np.nan, 1.0), r"Input y contains NaN\."),
    "2-D": (CodedHuberRegressor(), np.c_[NOISY, NOISY], "y should be a 1d array"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_bad_targets_are_refused(case: str) -> None:
    model, y, text = TARGETS[case]
    with pytest.raises(ValueError, match=text):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(NotFittedError):
        model.to_sklearn()


@pytest.mark.cluster
@pytest.mark.parametrize("case", TARGETS)
def test_bad_targets_are_refused_in_dask_arrays(client: Client, case: str) -> None:
    model, y, text = TARGETS[case]
    with pytest.raises(ValueError, match=text):
        model.fit(da.from_array(X, chunks=(70, 5)), da.from_array(y, chunks=70))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (CodedRidge(alpha=-1), "'alpha' parameter of CodedRidge must be a float in the range"),
        (CodedHuberRegressor(epsilon=0.9), "'epsilon' parameter of CodedHuberRegressor must be"),
        (CodedPoissonRegressor(solver="newton"), "'solver' parameter of CodedPoissonRegressor"),
    ],
)
def test_bad_parameters_are_refused(model: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        model.fit(X, COUNTS)
