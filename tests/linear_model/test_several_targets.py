"""Several targets at once: scikit-learn's models of each, from one round."""

from __future__ import annotations

from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

from dask_gradcode import (
    CodedElasticNet,
    CodedLasso,
    CodedLinearRegression,
    CodedPoissonRegressor,
    CodedRidge,
    place,
)

RNG = np.random.default_rng(0)
X = RNG.normal([0.0, 1.0, -2.0, 0.0, 5.0], size=(200, 5))
Y = X @ RNG.normal(size=(5, 3)) + [4.0, 0.0, -100.0] + RNG.normal(size=(200, 3))
WEIGHT = RNG.integers(0, 4, 200).astype(float)
PENALTIES = np.array([0.5, 2.0, 30.0])
TIGHT: dict[str, Any] = {"tol": 1e-10, "max_iter": 10_000}

TWINS: dict[str, tuple[Any, Any]] = {
    "ridge": (CodedRidge(2.0), Ridge(2.0, solver="cholesky")),
    "a penalty each": (CodedRidge(PENALTIES), Ridge(PENALTIES, solver="cholesky")),
    "linear regression": (CodedLinearRegression(), LinearRegression()),
    "elastic net": (CodedElasticNet(0.3, **TIGHT), ElasticNet(0.3, precompute=True, **TIGHT)),
    "lasso": (CodedLasso(0.3, **TIGHT), Lasso(0.3, precompute=True, **TIGHT)),
}
every_twin = pytest.mark.parametrize("name", TWINS)


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    assert_allclose(ours.coef_, theirs.coef_, atol=rtol * abs(theirs.coef_).max())
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-7, atol=1e-9)
    assert len(ours.history_) == 1


@every_twin
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_models_are_scikit_learns(name: str, weight: Any, fit_intercept: bool, form: Any) -> None:
    ours, theirs = TWINS[name]
    ours.set_params(fit_intercept=fit_intercept).fit(form(X), Y, weight)
    theirs.set_params(fit_intercept=fit_intercept).fit(X, Y, weight)
    assert_same(ours, theirs)
    assert_allclose(ours.predict(form(X)), theirs.predict(X), rtol=1e-7, atol=1e-9)
    assert ours.score(form(X), Y, weight) == pytest.approx(theirs.score(X, Y, weight), abs=1e-9)
    plain = ours.to_sklearn()
    assert_array_equal(plain.predict(X), ours.predict(X))
    if "net" in name or "lasso" in name:
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.dual_gap_.shape == theirs.dual_gap_.shape


