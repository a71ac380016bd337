"""Units, offsets and outliers: the twins' minima, however hard the numbers are."""

from __future__ import annotations

import pickle
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.linear_model._huber import _huber_loss_and_gradient

from dask_gradcode import (
    CodedHuberRegressor,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
)
from dask_gradcode.optimizers import LBFGS

RNG = np.random.default_rng(0)
N = RNG.normal(size=(600, 4))
SLOPES = np.array([1.0, -2.0, 0.5, 3.0])
Y = N @ SLOPES + 4.0 + 0.3 * RNG.normal(size=600)
WEIGHT = RNG.integers(0, 4, 600).astype(float)

COLUMNS: dict[str, tuple[Any, Any]] = {  # scale, offset
    "UTM": ([1e3, 1e3, 1.0, 1.0], [5e5, 4e6, 0.0, 0.0]),
    "unix time": ([1e6, 1.0, 1.0, 1.0], [1.7e9, 0.0, 0.0, 0.0]),
    "mean 1e6": (1.0, 1e6),
    "1e-6 to 1e6": ([1e-6, 1e-2, 1e2, 1e6], 0.0),
    "tiny": (1e-8, 0.0),
    "huge": (1e12, 1e13),
}
every_column = pytest.mark.parametrize("name", COLUMNS)


def columns(name: str) -> Any:
    scale, offset = COLUMNS[name]
    return N * scale + offset


def centred(X: Any) -> Any:
    return (X - X.mean(axis=0)) / X.std(axis=0)


@every_column
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_ridge_is_exact_whatever_the_columns_are_measured_in(
    name: str, form: Any, weight: Any
) -> None:
    X = columns(name)
    ours = CodedRidge(alpha=0).fit(form(X), Y, weight)
    theirs = Ridge(alpha=0, solver="svd").fit(centred(X), Y, weight)
    assert_allclose(ours.predict(X), theirs.predict(centred(X)), atol=1e-4)
    assert ours.n_iter_ < 20


@every_column
def test_poisson_logistic_and_huber_are_too(name: str) -> None:
    X, Z = columns(name), centred(columns(name))
    counts = RNG.poisson(np.exp(9.2 + 0.05 * N @ SLOPES)).astype(float)
    rates = CodedPoissonRegressor(alpha=0).fit(X, counts)
    theirs = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-10).fit(Z, counts)
    assert_allclose(rates.predict(X), theirs.predict(Z), rtol=1e-4)
    labels = Y + RNG.normal(size=600) > 4.0
    classes = CodedLogisticRegression(C=np.inf, tol=1e-7).fit(X, labels)
    free = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(Z, labels)
    assert_allclose(classes.predict_proba(X), free.predict_proba(Z), atol=1e-4)
    robust = CodedHuberRegressor(alpha=0, tol=1e-6).fit(X, Y)
    twin = HuberRegressor(alpha=0, tol=1e-9, max_iter=1000).fit(Z, Y)
    assert_allclose(robust.predict(X), twin.predict(Z), atol=1e-3)
    assert robust.scale_ == pytest.approx(twin.scale_, rel=1e-3)


@pytest.mark.parametrize("size", [1e3, 1e4, 1e6])
def test_poisson_with_one_large_column_is_as_the_twin(size: float) -> None:
    X = N * [1.0, size, 1.0, 1.0]
    counts = RNG.poisson(np.exp(0.3 * N @ SLOPES)).astype(float)
    ours = CodedPoissonRegressor().fit(X, counts)
    theirs = PoissonRegressor(solver="newton-cholesky", tol=1e-10).fit(X, counts)
    assert ours.score(X, counts) == pytest.approx(theirs.score(X, counts), abs=1e-4)
    assert_allclose(ours.coef_ * [1, size, 1, 1], theirs.coef_ * [1, size, 1, 1], atol=1e-3)
    assert ours.n_iter_ > 1


def test_ridge_with_a_column_of_unix_seconds_is_as_the_twin() -> None:
    X = columns("unix time")
    ours, theirs = CodedRidge().fit(X, Y), Ridge().fit(X, Y)
    assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y), abs=1e-6)
    assert ours.score(X, Y) > 0.95


