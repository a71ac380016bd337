"""Least squares from one round: scikit-learn's coefficients, however columns lie."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode import CodedPoissonRegressor, CodedRidge, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded
from dask_gradcode.linear_model.one_round import Cholesky
from dask_gradcode.losses import Squared
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Block

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5))
Y = X @ [1.0, -2.0, 0.5, 0.0, 3.0] + 4.0 + RNG.normal(size=200)
WEIGHT = RNG.integers(0, 4, 200).astype(float)

ROWS: dict[str, Matrix] = {
    "plain": X,
    "far": X + 1e8 * np.array([1.0, 0.0, -1.0, 1.0, 0.0]),
    "twice": np.column_stack([X, X[:, :2], 0 * X[:, 0]]),
    "a sum": np.column_stack([X, X.sum(axis=1)]),
    "constant": np.column_stack([X, np.full(200, 0.1)]),
    "scaled": X * [1e-6, 1e-3, 1.0, 1e3, 1e6],
    "more columns than rows": RNG.normal(size=(200, 5)).reshape(20, 50) * 10.0,
}
every_kind_of_rows = pytest.mark.parametrize("name", ROWS)


def least_squares(rows: Matrix, y: Vector, weight: Vector | None, fit_intercept: bool) -> Vector:
    """Return the best coefficients, of many the smallest, by singular values of centred columns."""
    w = np.ones(len(y)) if weight is None else weight
    if fit_intercept:
        rows, y = rows - np.average(rows, axis=0, weights=w), y - np.average(y, weights=w)
    size = np.linalg.norm(rows, axis=0)
    scale = size if size.max() > 1e9 * size.min() > 1.0 else 1.0  # no constant among them
    root = np.sqrt(w)[:, None]
    found = np.linalg.lstsq(root * rows / scale, root[:, 0] * y, rcond=1e-12)[0] / scale
    return np.asarray(found)


@every_kind_of_rows
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_ridge_has_the_coefficients_of_exact_solvers(
    name: str, weight: Any, fit_intercept: bool, alpha: float
) -> None:
    rows, y = ROWS[name], Y[: len(ROWS[name])]
    weight = None if weight is None else weight[: len(y)]
    if name == "far" and not fit_intercept:
        pytest.skip("that is for L-BFGS: see test_without_an_intercept.py")
    ours = CodedRidge(alpha, fit_intercept=fit_intercept).fit(rows, y, weight)
    if alpha:
        theirs = Ridge(alpha, fit_intercept=fit_intercept, solver="svd").fit(rows, y, weight)
        expected = theirs.coef_
        assert_allclose(ours.predict(rows), theirs.predict(rows), atol=1e-6)
    else:
        expected = least_squares(rows, y, weight, fit_intercept)
    assert_allclose(ours.coef_, expected, rtol=1e-6, atol=1e-9 * abs(expected).max())
    assert (ours.n_iter_, len(ours.history_)) == (1, 1)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sparse_rows_have_the_same_coefficients(weight: Any, fit_intercept: bool) -> None:
    rows = np.where(RNG.random(X.shape) < 0.5, X, 0.0) + 50.0 * (np.arange(5) == 4)
    ours, theirs = (
        model(2.0, fit_intercept=fit_intercept, solver="cholesky").fit(form(rows), Y, weight)
        for model, form in ((CodedRidge, csr_array), (Ridge, np.asarray))
    )
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
    assert len(ours.history_) == 1


def test_rows_of_which_a_gram_matrix_would_lose_digits_are_left_to_lbfgs() -> None:
    far = X + 1e6
    for model, rows in (
        (CodedRidge(), csr_array(far)),
        (CodedRidge(fit_intercept=False), far),
        (CodedRidge(fit_intercept=False), csr_array(far)),
    ):
        found = model.fit(rows, Y)
        assert len(found.history_) > found.n_iter_ > 1
        theirs = Ridge(fit_intercept=model.fit_intercept, solver="svd").fit(far, Y)
        assert_allclose(found.predict(far), theirs.predict(far), atol=1e-3)


def test_too_many_features_are_refused_or_left_to_lbfgs() -> None:
    rows = csr_array((np.ones(4), ([0, 1, 2, 3], [0, 5, 9, 4094])), shape=(4, 4095))
    y = np.array([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match=r"Cholesky\(\) takes at most 4095 .*got 4096, .*'lbfgs'"):
        CodedRidge(solver="cholesky").fit(rows, y)
    model = CodedRidge().fit(rows, y)
    assert len(model.history_) > 1
    assert_allclose(model.coef_, Ridge(solver="lsqr", tol=1e-12).fit(rows, y).coef_, atol=1e-6)


def test_it_is_a_solver_of_least_squares_alone() -> None:
    with pytest.raises(InvalidParameterError, match="'solver' parameter"):
        CodedPoissonRegressor(solver="cholesky").fit(X, abs(Y))


def test_a_warm_start_and_no_iteration_at_all() -> None:
    model = CodedRidge(warm_start=True).fit(X, Y)
    cold = model.coef_
    assert_allclose(model.fit(X, Y).coef_, cold, rtol=1e-12)
    rows, best = ROWS["twice"], least_squares(ROWS["twice"], Y, None, True)
    twice = CodedRidge(0.0, warm_start=True).fit(rows, Y)
    twice.coef_ = twice.coef_ + np.array([1.0, 0, 0, 0, 0, -1.0, 0, 7.0])  # as good, but larger
    assert_allclose(twice.fit(rows, Y).coef_, best, atol=1e-12)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=0"):
        none = CodedRidge(max_iter=0).fit(X, Y)
    assert not none.coef_.any()
    assert none.intercept_ == pytest.approx(Y.mean())


def test_a_checkpoint_needs_no_second_round(tmp_path: Any) -> None:
    whole = CodedRidge(checkpoint=tmp_path).fit(X, Y)
    again = CodedRidge(checkpoint=tmp_path).fit(X, Y)
    assert again.coef_.tobytes() == whole.coef_.tobytes()
    assert (len(whole.history_), len(again.history_), again.n_iter_) == (1, 0, 1)


def test_sums_that_are_not_finite_are_an_error() -> None:
    objective = InProcessObjective(Uncoded(1), {0: Block(X * 1e160, Y)}, Squared())
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="are not finite"):
        Cholesky().minimize(objective, np.zeros(5))


@pytest.mark.cluster
def test_on_a_cluster(client: Client) -> None:
    for name, form in (("far", np.asarray), ("twice", csr_array)):
        rows, theirs = form(ROWS[name]), LinearRegression().fit(ROWS[name], Y, WEIGHT)
        lazy = [da.from_array(a, chunks=(70, *a.shape[1:])) for a in (ROWS[name], Y, WEIGHT)]
        with (
            place(rows, Y, sample_weight=WEIGHT, code=FractionalRepetition(4, 1)) as one,
            place(rows, Y, sample_weight=WEIGHT, code=CyclicRepetition(4, 2)) as other,
        ):
            for data in ([one], [other], lazy):
                model = CodedRidge(0.0).fit(*data)
                assert_allclose(model.coef_, theirs.coef_, rtol=1e-6, atol=1e-9)
                assert len(model.history_) == 1