def test_scales_and_singular_columns_are_as_with_one_target() -> None:
    wild = X * [1e-6, 1e-3, 1.0, 1e3, 1e6] + [0.0, 1e5, 0.0, 0.0, 0.0]
    twice = np.column_stack([X, X[:, :2], np.ones(200)])
    for rows in (wild, twice):
        together = CodedLinearRegression().fit(rows, Y)
        for target, coef, intercept in zip(Y.T, together.coef_, together.intercept_, strict=True):
            alone = CodedLinearRegression().fit(rows, target)
            assert_allclose(coef, alone.coef_, rtol=1e-7, atol=1e-12)
            assert_allclose(intercept, alone.intercept_, rtol=1e-7)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="and number of penalties do not correspond: 2 != 3"):
        CodedRidge(np.array([1.0, 2.0])).fit(X, Y)
    with pytest.raises(ValueError, match="do not correspond: 3 != 1"):
        CodedRidge(PENALTIES).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="alpha must be at least 0 for each target"):
        CodedRidge(-PENALTIES).fit(X, Y)
    text = r"Several targets \(3\) .* by solver='cholesky' or 'auto', got 'lbfgs'"
    with pytest.raises(ValueError, match=text):
        CodedRidge(solver="lbfgs").fit(X, Y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        CodedRidge().fit(X, np.where(Y > 0.0, Y, np.nan))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CodedRidge().fit(X[:-1], Y)
    with pytest.raises(ValueError, match="y should be a 1d array"):
        CodedPoissonRegressor().fit(X, abs(Y))
    with pytest.raises(ValueError, match="at most 4095 parameters"):
        CodedRidge().fit(csr_array((200, 4092)), Y)


def test_names_of_columns_and_one_penalty_in_an_array() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = CodedRidge(np.array([2.0])).fit(frame, pd.DataFrame(Y))
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.n_features_in_ == 5
    assert_allclose(model.coef_, Ridge(2.0).fit(X, Y).coef_, rtol=1e-9)
    assert_allclose(model.fit(X, Y[:, 0]).coef_, Ridge(2.0).fit(X, Y[:, 0]).coef_, rtol=1e-9)
    assert not hasattr(model, "feature_names_in_")


def in_disorder(frame: Any) -> Any:
    """Return a frame whose partitions have their columns the other way round."""
    return frame.map_partitions(
        lambda part: part.iloc[:, ::-1], meta=frame._meta, enforce_metadata=False
    )


@pytest.mark.cluster
def test_on_a_cluster(client: Client) -> None:
    theirs = Ridge(PENALTIES).fit(X, Y, WEIGHT)
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcde")), npartitions=3)
    chunked = da.from_array(X, chunks=(70, 3))
    weight = da.from_array(WEIGHT, chunks=70)
    lazy_weight = dd.from_pandas(pd.Series(WEIGHT), npartitions=3)
    for rows, targets, weights in (
        (X, Y, WEIGHT),
        (chunked, da.from_array(Y, chunks=(50, 2)), weight),
        (chunked, Y, weight),
        (chunked.rechunk({1: -1}).map_blocks(csr_array), Y, weight),
        (frame, dd.from_pandas(pd.DataFrame(Y), npartitions=3), lazy_weight),
        (
            in_disorder(frame),
            in_disorder(dd.from_pandas(pd.DataFrame(Y), npartitions=3)),
            lazy_weight,
        ),
    ):
        model = CodedRidge(PENALTIES).fit(rows, targets, weights)
        assert_same(model, theirs)
        assert model.history_.transport == "stream"
        assert model.score(rows, targets, weights) == pytest.approx(theirs.score(X, Y, WEIGHT))
    found = model.predict(frame)
    assert isinstance(found, dd.DataFrame)
    assert_allclose(found.compute(), theirs.predict(X), rtol=1e-7)
    assert model.feature_names_in_.tolist() == list("abcde")
    found = CodedRidge(PENALTIES).fit(X, Y, WEIGHT).predict(chunked)
    assert isinstance(found, da.Array)
    assert found.shape == (200, 3)
    assert_allclose(found.compute(), theirs.predict(X), rtol=1e-7)
    with pytest.raises(ValueError, match=r"X has 200 rows in 3 chunks, y 199 in 4"):
        CodedRidge().fit(chunked, da.from_array(Y[1:], chunks=(50, 3)))
    with pytest.raises(ValueError, match="must be lazy, too"):
        CodedRidge().fit(frame, Y)
    with pytest.raises(ValueError, match="1d array"):
        place(X, Y)


@every_twin
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame], ids=["array", "frame"])
def test_a_column_keeps_the_shapes_that_it_has_there(
    name: str, fit_intercept: bool, form: Any
) -> None:
    ours, theirs = (clone(model).set_params(fit_intercept=fit_intercept) for model in TWINS[name])
    if name == "a penalty each":
        ours, theirs = ours.set_params(alpha=[2.0]), theirs.set_params(alpha=[2.0])
    ours, theirs = ours.fit(X, form(Y[:, :1])), theirs.fit(X, form(Y[:, :1]))
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7, atol=1e-9)
    assert np.shape(ours.coef_) == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert ours.predict(X).shape == theirs.predict(X).shape


def test_penalties_may_be_a_list_with_one_for_each_target() -> None:
    ours, theirs = CodedRidge([0.5, 2.0, 30.0]).fit(X, Y), Ridge([0.5, 2.0, 30.0]).fit(X, Y)
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
    said = "Number of targets and number of penalties do not correspond: 2 != 3"
    for model in (CodedRidge([1.0, 2.0]), Ridge([1.0, 2.0])):
        with pytest.raises(ValueError, match=said):
            model.fit(X, Y)
