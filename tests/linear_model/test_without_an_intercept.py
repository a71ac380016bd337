"""Models without an intercept on columns far from zero: as near to the minimum as with one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dask_gradcode import (
    CodedHuberRegressor,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
)

RNG = np.random.default_rng(0)
N = RNG.normal(size=(600, 4))
SLOPES = np.array([1.0, -2.0, 0.5, 3.0])
Y = N @ SLOPES + 4.0 + 0.3 * RNG.normal(size=600)

FAR: dict[str, tuple[Any, Any]] = {
    "UTM": ([1e3, 1e3, 1.0, 1.0], [5e5, 4e6, 0.0, 0.0]),
    "mean 1e6": (1.0, 1e6),
    "a constant column": ([1e3, 1.0, 1.0, 0.0], [4e6, 1e6, 0.0, 1.0]),
}
every_far_column = pytest.mark.parametrize("name", FAR)


def columns(name: str) -> Any:
    scale, offset = FAR[name]
    return N * scale + offset


def least_squares(X: Any, y: Any, alpha: float) -> Any:
    """Return exact predictions of ridge regression without an intercept."""
    size = np.linalg.norm(X, axis=0)
    rows = np.vstack([X, np.sqrt(alpha) * np.eye(X.shape[1])])
    target = np.append(y, np.zeros(X.shape[1]))
    return X @ (np.linalg.lstsq(rows / size, target, rcond=1e-15)[0] / size)


@every_far_column
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("is_far", [False, True], ids=["", "targets far from zero, too"])
def test_ridge_without_an_intercept_is_exact_however_far_columns_are_from_zero(
    name: str, form: Any, alpha: float, is_far: bool
) -> None:
    X = columns(name)
    y = X @ np.array([1e-3, -2.0, 0.5, 3.0]) + Y if is_far else Y - 4.0
    ours = CodedRidge(alpha, fit_intercept=False).fit(form(X), y)
    expected = least_squares(X, y, alpha)
    assert_allclose(ours.predict(X), expected, atol=2e-5 * np.std(y))
    assert ours.n_iter_ < 20


@every_far_column
def test_without_an_intercept_the_others_are_exact_too(name: str) -> None:
    rng = np.random.default_rng(0)
    X = columns(name)
    labels = N @ SLOPES + rng.logistic(size=600) > 0.0
    classes = CodedLogisticRegression(fit_intercept=False, tol=1e-7).fit(X, labels)
    theirs = LogisticRegression(fit_intercept=False, solver="newton-cholesky", tol=1e-9)
    assert_allclose(classes.predict_proba(X), theirs.fit(X, labels).predict_proba(X), atol=1e-5)
    free = least_squares(X, N @ SLOPES, 0.0)  # what these columns can explain at all
    counts = rng.poisson(np.exp(3.0 + 0.1 * free)).astype(float)
    rates = CodedPoissonRegressor(alpha=0, fit_intercept=False, tol=1e-5).fit(X, counts)
    residual = counts - rates.predict(X)
    assert_allclose(residual @ X / np.linalg.norm(X, axis=0), 0.0, atol=1e-3)
    outlying = Y.copy()
    outlying[:30] += 1e3
    robust = CodedHuberRegressor(alpha=0, fit_intercept=False).fit(X, outlying)
    residual = outlying - robust.predict(X)
    slope = np.clip(residual / robust.scale_, -1.35, 1.35)
    assert_allclose(slope @ X / np.linalg.norm(X, axis=0), 0.0, atol=1e-3)
    assert np.mean(slope**2) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("offset", [3.0, 100.0, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_dummies_beside_far_columns_end_at_the_minimum_or_in_a_warning(
    offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dummies = np.eye(3)[rng.integers(0, 3, 600)]
    X = np.hstack([N[:, :2] + [offset, 2 * offset], dummies])
    linear = N[:, :2] @ [1.0, -2.0] + dummies @ [1.0, 2.0, 0.0]
    for model, y in (
        (CodedRidge(0.0, fit_intercept=False), linear),
        (CodedPoissonRegressor(alpha=0.0, fit_intercept=False), rng.poisson(np.exp(linear))),
        (CodedLogisticRegression(C=np.inf, fit_intercept=False), linear > rng.logistic(size=600)),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = model.fit(X, y).score(X, y)
        best = clone(model).set_params(fit_intercept=True).fit(X, y).score(X, y)
        if caught:
            assert "fit an intercept" in str(caught[0].message)
            assert offset > 3.0
        else:
            assert found == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("name", ["UTM", "mean 1e6"])
def test_an_l1_penalty_without_an_intercept_says_that_it_cannot_get_there(name: str) -> None:
    model = CodedLogisticRegression(
        l1_ratio=0.5, fit_intercept=False, solver="nesterov", max_iter=5000
    )
    labels = N @ SLOPES > 0.0
    with pytest.warns(ConvergenceWarning, match="nearly alike.*subtract a constant"):
        model.fit(columns(name), labels)
    assert model.fit(N + 3.0, labels).score(N + 3.0, labels) > 0.7


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_without_an_intercept_a_fit_goes_on_from_warm_starts_and_checkpoints(
    tmp_path: Path,
) -> None:
    def fit(path: Any, solver: str, **parameters: Any) -> CodedRidge:
        model = CodedRidge(fit_intercept=False, solver=solver, checkpoint=path, **parameters)
        return model.fit(columns("UTM"), Y)

    whole = fit(None, "nesterov")
    fit(tmp_path, "nesterov", max_iter=3)
    assert fit(tmp_path, "nesterov").coef_.tobytes() == whole.coef_.tobytes()
    model = fit(None, "lbfgs", warm_start=True)
    before = model.coef_
    assert model.fit(columns("UTM"), Y).n_iter_ <= 1
    assert_allclose(model.coef_, before, rtol=1e-6)
