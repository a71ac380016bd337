"""Cross-validated logistic regression: scikit-learn's scores, choice and models."""

from __future__ import annotations

import re
from inspect import signature
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import KFold, LeaveOneGroupOut, ShuffleSplit, StratifiedKFold
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode import CodedLogisticRegressionCV, place
from dask_gradcode.linear_model.pairs import allocation
from dask_gradcode.work.fold_loss import SCORES
from helpers import gradcode_keys, wait_until

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)) * np.linspace(0.5, 2.0, 6)
Z = X @ RNG.normal(size=(6, 3)) + 0.7 * RNG.gumbel(size=(240, 3))
LABELS = {"binary": np.array(["no", "yes"])[(Z[:, 0] > 0.3).astype(int)], "three": Z.argmax(axis=1)}
WEIGHT = RNG.integers(0, 4, 240).astype(float)
CS = [3.0, 0.01, 0.3]  # in no order

ROWS: dict[str, Any] = {
    "plain": X,
    "sparse": csr_array(np.where(RNG.random(X.shape) < 0.6, X, 0.0)),
    "far": X + 100.0 * (np.arange(6) % 2),
}
every_kind_of_labels = pytest.mark.parametrize("labels", LABELS)
weighted = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])


def ours(**parameters: Any) -> CodedLogisticRegressionCV:
    return CodedLogisticRegressionCV(**{"Cs": CS, "cv": 3, "tol": 1e-9, **parameters}, max_iter=900)


def twin(model: CodedLogisticRegressionCV) -> LogisticRegressionCV:
    """Return scikit-learn's estimator of the same parameters, set to end at the minimum."""
    plain = {name: getattr(model, name) for name in ("Cs", "cv", "fit_intercept", "class_weight")}
    new = {"use_legacy_attributes": False, "l1_ratios": (0.0,)}
    if not new.keys() <= signature(LogisticRegressionCV).parameters.keys():
        pytest.skip("scikit-learn before 1.8 names and shapes attributes otherwise")
    return LogisticRegressionCV(
        **plain,
        **new,
        scoring=model.scoring,
        refit=model.refit,
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=500,
    )


def assert_same(model: Any, theirs: Any, atol: float = 1e-5) -> None:
    assert pytest.approx(theirs.C_) == model.C_
    assert_array_equal(model.classes_, theirs.classes_)
    for name in ("scores_", "coefs_paths_", "coef_", "intercept_"):
        mine, twins = getattr(model, name), getattr(theirs, name)
        assert mine.shape == twins.shape, name
        assert_allclose(mine, twins, atol=atol, err_msg=name)
    assert model.n_iter_.shape == theirs.n_iter_.shape


@every_kind_of_labels
@weighted
@pytest.mark.parametrize("rows", ROWS)
def test_models_and_scores_are_scikit_learns(rows: str, labels: str, weight: Any) -> None:
    model = ours(scoring="neg_log_loss").fit(ROWS[rows], LABELS[labels], weight)
    assert_same(model, twin(model).fit(ROWS[rows], LABELS[labels], sample_weight=weight))
    assert model.n_iter_.max() < len(model.history_) < model.n_iter_.sum() / 2
    assert len({record.round for record in model.history_}) == len(model.history_)


