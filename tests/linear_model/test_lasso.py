"""Elastic net and lasso from one round, and linear regression, against their twins."""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, enet_path
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode import CodedElasticNet, CodedLasso, CodedLinearRegression, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
from dask_gradcode.optimizers import LBFGS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 12)) * np.linspace(0.2, 3.0, 12)
X[:, 5] += X[:, 4]
Y = X[:, ::3] @ [1.0, -2.0, 0.5, 3.0] + 4.0 + RNG.normal(size=200)
WEIGHT = RNG.integers(0, 4, 200).astype(float)

ROWS: dict[str, Any] = {
    "plain": X,
    "sparse": np.where(RNG.random(X.shape) < 0.5, X, 0.0),
    "far": X + 1e8 * (np.arange(12) % 2),
    "twice": np.column_stack([X, X[:, :4], 0 * X[:, 0]]),
    "more columns than rows": RNG.normal(size=(40, 60)),
}
every_kind_of_rows = pytest.mark.parametrize("name", ROWS)


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    assert_allclose(ours.coef_, theirs.coef_, atol=rtol * abs(theirs.coef_).max())
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)


@every_kind_of_rows
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_coefficients_zeros_iterations_and_dual_gap_are_scikit_learns(
    name: str, weight: Any, fit_intercept: bool, l1_ratio: float
) -> None:
    rows = ROWS[name]
    if name == "far" and not fit_intercept:
        pytest.skip("nothing takes the means up")
    y, weight = Y[: len(rows)], None if weight is None else weight[: len(rows)]
    parameters = {"alpha": 0.2, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "tol": 1e-7}
    theirs = ElasticNet(precompute=True, max_iter=5000, **parameters).fit(rows, y, weight)
    form = csr_array if name == "sparse" else np.asarray
    ours = CodedElasticNet(max_iter=5000, **parameters).fit(form(rows), y, weight)
    assert_same(ours, theirs, rtol=1e-6 if name == "far" else 1e-9)
    assert_allclose(ours.predict(rows), theirs.predict(rows), atol=1e-6)
    assert ours.dual_gap_ == pytest.approx(theirs.dual_gap_, rel=0.01, abs=1e-14)
    assert abs(ours.n_iter_ - theirs.n_iter_) <= (name == "far")
    assert len(ours.history_) == 1
    assert 0 < (ours.coef_ == 0.0).sum() < rows.shape[1]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_positive_coefficients_are_scikit_learns(weight: Any) -> None:
    for ours, theirs in (
        (CodedLasso(0.1, positive=True), Lasso(0.1, positive=True, precompute=True)),
        (CodedElasticNet(0.1, positive=True), ElasticNet(0.1, positive=True, precompute=True)),
    ):
        assert_same(ours.fit(X, Y, weight), theirs.fit(X, Y, weight))
        assert ours.dual_gap_ == pytest.approx(theirs.dual_gap_, rel=1e-3)
        assert ours.coef_.min() == 0.0
        assert type(ours.to_sklearn()) is type(theirs)
    text = "positive=True needs solver='coordinate-descent', got solver='nesterov'"
    with pytest.raises(ValueError, match=text):
        CodedLasso(0.1, positive=True, solver="nesterov").fit(X, Y)
    with pytest.raises(ValueError, match=r"at most 4095 .* Use solver='nesterov'"):
        CodedLasso(0.1, positive=True).fit(csr_array((4, 5000)), Y[:4])


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_other_solvers_end_at_the_same_place(fit_intercept: bool, l1_ratio: float) -> None:
    parameters = {"alpha": 0.1, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    best = CodedElasticNet(tol=1e-13, max_iter=100_000, **parameters).fit(X, Y)
    far = CodedElasticNet(solver="nesterov", tol=1e-8, **parameters).fit(X, Y)
    assert len(far.history_) > far.n_iter_ > 1
    assert_same(far, best, rtol=1e-6)
    assert 0.0 <= far.dual_gap_ < 1e-6


def test_what_is_too_large_or_too_far_for_a_gram_matrix_is_left_to_nesterov() -> None:
    wide = csr_array((X[:4].ravel(), np.tile(np.arange(0, 4800, 100), 1), [0, 12, 24, 36, 48]))
    with pytest.raises(ValueError, match=r"at most 4095 .*got 4702, .* Use solver='nesterov'"):
        CodedLasso(0.01, solver="coordinate-descent").fit(wide, Y[:4])
    for rows, y in ((wide, Y[:4]), (csr_array(X[:, :3] + 1e4), Y)):
        model = CodedLasso(0.01, tol=1e-7).fit(rows, y)
        assert len(model.history_) > 1
        dense = rows.toarray() - rows.toarray().mean(axis=0)
        theirs = Lasso(0.01, tol=1e-10, max_iter=10_000).fit(dense, y)
        assert_allclose(dense @ model.coef_, dense @ theirs.coef_, atol=1e-3)


def test_without_an_l1_penalty_it_is_solved_exactly() -> None:
    ridge = CodedElasticNet(0.5, l1_ratio=0.0).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is not what coordinate descent is for
        theirs = ElasticNet(0.5, l1_ratio=0.0, tol=1e-14, max_iter=10_000).fit(X, Y)
    assert_allclose(ridge.coef_, theirs.coef_, atol=1e-7)
    assert 0.0 <= ridge.dual_gap_ < 1e-12
    plain = CodedLasso(0.0).fit(X, Y)
    assert_allclose(plain.coef_, LinearRegression().fit(X, Y).coef_, rtol=1e-9)
    assert np.isnan(plain.dual_gap_)


def test_too_few_iterations_are_a_warning_in_scikit_learns_words() -> None:
    text = r"Objective did not converge.* Duality gap: \d.*tol=1.0e-09"
    with pytest.warns(ConvergenceWarning, match=text) as caught:
        model = CodedLasso(0.01, max_iter=2, tol=1e-9).fit(X, Y)
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning):
        theirs = Lasso(0.01, max_iter=2, tol=1e-9, precompute=True).fit(X, Y)
    assert_allclose(model.coef_, theirs.coef_, rtol=1e-9)
    assert model.n_iter_ == theirs.n_iter_ == 2
    with pytest.warns(ConvergenceWarning):
        assert not CodedLasso(0.01, max_iter=0).fit(X, Y).coef_.any()


