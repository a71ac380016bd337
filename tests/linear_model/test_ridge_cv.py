"""Cross-validated ridge regression: scikit-learn's choice, score and model, in few rounds."""

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
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    TimeSeriesSplit,
    check_cv,
)
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode import CodedRidgeCV, place
from dask_gradcode.codes import CyclicRepetition
from dask_gradcode.linear_model.held_out import SCORES
from helpers import gradcode_keys, wait_until

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 12)) * np.linspace(0.2, 3.0, 12)
X[:, 5] += X[:, 4]
Y = X[:, ::3] @ [1.0, -2.0, 0.5, 3.0] + 4.0 + RNG.normal(size=200) * 3.0
WEIGHT = RNG.integers(0, 4, 200).astype(float)
ALPHAS = np.array([30.0, 0.1, 300.0, 3.0])  # in no order

ROWS: dict[str, Any] = {
    "plain": X,
    "sparse": csr_array(np.where(RNG.random(X.shape) < 0.5, X, 0.0)),
    "far": X + 1e8 * (np.arange(12) % 2),
    "twice": np.column_stack([X, X[:, :4], 0 * X[:, 0]]),
    "more columns than rows": RNG.normal(size=(40, 60)),
}
every_kind_of_rows = pytest.mark.parametrize("name", ROWS)
weighted = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
with_and_without_intercept = pytest.mark.parametrize("fit_intercept", [True, False])


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    assert ours.alpha_ == theirs.alpha_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=10 * rtol)
    assert_allclose(ours.coef_, theirs.coef_, atol=rtol * abs(theirs.coef_).max())


def by_hand(ours: Any, rows: Any, y: Any, weight: Any) -> Any:
    """Return a model of all rows that plain loops over folds and strengths choose."""
    score, w = get_scorer(ours.scoring or "r2"), np.ones(len(y)) if weight is None else weight
    means = [
        np.mean(
            [
                score(
                    Ridge(alpha, fit_intercept=ours.fit_intercept, solver="svd").fit(
                        rows[train], y[train], w[train]
                    ),
                    rows[test],
                    y[test],
                    sample_weight=w[test],
                )
                for train, test in check_cv(ours.cv).split(rows, y)
            ]
        )
        for alpha in ours.alphas
    ]
    best = np.argmax(means)
    model: Any = Ridge(ours.alphas[best], fit_intercept=ours.fit_intercept, solver="svd")
    model.alpha_, model.best_score_ = ours.alphas[best], means[best]
    return model.fit(rows, y, w)


@every_kind_of_rows
@weighted
@with_and_without_intercept
@pytest.mark.parametrize(
    "cv", [5, KFold(4, shuffle=True, random_state=0)], ids=["runs", "shuffled"]
)
def test_folds_choose_as_plain_loops_do(
    name: str, weight: Any, fit_intercept: bool, cv: Any
) -> None:
    rows = ROWS[name]
    if name == "far" and not fit_intercept:
        pytest.skip("nothing takes the means up")
    y, weight = Y[: rows.shape[0]], None if weight is None else weight[: rows.shape[0]]
    ours = CodedRidgeCV(ALPHAS, fit_intercept=fit_intercept, cv=cv).fit(rows, y, weight)
    dense = rows.toarray() if name == "sparse" else rows
    near = dense - 1e8 * (np.arange(12) % 2) if name == "far" else dense
    theirs = by_hand(ours, near, y, weight)
    assert_same(ours, theirs, rtol=1e-6 if name == "far" else 1e-9)
    assert_allclose(ours.predict(rows), theirs.predict(near), atol=1e-5 if name == "far" else 1e-9)
    assert len(ours.history_) == 1
    assert ours.n_features_in_ == rows.shape[1]


@every_kind_of_rows
@weighted
@with_and_without_intercept
def test_leave_one_out_is_scikit_learns(name: str, weight: Any, fit_intercept: bool) -> None:
    rows = ROWS[name]
    if name == "far" and not fit_intercept:
        pytest.skip("nothing takes the means up")
    y, weight = Y[: rows.shape[0]], None if weight is None else weight[: rows.shape[0]]
    ours = CodedRidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(rows, y, weight)
    theirs = RidgeCV(ALPHAS, fit_intercept=fit_intercept).fit(rows, y, weight)
    assert_same(ours, theirs, rtol=1e-6 if name == "far" else 1e-9)
    atol = 1e-5 if name == "far" else 1e-9
    assert_allclose(ours.predict(rows), theirs.predict(rows), atol=atol)
    assert len(ours.history_) == 2