@every_kind_of_labels
@pytest.mark.parametrize(
    ("refit", "weight"), [(True, WEIGHT), (False, None)], ids=["weighted", "means"]
)
@pytest.mark.parametrize("scoring", SCORES)
def test_every_score_chooses_as_the_twins(
    scoring: Any, labels: str, weight: Any, refit: bool
) -> None:
    model = ours(scoring=scoring, refit=refit, class_weight="balanced")
    y = LABELS[labels]
    if scoring == "neg_brier_score":  # the twin's score takes no others
        y = np.unique(y, return_inverse=True)[1]
    theirs = twin(model.fit(X, y, weight)).fit(X, y, sample_weight=weight)
    assert_same(model, theirs)
    score = theirs.score(X, y, sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(score, abs=1e-6)


@every_kind_of_labels
def test_without_an_intercept(labels: str) -> None:
    model = ours(fit_intercept=False, class_weight=None).fit(X, LABELS[labels])
    assert_same(model, twin(model).fit(X, LABELS[labels]))
    assert_array_equal(model.intercept_, np.zeros(model.coef_.shape[0]))


def test_columns_that_are_far_from_zero_or_many() -> None:
    y = LABELS["three"]
    model = ours(scoring="neg_log_loss", Cs=[0.1, 1.0]).fit(X, y)
    far = ours(scoring="neg_log_loss", Cs=[0.1, 1.0], tol=1e-7).fit(X + 1e4 * (np.arange(6) % 2), y)
    assert_allclose(far.scores_, model.scores_, atol=1e-6)
    assert_allclose(far.coefs_paths_[..., :-1], model.coefs_paths_[..., :-1], atol=1e-4)
    many = np.column_stack([X, RNG.normal(size=(240, 50))])  # a Gram matrix would cost too much
    model = ours(scoring="neg_log_loss", Cs=[0.1], cv=2).fit(many, y)
    assert_same(model, twin(model).fit(many, y))


def test_training_rows_may_lack_a_class() -> None:
    y = np.where(np.arange(240) < 2, 3, LABELS["three"])  # the first fold has all rows of label 3
    model = ours(cv=KFold(3), Cs=[0.3, 0.01]).fit(X, y, WEIGHT)
    theirs = twin(model)
    theirs.set_params(solver="lbfgs", tol=1e-7).fit(X, y, sample_weight=WEIGHT)
    assert_array_equal(model.classes_, [0, 1, 2, 3])
    assert_allclose(model.scores_, theirs.scores_, atol=1e-12)
    # nothing holds the intercept of a label that is not there
    slopes, twins = (each.coefs_paths_[..., :-1] for each in (model, theirs))
    assert_allclose(slopes, twins, atol=1e-3)
    assert_allclose(model.coef_, theirs.coef_, atol=1e-4)
    assert model.C_ == theirs.C_


def test_folds_may_be_any_that_hold_out_each_row_once() -> None:
    y, groups = LABELS["three"], RNG.permutation(240) % 4
    listed = list(LeaveOneGroupOut().split(X, y, groups))
    for cv in (listed, StratifiedKFold(4, shuffle=True, random_state=1)):
        model = ours(cv=cv).fit(X, y)
        assert_same(model, twin(model).fit(X, y))
    for cv in (None, 5):
        with_five = ours(cv=cv, Cs=[1.0]).fit(X, y)
        assert with_five.scores_.shape == (5, 1, 1)
    with pytest.raises(ValueError, match=r"a row is held out \d times. Use GridSearchCV\(CodedLog"):
        ours(cv=ShuffleSplit(3, random_state=0)).fit(X, y)


def test_of_equal_scores_the_first_wins_though_sums_are_rounded() -> None:
    y = (X[:, 0] > 0.0).astype(int)
    Cs = [50.0, 100.0, 30.0]
    model = ours(Cs=Cs, tol=1e-6).fit(10.0 * X[:, :1], y, np.full(240, 0.1))
    assert_array_equal(model.scores_[:, 0].argmax(axis=1), [0, 0, 0])
    assert model.C_ == 50.0


@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_allocation_is_that_of_stratified_folds(n_folds: int) -> None:
    y = RNG.choice(4, size=101, p=[0.1, 0.5, 0.2, 0.2])
    _, first = np.unique(y, return_index=True)
    order = np.argsort(first)
    found = allocation(np.bincount(y)[order], n_folds)
    for fold, (_, test) in enumerate(StratifiedKFold(n_folds).split(y, y)):
        assert_array_equal(found[fold], np.bincount(y[test], minlength=4)[order])


def test_too_few_iterations_are_a_warning() -> None:
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 2 iteration"):
        model = CodedLogisticRegressionCV(max_iter=2, cv=2, tol=1e-9).fit(X, LABELS["three"])
    assert model.n_iter_.max() == 2


def test_other_solvers_reach_the_same_models() -> None:
    model = ours(solver="nesterov", tol=1e-7, Cs=[0.01, 0.3]).fit(X, LABELS["binary"])
    assert_same(model, twin(model).fit(X, LABELS["binary"]), atol=1e-4)


def test_bad_input_is_refused() -> None:
    y = LABELS["binary"]
    for parameters, text in (
        ({"scoring": "roc_auc"}, r"must be a str among .*'neg_log_loss'.* or None.*GridSearchCV"),
        ({"solver": "newton-cholesky"}, r"'solver' parameter .* must be a str among .*'lbfgs'"),
        ({"Cs": 0}, r"'Cs' parameter .* must be an int in the range \[1, inf\)"),
    ):
        with pytest.raises(InvalidParameterError, match=text):
            ours(**parameters).fit(X, y)
    for Cs in ([1.0, 0.0], ["1", "much"], [[1.0], [1.0, 2.0]]):
        got = re.escape(f"in the range (0.0, inf], got {Cs}.")
        with pytest.raises(ValueError, match=f"Cs must be .* {got}"):
            ours(Cs=Cs).fit(X, y)
    for ratios in ([0.0, 0.5], []):
        with pytest.raises(ValueError, match=r"'l2' or None penalties, got l1_r.*GridSearchCV"):
            ours(l1_ratios=ratios).fit(X, y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        ours().fit(X)
    with pytest.raises(ValueError, match="at least 2 classes in the data, but the data contains"):
        ours().fit(X, np.ones(240))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        ours().fit(X, X[:, 0])
    for some, text in ((slice(80), "in fold 0"), (slice(80, 240), "not in fold 0")):
        weight = np.ones(240)
        weight[some] = 0.0
        with pytest.raises(ValueError, match=f"All rows that are {text} have sample weight 0"):
            ours(cv=KFold(3)).fit(X, y, weight)
    halves = np.repeat(["no", "yes"], 120)
    for weights, text in (
        ({"no": 0.0, "yes": 0.0}, "No row counts with class_weight={'no': 0.0, 'yes': 0.0}"),
        ({"no": 0.0, "yes": 1.0}, "not in fold 1 have sample weight 0, or their class has"),
    ):
        with pytest.raises(ValueError, match=text):
            ours(cv=KFold(2), class_weight=weights).fit(X, halves)
    model = ours(scoring="neg_log_loss", Cs=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="y contains previously unseen labels: \\['perhaps'\\]"):
        model.score(X, np.array(["no", "perhaps"] * 120))
    for column, weight in ((y[1:], None), (y, WEIGHT[1:])):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples: .*239"):
            model.score(X, column, weight)


def test_what_is_printed_is_a_line_for_rounds_with_gradients(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = CodedLogisticRegressionCV(Cs=[0.1, 1.0], cv=2, verbose=1).fit(X, LABELS["binary"])
    lines = capsys.readouterr().out.splitlines()
    values = np.array(model.history_.columns["value"])
    assert len(lines) == np.isfinite(values).sum() > 2
    assert lines[0].startswith("[CodedLogisticRegressionCV] iteration 1: value 0.69314718")


def test_frames_and_a_plain_model() -> None:
    frame, y = pd.DataFrame(X, columns=list("abcdef")), LABELS["three"]
    model = ours(scoring="neg_log_loss").fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcdef")
    plain = model.to_sklearn()
    assert type(plain) is LogisticRegressionCV
    assert_array_equal(plain.predict_proba(frame), model.predict_proba(frame))
    assert_array_equal(plain.scores_, model.scores_)
    assert plain.C_ == model.C_
    assert_same(ours(scoring="neg_log_loss").fit(X.astype(np.float32), y), model, atol=1e-4)


@pytest.mark.cluster
def test_on_a_cluster(client: Client) -> None:
    for labels, scoring in (("binary", None), ("three", "neg_log_loss")):
        y = LABELS[labels]
        lazy, weight = da.from_array(y, chunks=90), da.from_array(WEIGHT, chunks=100)
        cut = da.from_array(X, chunks=(70, 4))
        model = ours(scoring=scoring, tol=1e-7)
        theirs = twin(model).fit(X, y, sample_weight=WEIGHT)
        for rows, column, w in (
            (cut, lazy, weight),
            (X, y, WEIGHT)
            if scoring is None
            else (cut.rechunk((70, 6)).map_blocks(csr_array), y, weight),
        ):
            assert_same(model.fit(rows, column, w), theirs, atol=1e-4)
            assert model.n_features_in_ == 6
        assert model.code_.n_workers == 4
        if scoring is None:
            assert model.score(cut, lazy) == model.score(X, y)
        else:
            with pytest.raises(ValueError, match="'neg_log_loss' is for rows in memory"):
                model.score(cut, lazy)
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcdef")), npartitions=3)
    series = dd.from_pandas(pd.Series(y), npartitions=3)  # of unknown lengths to Dask
    assert_same(ours(Cs=[0.1]).fit(frame, series), ours(Cs=[0.1]).fit(X, y))
    with pytest.raises(ValueError, match="StratifiedKFold without shuffle, got cv=KFold"):
        ours(cv=KFold(3)).fit(cut, lazy)
    with pytest.raises(ValueError, match="without shuffle, got cv of type list"):
        ours(cv=[*KFold(3).split(X)]).fit(cut, lazy)
    with pytest.raises(ValueError, match=r"^Chunk 1 of y: Input y contains NaN\.$"):
        ours().fit(cut, da.from_array(np.where(np.arange(240) == 150, np.nan, y), chunks=90))
    with pytest.raises(ValueError, match="n_splits=200 cannot be greater than the number of mem"):
        ours(cv=200).fit(cut, lazy)
    few = da.from_array(np.where(np.arange(240) < 2, 3, y), chunks=80)
    with pytest.warns(UserWarning, match="class in y has only 2 members, which is less") as caught:
        lacking = ours(Cs=[0.1]).fit(cut, few)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="has only 2 members") as twins:
        here = ours(Cs=[0.1]).fit(X, few.compute())
    assert str(caught[0].message) == str(twins[0].message)
    assert_allclose(lacking.scores_, here.scores_)
    with place(X, y) as data, pytest.raises(ValueError, match="needs to place rows with the numb"):
        ours().fit(data)
    wait_until(lambda: gradcode_keys(client) == [])