def test_warm_starts_and_checkpoints_go_on(tmp_path: Any) -> None:
    model = CodedLasso(0.01, tol=1e-10, warm_start=True).fit(X, Y)
    cold, n_iter = model.coef_, model.n_iter_
    assert model.fit(X, Y).n_iter_ < n_iter
    assert_allclose(model.coef_, cold, rtol=1e-6)
    with pytest.warns(ConvergenceWarning):
        CodedLasso(0.01, tol=1e-10, max_iter=3, checkpoint=tmp_path).fit(X, Y)
    again = CodedLasso(0.01, tol=1e-10, checkpoint=tmp_path).fit(X, Y)
    assert_allclose(again.coef_, cold, rtol=1e-6)
    assert len(again.history_) == 1


@pytest.mark.parametrize("positive", [False, True])
def test_paths_are_scikit_learns(positive: bool) -> None:
    model = CodedElasticNet(l1_ratio=0.7, positive=positive, fit_intercept=False)
    options = {"l1_ratio": 0.7, "positive": positive, "precompute": True, "return_n_iter": True}
    theirs = enet_path(X, Y, alphas=[3.0, 1.0, 0.1], **options)
    ours = model.path(X, Y, alphas=[0.1, 3.0, 1.0], return_n_iter=True)
    for found, expected in zip(ours, theirs, strict=True):
        assert_allclose(found, expected, rtol=1e-7, atol=1e-12)
    assert not hasattr(model, "n_features_in_")
    centred = CodedElasticNet(l1_ratio=0.7, positive=positive)
    alphas, coefs, gaps = centred.path(csr_array(X), Y, WEIGHT, alphas=5, eps=0.01)
    for alpha, coef, gap in zip(alphas, coefs.T, gaps, strict=True):
        parameters = {"alpha": alpha, "l1_ratio": 0.7, "positive": positive, "tol": 1e-10}
        alone = CodedElasticNet(**parameters).fit(X, Y, WEIGHT)
        assert_allclose(coef, alone.coef_, atol=1e-2 * abs(alone.coef_).max() + 1e-12)
        assert -1e-12 <= gap <= 1e-4 * np.average((Y - Y.mean()) ** 2, weights=WEIGHT) * 1.1
    assert_allclose(alphas, alphas[0] * np.logspace(0, -2, 5))
    assert not coefs[:, 0].any()
    assert coefs[:, 1].any()