@pytest.mark.parametrize("factor", [1e-8, 3.0, 1e8])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("solver", ["lbfgs", "cholesky"])
def test_units_scale_the_ridge_solution_and_change_nothing_else(
    factor: float, alpha: float, solver: str
) -> None:
    plain = CodedRidge(alpha, solver=solver).fit(N, Y, WEIGHT)
    in_y = CodedRidge(alpha, solver=solver).fit(N, factor * Y, WEIGHT)
    in_x = CodedRidge(alpha * factor**2, solver=solver).fit(factor * N, Y, WEIGHT)
    in_weight = CodedRidge(alpha * factor, solver=solver).fit(N, Y, factor * WEIGHT)
    for model, coef, intercept in (
        (in_y, factor, factor),
        (in_x, 1.0 / factor, 1.0),
        (in_weight, 1.0, 1.0),
    ):
        assert model.n_iter_ == plain.n_iter_ > (solver == "lbfgs")
        assert_allclose(model.coef_, coef * plain.coef_, rtol=1e-6)
        assert_allclose(model.intercept_, intercept * plain.intercept_, rtol=1e-6)


def huber_objective(model: Any, X: Any, y: Any, epsilon: float) -> float:
    w = np.array([*model.coef_, model.intercept_, model.scale_])
    return float(_huber_loss_and_gradient(w, X, y, epsilon, 0.0, np.ones(len(y)))[0])


SIZES, SHARES = 10.0 ** np.arange(1, 10), (0.002, 0.05, 0.2)
NEARLY_ABSOLUTE = [  # takes seconds each
    pytest.param(1.0001, share, size, marks=() if size in (1e1, 1e4, 1e9) else pytest.mark.long)
    for share, size in product(SHARES, SIZES)
]


@pytest.mark.parametrize(
    ("epsilon", "share", "size"),
    [*NEARLY_ABSOLUTE, *product([1.1, 1.35, 3.0], SHARES, SIZES)],
)
def test_hubers_objective_is_at_most_scikit_learns_whatever_the_outliers(
    epsilon: float, share: float, size: float
) -> None:
    rng = np.random.default_rng(int(size))
    y = Y + 0.0
    y[rng.choice(600, max(1, int(share * 600)), replace=False)] += size
    with warnings.catch_warnings():
        # without a scale the objective is the sum of absolute errors, which is not smooth
        warnings.simplefilter("ignore" if epsilon < 1.01 or size > 1e7 else "error")
        ours = CodedHuberRegressor(epsilon=epsilon, alpha=0.0).fit(N, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = HuberRegressor(epsilon=epsilon, alpha=0.0, max_iter=10_000, tol=1e-8).fit(N, y)
    best = huber_objective(theirs, N, y, epsilon)
    slack = 1e-4 if epsilon < 1.01 else 1e-9
    assert huber_objective(ours, N, y, epsilon) <= best * (1.0 + slack)
    if epsilon > 1.01:
        assert ours.scale_ > 0.05


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_hubers_units_scale_the_solution_and_change_nothing_else(unit: float) -> None:
    y = Y.copy()
    y[:30] += 1e3
    plain, other = (CodedHuberRegressor(alpha=0.0).fit(N, u * y) for u in (1.0, unit))
    assert other.n_iter_ == plain.n_iter_
    assert_allclose(other.scale_, unit * plain.scale_, rtol=1e-6)
    assert_array_equal(other.outliers_, plain.outliers_)


def test_one_gross_outlier_leaves_hubers_scale_alone_and_is_found() -> None:
    y = Y.copy()
    y[7] += 1e6
    model = CodedHuberRegressor().fit(N, y)
    rest = HuberRegressor(tol=1e-9, max_iter=1000).fit(np.delete(N, 7, 0), np.delete(Y, 7))
    assert model.scale_ == pytest.approx(rest.scale_, rel=0.01)
    assert model.outliers_[7]
    assert_array_equal(model.outliers_, abs(y - model.predict(N)) > 1.35 * model.scale_)
    assert not hasattr(pickle.loads(pickle.dumps(CodedHuberRegressor())), "outliers_")


@pytest.mark.parametrize("scale", [1e-87, 1e30, 1e300])
def test_a_warm_start_recovers_from_a_collapsed_or_exploded_scale(scale: float) -> None:
    model = CodedHuberRegressor(warm_start=True).fit(N, Y)
    good, model.scale_ = model.scale_, scale
    assert model.fit(N, Y).scale_ == pytest.approx(good, rel=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_targets_that_lie_on_the_model_have_next_to_no_scale() -> None:
    model = CodedHuberRegressor(alpha=0.0).fit(N, N @ SLOPES + 4.0)
    assert_allclose(model.coef_, SLOPES, atol=1e-6)
    assert 0.0 < model.scale_ < 1e-6


def test_a_scale_that_has_come_down_to_rounding_is_said_to_have() -> None:
    with pytest.warns(ConvergenceWarning, match="scale has come down to the rounding"):
        CodedHuberRegressor(epsilon=1.0001).fit(N, Y)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"tol": 0.0, "max_iter": 10_000}, r"(?s)gets no further.*allow that much \(tol="),
        ({"max_iter": 1}, r"Increase the number of iterations .*\(max_iter=1\)"),
        ({"solver": "nesterov", "max_iter": 1}, "max_iter=1"),
    ],
)
def test_no_solver_stops_above_tol_in_silence(parameters: Any, text: str) -> None:
    with pytest.warns(ConvergenceWarning, match=text):
        CodedRidge(alpha=0.0, solver="lbfgs").set_params(**parameters).fit(columns("UTM"), Y)