@weighted
@with_and_without_intercept
def test_columns_may_have_any_scale(weight: Any, fit_intercept: bool) -> None:
    rows = X[:, :5] * [1e-6, 1e-3, 1.0, 1e3, 1e6]
    alphas = [1e-4, 1e-2, 1.0]
    ours = CodedRidgeCV(alphas, fit_intercept=fit_intercept).fit(rows, Y, weight)
    theirs = RidgeCV(alphas, fit_intercept=fit_intercept, gcv_mode="svd").fit(rows, Y, weight)
    assert ours.alpha_ == theirs.alpha_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-6)
    ours = CodedRidgeCV(alphas, fit_intercept=fit_intercept, cv=3).fit(rows, Y, weight)
    assert_same(ours, by_hand(ours, rows, Y, weight), rtol=1e-7)


@weighted
@pytest.mark.parametrize("scoring", [None, *SCORES])
def test_scores_are_scikit_learns(weight: Any, scoring: Any) -> None:
    weight = None if weight is None else weight + 0.5
    ours = CodedRidgeCV(ALPHAS, scoring=scoring).fit(X, Y, weight)
    assert_same(ours, RidgeCV(ALPHAS, scoring=scoring).fit(X, Y, weight))
    ours = CodedRidgeCV(ALPHAS, scoring=scoring, cv=3).fit(X, Y, weight)
    assert_same(ours, by_hand(ours, X, Y, weight))
    if weight is None:
        assert_same(ours, RidgeCV(ALPHAS, scoring=scoring, cv=3).fit(X, Y))


@weighted
def test_leave_one_out_leaves_one_row_out(weight: Any) -> None:
    rows, y = X[:30], Y[:30]
    weight = np.ones(30) if weight is None else weight[:30]
    ours = CodedRidgeCV(2.0).fit(rows, y, weight)
    squares = []
    for row in range(30):
        others = np.arange(30) != row
        model = Ridge(2.0).fit(rows[others], y[others], weight[others])
        squares.append(weight[row] * (y[row] - model.predict(rows[[row]])[0]) ** 2)
    assert ours.best_score_ == pytest.approx(-np.mean(squares))
    assert_allclose(ours.coef_, Ridge(2.0).fit(rows, y, weight).coef_, rtol=1e-9)


def test_folds_may_be_any_that_hold_out_each_row_once() -> None:
    numbers = RNG.permutation(200) % 3
    listed = [(np.flatnonzero(numbers != k), np.flatnonzero(numbers == k)) for k in range(3)]
    for cv in (listed, PredefinedSplit(numbers)):
        ours = CodedRidgeCV(ALPHAS, cv=cv).fit(X, Y)
        assert_same(ours, RidgeCV(ALPHAS, cv=cv).fit(X, Y))
    masks = [(numbers != k, numbers == k) for k in range(3)]
    for cv in (masks, iter(listed)):
        assert CodedRidgeCV(ALPHAS, cv=cv).fit(X, Y).best_score_ == ours.best_score_


@pytest.mark.parametrize(
    ("cv", "text"),
    [
        (ShuffleSplit(3, random_state=0), r"a row is held out \d times"),
        (TimeSeriesSplit(3), "fold 0 is not trained on all rows but its own"),
        ([(range(100), range(100, 200))], "there are fewer than two folds"),
        ([(range(100), range(100, 200))] * 2, "a row is held out 0 times"),
    ],
    ids=["shuffled", "series", "one", "twice"],
)
def test_other_folds_are_refused(cv: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"cv must hold out each row once.* {text}. Use GridSea"):
        CodedRidgeCV(cv=cv).fit(X, Y)


def test_no_penalty_is_for_folds_alone() -> None:
    ours = CodedRidgeCV([0.0, 1e6], cv=3).fit(X, Y)
    assert ours.alpha_ == 0.0
    assert_same(ours, by_hand(ours, X, Y, None))
    for alphas in ([1.0, 0.0], [0.0], [2.0, -1.0], (1.0, 0.0, 3.0)):
        for cv in (None, 3):
            messages = []
            for model in (CodedRidgeCV(alphas, cv=cv), RidgeCV(alphas, cv=cv)):
                try:
                    messages.append(str(model.fit(X, Y)))
                except ValueError as error:
                    messages.append(str(error))
            assert messages[0].removeprefix("Coded") == messages[1]