@pytest.mark.parametrize(
    ("parameters", "options", "text"),
    [
        ({"l1_ratio": 0.0}, {}, "not supported for l1_ratio=0"),
        ({}, {"alphas": 0}, "alphas=0 must be at least 1"),
        ({}, {"eps": 0.0}, r"eps=0\.0 above 0"),
        ({}, {"alphas": [1.0, -1.0]}, "a list of numbers >= 0"),
        ({"l1_ratio": 2.0}, {}, "'l1_ratio' parameter of CodedElasticNet must be a float"),
    ],
)
def test_bad_paths_are_refused(parameters: Any, options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CodedElasticNet(**parameters).path(X, Y, **options)


def test_bad_parameters_are_refused() -> None:
    for model in (CodedLasso(solver="lbfgs"), CodedLasso(solver="cholesky")):
        with pytest.raises(InvalidParameterError, match="'solver' parameter of CodedLasso"):
            model.fit(X, Y)
    with pytest.raises(ValueError, match="takes no L1 penalty"):
        CodedLasso(solver=LBFGS()).fit(X, Y)
    assert "l1_ratio" not in CodedLasso().get_params()
    assert "alpha" not in CodedLinearRegression().get_params()


@every_kind_of_rows
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_linear_regression_is_scikit_learns(name: str, fit_intercept: bool) -> None:
    rows, y = ROWS[name], Y[: len(ROWS[name])]
    if name == "far" and not fit_intercept:
        pytest.skip("that is for L-BFGS: see test_without_an_intercept.py")
    model = CodedLinearRegression(fit_intercept=fit_intercept).fit(rows, y)
    theirs = LinearRegression(fit_intercept=fit_intercept).fit(rows, y)
    assert_allclose(model.coef_, theirs.coef_, rtol=1e-6, atol=1e-9)
    assert len(model.history_) == 1
    plain = model.to_sklearn()
    assert type(plain) is LinearRegression
    assert_array_equal(plain.predict(rows), model.predict(rows))
    assert model.score(rows, y) == pytest.approx(theirs.score(rows, y), abs=1e-9)


def test_a_sparse_model_comes_out() -> None:
    model = CodedLasso(0.2).fit(X, Y)
    assert_array_equal(model.sparse_coef_.toarray(), model.coef_[None])
    assert model.sparse_coef_.nnz == np.count_nonzero(model.coef_) < 12
    plain = model.to_sklearn()
    assert (plain.alpha, plain.dual_gap_) == (0.2, model.dual_gap_)
    assert_array_equal(plain.sparse_coef_.toarray(), model.sparse_coef_.toarray())


@pytest.mark.cluster
def test_on_a_cluster(client: Client) -> None:
    lasso = Lasso(0.2, tol=1e-8, precompute=True).fit(ROWS["far"], Y, WEIGHT)
    least = LinearRegression().fit(ROWS["far"], Y, WEIGHT)
    lazy = [da.from_array(a, chunks=(70, *a.shape[1:])) for a in (ROWS["far"], Y, WEIGHT)]
    for code in (FractionalRepetition(4, 1), CyclicRepetition(4, 2)):
        with place(*lazy[:2], sample_weight=lazy[2], code=code) as data:
            model = CodedLasso(0.2, tol=1e-8).fit(data)
            assert_same(model, lasso, rtol=1e-6)
            assert len(model.history_) == 1
            found = CodedLinearRegression().fit(data).coef_
            assert_allclose(found, least.coef_, atol=1e-6 * abs(least.coef_).max())
            path = CodedLasso(tol=1e-8).path(data, alphas=[0.2])
            assert_allclose(path[1][:, 0], model.coef_, atol=1e-6)