def test_an_old_checkpoint_in_other_coordinates_is_refused(tmp_path: Path) -> None:
    CodedRidge(checkpoint=tmp_path).fit(N, Y)
    index = tmp_path / "checkpoint.json"
    index.write_text(index.read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(ValueError, match="of version 1; this version"):
        CodedRidge(checkpoint=tmp_path).fit(N, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_checkpoint_goes_on_in_the_coordinates_it_was_begun_in(tmp_path: Path) -> None:
    def fit(path: Any, **parameters: Any) -> CodedRidge:
        model = CodedRidge(solver="nesterov", checkpoint=path, **parameters)
        return model.fit(columns("UTM"), Y)

    whole = fit(None)
    fit(tmp_path, max_iter=5)
    assert fit(tmp_path).coef_.tobytes() == whole.coef_.tobytes()


def test_an_l1_penalty_is_of_the_original_coefficients() -> None:
    X = N * [1.0, 10.0, 0.1, 1.0] + [0.0, 5.0, 1.0, 100.0]
    labels = (N @ [1.0, 0.2, 0.0, -0.7] + RNG.normal(size=600) > 0).astype(int)
    C = 0.02
    model = CodedLogisticRegression(C=C, l1_ratio=1.0, solver="nesterov", tol=1e-9, max_iter=20_000)
    w = model.fit(X, labels).coef_[0]
    gradient = C * (X - X.mean(axis=0)).T @ (model.predict_proba(X)[:, 1] - labels)
    assert 0 < (w == 0.0).sum() < 4
    assert (abs(gradient[w == 0.0]) <= 1.0).all()
    assert_allclose(gradient[w != 0.0], -np.sign(w[w != 0.0]), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_nearly_add_up_to_others_are_no_end_for_ridge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hilbert = 1.0 / (np.arange(50)[:, None] + np.arange(12) + 1.0)
    y = hilbert @ rng.normal(size=12)
    y += 0.1 * y.std() * rng.normal(size=50)
    Z = centred(hilbert)
    best = LinearRegression().fit(Z, y).score(Z, y)
    for solver in ("lbfgs", "cholesky"):
        model = CodedRidge(alpha=0, solver=solver).fit(hilbert, y)
        assert model.score(hilbert, y) >= best - 2e-5
    early = CodedRidge(alpha=0, solver=LBFGS()).fit(hilbert, y)
    with pytest.warns(ConvergenceWarning, match=r"(?s)so flat is the objective.*max_iter="):
        CodedRidge(alpha=0, solver="lbfgs", max_iter=early.n_iter_).fit(hilbert, y)


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_of_many_solutions_ridge_finds_the_one_that_its_docstring_says(
    fit_intercept: bool, offset: float
) -> None:
    rng = np.random.default_rng(0)
    scale = np.logspace(-2, 2, 40)
    X, y = scale * (rng.normal(size=(12, 40)) + offset), rng.normal(size=12) + 2.0
    model = CodedRidge(alpha=0, fit_intercept=fit_intercept, solver="lbfgs", tol=1e-8).fit(X, y)
    is_far = offset == 100.0
    if fit_intercept:
        rows, target, norm = X - X.mean(axis=0), y - y.mean(), np.diag(X.std(axis=0))
    elif is_far:
        rows, target, norm = X, y, np.vstack([np.diag(X.std(axis=0)), X.mean(axis=0)])
    else:
        rows, target, norm = X, y, np.diag(np.sqrt((X**2).mean(axis=0)))
    inverse = np.linalg.inv(np.linalg.cholesky(norm.T @ norm, upper=True))
    smallest = inverse @ np.linalg.pinv(rows @ inverse, rcond=1e-9) @ target
    assert_allclose(model.predict(X), y, atol=1e-6)
    assert_allclose(norm @ model.coef_, norm @ smallest, atol=1e-6)


def test_coefficients_can_be_made_sparse_and_dense_again() -> None:
    model = CodedLogisticRegression(warm_start=True).fit(N, Y > 4.0)
    before = model.predict_proba(N)
    assert_array_equal(model.sparsify().predict_proba(N), before)
    assert model.fit(N, Y > 4.0).n_iter_[0] <= 1
    assert_array_equal(model.sparsify().densify().predict_proba(N), model.predict_proba(N))
