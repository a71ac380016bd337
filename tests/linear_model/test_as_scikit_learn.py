"""In this process: the same model as scikit-learn's, and its conventions."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from dask_gradcode import (
    CodedElasticNet,
    CodedGammaRegressor,
    CodedHuberRegressor,
    CodedLasso,
    CodedLinearRegression,
    CodedLinearSVC,
    CodedLogisticRegression,
    CodedLogisticRegressionCV,
    CodedPoissonRegressor,
    CodedRidge,
    CodedRidgeCV,
    CodedTweedieRegressor,
    linear_model,
)
from dask_gradcode.codes import Uncoded
from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov
from helpers import assert_same_model, logistic_data, reference, tight

X, Y = logistic_data(300, 4)
WEIGHT = np.random.default_rng(3).integers(0, 4, len(Y)).astype(float)


ESTIMATORS = [
    CodedLogisticRegression(),
    CodedLogisticRegression(solver="nesterov", l1_ratio=0.5),
    CodedLogisticRegressionCV(Cs=[0.1, 1.0], cv=2),
    CodedRidge(),
    CodedRidge(solver="lbfgs"),
    CodedRidgeCV(),
    CodedRidgeCV(cv=3),
    CodedLinearRegression(),
    CodedElasticNet(),
    CodedLasso(),
    CodedPoissonRegressor(),
    CodedHuberRegressor(),
    CodedGammaRegressor(),
    CodedTweedieRegressor(power=1.5),
    CodedLinearSVC(),
]


def test_every_estimator_is_listed_above() -> None:
    public = {getattr(linear_model, name) for name in linear_model.__all__}
    assert {type(estimator) for estimator in ESTIMATORS} == public


# one check fits iris, for which scikit-learn's default of 100 iterations is too little, too
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")  # 5 rows, 3 folds
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("solver", ["lbfgs", "nesterov", "gradient-descent", LBFGS(20)], ids=repr)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C", [0.01, 1.0, 50.0])
def test_coefficients_are_scikit_learns(solver: Any, fit_intercept: bool, C: float) -> None:
    ours = tight(solver=solver, fit_intercept=fit_intercept, C=C).fit(X, Y)
    assert_same_model(ours, reference(C=C, fit_intercept=fit_intercept).fit(X, Y))


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.3}, {1: 5.0}], ids=str)
@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["", "weighted"])
def test_weights_are_scikit_learns(class_weight: Any, sample_weight: Any) -> None:
    ours = tight(class_weight=class_weight).fit(X, Y, sample_weight)
    assert_same_model(ours, reference(class_weight=class_weight).fit(X, Y, sample_weight))


def test_a_weight_for_all_rows_may_be_one_number() -> None:
    assert_same_model(tight().fit(X, Y, 2.5), reference().fit(X, Y, np.full(len(Y), 2.5)))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([False, True]),
        np.array([-1, 1]),
        np.array([3.0, 7.0]),
        np.array([0, 255], dtype=np.uint8),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_any_two_labels_will_do(labels: Any) -> None:
    ours, theirs = tight().fit(X, labels[Y]), reference().fit(X, labels[Y])
    assert_same_model(ours, theirs)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.classes_.dtype == labels.dtype
    assert ours.predict(X).dtype == labels.dtype


@pytest.mark.parametrize(
    "convert",
    [csr_array, csr_matrix, pd.DataFrame, np.asfortranarray, list, lambda X: X.astype("f4")],
)
def test_any_kind_of_rows_will_do(convert: Any) -> None:
    rough = X.astype("f4").astype(float)
    ours, theirs = tight().fit(convert(rough), Y), reference().fit(rough, Y)
    assert_same_model(ours, theirs)
    assert_allclose(ours.predict_proba(convert(rough)), theirs.predict_proba(rough), atol=1e-6)
    assert_allclose(
        ours.decision_function(convert(rough)), theirs.decision_function(rough), atol=1e-5
    )
    assert_allclose(ours.predict_log_proba(rough), theirs.predict_log_proba(rough), atol=1e-5)
    assert ours.score(convert(rough), Y) == theirs.score(rough, Y)
    assert type(ours.score(convert(rough), Y)) is float


def test_lbfgs_goes_the_same_way_as_scikit_learns() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours, theirs = CodedLogisticRegression().fit(X, y), LogisticRegression().fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)


def test_the_solution_does_not_depend_on_who_computes_the_last_bits() -> None:
    twice = [tight().fit(X, Y).coef_.tobytes() for _ in range(2)]
    assert twice[0] == twice[1]


def test_tol_means_the_same_for_every_solver() -> None:
    for solver in ("lbfgs", "nesterov", "gradient-descent"):
        model = CodedLogisticRegression(solver=solver, tol=1e-5, C=3.0, max_iter=5000).fit(X, Y)
        w = np.append(model.coef_, model.intercept_)
        p = 1 / (1 + np.exp(-(X @ w[:-1] + w[-1])))
        gradient = np.append(3.0 * X.T @ (p - Y) + w[:-1], 3.0 * (p - Y).sum())
        assert abs(gradient).max() / (3.0 * len(Y)) <= 1e-5
        assert model.history_[-1].grad_norm <= 1e-5


def test_the_history_has_a_record_of_every_round() -> None:
    model = tight().fit(X, Y)
    frame = model.history_.to_frame()
    assert {"seconds", "value", "grad_norm", "n_used", "n_late", "n_lost"} <= set(frame)
    assert len(frame) == len(model.history_) > model.n_iter_[0]
    assert frame.value.iloc[-1] == pytest.approx(min(frame.value), rel=1e-14)
    assert frame.exact.all()
    assert model.history_.transport == "in-process"
    assert model.code_ == Uncoded(1)


def test_warm_start_goes_on_where_the_last_fit_ended() -> None:
    model = tight(warm_start=True).fit(X, Y)
    assert model.fit(X, Y).n_iter_[0] <= 1
    cold = tight(C=2.0).fit(X, Y)
    warm = model.set_params(C=2.0).fit(X, Y)
    assert_same_model(warm, cold)
    assert warm.n_iter_[0] < cold.n_iter_[0]
    with pytest.raises(ValueError, match="warm_start needs the 4 features"):
        model.fit(X[:, :2], Y)
    assert tight().fit(X, Y).fit(X, Y).n_iter_[0] > 1  # off by default


def test_too_few_iterations_are_a_warning_and_a_usable_model() -> None:
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 2 iter") as caught:
        model = CodedLogisticRegression(max_iter=2, tol=1e-12).fit(X, Y)
    assert "(max_iter=2)" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert model.n_iter_[0] == 2
    assert model.score(X, Y) > 0.7


def test_an_unfitted_model_says_so() -> None:
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError, match="This CodedLogisticRegression instance is not"):
            getattr(CodedLogisticRegression(), method)(X)
    with pytest.raises(NotFittedError):
        CodedLogisticRegression().to_sklearn()


def test_rows_of_another_width_or_other_names_are_refused() -> None:
    model = tight().fit(pd.DataFrame(X, columns=list("abcd")), Y)
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="X has 2 features, but CodedLogisticRegression is exp"):
        tight().fit(X, Y).predict(X[:, :2])
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(pd.DataFrame(X, columns=list("abce")))


def test_a_plain_scikit_learn_model_comes_out() -> None:
    names = pd.DataFrame(X, columns=list("abcd"))
    ours = tight(C=2.0).fit(names, np.array(["n", "y"])[Y])
    plain = ours.to_sklearn()
    assert type(plain) is LogisticRegression
    assert plain.C == 2.0
    assert_array_equal(plain.predict(names), ours.predict(names))
    assert_allclose(plain.predict_proba(names), ours.predict_proba(names), rtol=1e-12)


def test_clones_pickles_and_searches(tmp_path: Any) -> None:
    model = tight(code="cyclic", n_stragglers=2, C=0.3)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(C=4.0).get_params()["C"] == 4.0
    model = tight().fit(X, Y)
    for twin in (pickle.loads(pickle.dumps(model)), joblib_round_trip(model, tmp_path)):
        assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
        assert len(twin.history_) == len(model.history_)
    grid = {"codedlogisticregression__C": [0.01, 1.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), tight(tol=1e-7)), grid, cv=3).fit(X, Y)
    expected = GridSearchCV(
        make_pipeline(StandardScaler(), reference()),
        {"logisticregression__C": [0.01, 1.0]},
        cv=3,
    ).fit(X, Y)
    assert search.best_score_ == expected.best_score_
    assert cross_val_score(tight(), X, Y, cv=3, n_jobs=2).shape == (3,)


def joblib_round_trip(model: Any, folder: Any) -> Any:
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


@pytest.mark.parametrize(
    "solver", [Nesterov(step=0.5), GradientDescent(step=lambda t: 1.0)], ids=["fixed", "schedule"]
)
def test_solvers_with_given_steps(solver: Any) -> None:
    assert_same_model(tight(solver=solver, tol=1e-9).fit(X, Y), reference().fit(X, Y), atol=1e-5)