def test_of_equal_scores_the_first_wins() -> None:
    for cv in (None, 3):
        ours = CodedRidgeCV([2.0, 2.0], cv=cv).fit(X, np.zeros(200))
        assert_same(ours, RidgeCV([2.0, 2.0], cv=cv).fit(X, np.zeros(200)))
        assert CodedRidgeCV(2.0, cv=cv).fit(X, Y).alpha_ == 2.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"must be a str among .*'r2'.* or None"):
        CodedRidgeCV(scoring="neg_mean_absolute_error").fit(X, Y)
    with pytest.raises(ValueError, match="takes one target, got y of shape"):
        CodedRidgeCV().fit(X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        CodedRidgeCV().fit(X)
    with pytest.raises(ValueError, match="alphas must be a number or a list of them"):
        CodedRidgeCV([[1.0, 2.0]]).fit(X, Y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        CodedRidgeCV(cv=3).fit(X, np.where(Y > 0.0, Y, np.nan))
    for rows, weight in ((slice(1), None), (slice(9), np.eye(9)[4])):
        with pytest.raises(ValueError, match="not finite: there is but one sample"):
            CodedRidgeCV().fit(X[rows], Y[rows], weight)
    with pytest.raises(ValueError, match=r"R\^2 needs two rows in each fold, and 5 rows in 3"):
        CodedRidgeCV(cv=3).fit(X[:5], Y[:5])
    assert CodedRidgeCV(cv=3, scoring="neg_mean_squared_error").fit(X[:5], Y[:5]).coef_.all()
    for some, text in ((slice(100), "in fold 0"), (slice(100, 200), "not in fold 0")):
        weight = np.ones(200)
        weight[some] = 0.0
        with pytest.raises(ValueError, match=f"All rows that are {text} have sample weight 0"):
            CodedRidgeCV(cv=2).fit(X, Y, weight)
    with pytest.raises(ValueError, match="carries 5 Gram matrices of 3000 features, together 172"):
        CodedRidgeCV(cv=5).fit(csr_array((40, 3000)), Y[:40])
    with pytest.raises(ValueError, match="carries 1 Gram matrices of 5000 features"):
        CodedRidgeCV().fit(csr_array((40, 5000)), Y[:40])


@pytest.mark.parametrize("cv", [None, 3])
def test_frames_rows_of_float32_and_a_plain_model(cv: Any) -> None:
    rough = X.astype(np.float32)
    theirs = RidgeCV(ALPHAS, cv=cv).fit(rough.astype(float), Y)
    model = CodedRidgeCV(ALPHAS, cv=cv)
    assert_same(model.fit(pd.DataFrame(rough, columns=list("abcdefghijkl")), Y), theirs)
    assert model.feature_names_in_.tolist() == list("abcdefghijkl")
    assert_same(model.fit(rough, Y), theirs)
    assert not hasattr(model, "feature_names_in_")
    plain = model.to_sklearn()
    assert type(plain) is RidgeCV
    assert (plain.alpha_, plain.best_score_) == (model.alpha_, model.best_score_)
    assert_array_equal(plain.predict(X), model.predict(X))
    assert model.score(X, Y) == pytest.approx(theirs.score(X, Y))


@pytest.mark.cluster
def test_on_a_cluster(client: Client) -> None:
    runs, left_out = (CodedRidgeCV(ALPHAS, cv=cv).fit(X, Y, WEIGHT) for cv in (3, None))
    weight = da.from_array(WEIGHT, chunks=80)
    chunked = da.from_array(ROWS["far"], chunks=(70, 5)), da.from_array(Y, chunks=50)
    cut = da.from_array(X, chunks=(70, 12))
    for rows, y, w in (
        (X, Y, WEIGHT),
        (*chunked, weight),
        (cut.map_blocks(csr_array), chunked[1], weight),
    ):
        for cv, expected in ((KFold(3), runs), (None, left_out)):
            model = CodedRidgeCV(ALPHAS, cv=cv).fit(rows, y, w)
            assert_same(model, expected, rtol=1e-6 if rows is chunked[0] else 1e-9)
            assert len(model.history_) == 1 + (cv is None)
            assert model.n_features_in_ == 12
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcdefghijkl")), npartitions=3)
    lazy = dd.from_pandas(pd.Series(Y), npartitions=3)
    model = CodedRidgeCV(ALPHAS).fit(frame, lazy)
    assert_same(model, RidgeCV(ALPHAS).fit(X, Y))
    with pytest.raises(ValueError, match=r"lengths of chunks must be known.*X\.to_dask_array"):
        CodedRidgeCV(ALPHAS, cv=3).fit(frame, lazy)
    with pytest.raises(ValueError, match="KFold without shuffle, got cv=KFold"):
        CodedRidgeCV(cv=KFold(3, shuffle=True)).fit(cut, Y)
    with pytest.raises(ValueError, match="number of splits n_splits=300 greater than"):
        CodedRidgeCV(cv=300).fit(cut, Y)
    with place(X, Y, sample_weight=WEIGHT, code=CyclicRepetition(4, 2)) as data:
        assert_same(CodedRidgeCV(ALPHAS).fit(data), left_out)
        with pytest.raises(ValueError, match="needs to place rows with the numbers of their"):
            CodedRidgeCV(cv=3).fit(data)
    wait_until(lambda: gradcode_keys(client) == [])
