"""Linear support vector classification against LIBLINEAR's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.svm import LinearSVC

from dask_gradcode import CodedLinearSVC
from dask_gradcode.losses import SquaredHinge

RNG = np.random.default_rng(0)
X = RNG.normal([0.0, 1.0, 0.0, -2.0], size=(300, 4))
Z = X @ [1.0, -1.0, 0.5, 0.0] + RNG.logistic(size=300)
LABELS = {
    "binary": np.where(Z > 0.0, "yes", "no"),
    "classes": np.array(["a", "b", "c"])[np.digitize(Z, [-1.5, 0.5])],
}
WEIGHT = RNG.integers(1, 4, 300).astype(float)
every_label = pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)


def twin(**parameters: Any) -> LinearSVC:
    """Return scikit-learn's estimator, set to end at the minimum."""
    return LinearSVC(**{"dual": False, "tol": 1e-10, "max_iter": 100_000, **parameters})


def ours(**parameters: Any) -> CodedLinearSVC:
    return CodedLinearSVC(**{"tol": 1e-7, **parameters})


def assert_same(model: CodedLinearSVC, theirs: LinearSVC, atol: float = 1e-6) -> None:
    assert_allclose(model.coef_, theirs.coef_, atol=atol)
    assert_allclose(model.intercept_, theirs.intercept_, atol=atol)
    assert model.coef_.shape == theirs.coef_.shape
    assert np.shape(model.intercept_) == np.shape(theirs.intercept_)
    assert type(model.n_iter_) is type(theirs.n_iter_)
    assert_array_equal(model.classes_, theirs.classes_)


@every_label
@pytest.mark.parametrize("class_weight", [None, "balanced", "of one"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
@pytest.mark.parametrize("scaling", [None, 1.0, 5.0], ids=lambda s: f"intercept_scaling={s}")
def test_coefficients_are_liblinears(
    y: Any, class_weight: Any, solver: str, scaling: float | None
) -> None:
    parameters: dict[str, Any] = {
        "C": 0.3,
        "class_weight": {y[0]: 3.0} if class_weight == "of one" else class_weight,
        "fit_intercept": scaling is not None,
        "intercept_scaling": scaling or 1.0,
    }
    theirs = twin(**parameters).fit(X, y, WEIGHT)
    model = ours(solver=solver, **parameters).fit(X, y, WEIGHT)
    assert_same(model, theirs)
    assert_allclose(model.decision_function(X), theirs.decision_function(X), atol=1e-5)
    assert_array_equal(model.predict(X), theirs.predict(X))
    assert model.score(X, y, WEIGHT) == theirs.score(X, y, WEIGHT)


@every_label
@pytest.mark.parametrize("convert", [csr_array, pd.DataFrame, lambda X: X.astype("f4")])
def test_any_kind_of_rows_will_do(y: Any, convert: Any) -> None:
    rough = X.astype("f4").astype(float)
    assert_same(ours(C=2.0).fit(convert(rough), y), twin(C=2.0).fit(rough, y))


def test_weights_are_repeated_rows() -> None:
    y, twice = LABELS["classes"], np.repeat(np.arange(300), WEIGHT.astype(int))
    weighted, repeated = (ours(class_weight="balanced", tol=1e-8) for _ in range(2))
    weighted.fit(X, y, WEIGHT)
    assert_allclose(repeated.fit(X[twice], y[twice]).coef_, weighted.coef_, atol=1e-7)


@pytest.mark.parametrize("solver", ["nesterov", "gradient-descent"])
def test_every_solver_ends_at_the_same_place(solver: str) -> None:
    model = ours(C=0.1, solver=solver, max_iter=20_000).fit(X, LABELS["classes"])
    assert_same(model, twin(C=0.1).fit(X, LABELS["classes"]), atol=1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_a_penalised_intercept_is_liblinears_where_columns_are_far_from_zero(solver: str) -> None:
    rows, y = X + 1e3, LABELS["binary"]
    theirs = twin(C=1.0).fit(rows, y)

    def objective(model: Any) -> float:
        margin = np.where(y == "yes", 1, -1) * model.decision_function(rows)
        penalty = (model.coef_**2).sum() + (model.intercept_**2).sum()
        return float((np.maximum(0.0, 1.0 - margin) ** 2).sum() + 0.5 * penalty)

    assert objective(ours(solver=solver).fit(rows, y)) <= objective(theirs) * (1 + 1e-9)


@every_label
def test_a_plain_model_comes_out_and_a_warm_start_goes_on(y: Any) -> None:
    model = ours(C=0.5, warm_start=True, intercept_scaling=2.0).fit(X, y)
    plain = model.to_sklearn()
    assert type(plain) is LinearSVC
    assert (plain.C, plain.intercept_scaling) == (0.5, 2.0)
    assert_array_equal(plain.predict(X), model.predict(X))
    assert_allclose(plain.decision_function(X), model.decision_function(X), rtol=1e-12)
    assert model.fit(X, y).n_iter_ <= 1
    assert_array_equal(model.sparsify().predict(X), plain.predict(X))


def test_there_are_no_probabilities() -> None:
    assert not hasattr(CodedLinearSVC(), "predict_proba")
    assert not hasattr(LinearSVC(), "predict_proba")


@pytest.mark.parametrize(
    ("parameters", "y", "text"),
    [
        ({"C": 0.0}, LABELS["binary"], "The 'C' parameter of CodedLinearSVC must be"),
        ({"intercept_scaling": 0}, LABELS["binary"], "The 'intercept_scaling' parameter of Coded"),
        ({"class_weight": 1.0}, LABELS["binary"], "The 'class_weight' parameter of CodedLinearSVC"),
        ({}, np.zeros(300), "at least 2 classes in the data, but the data contains only one"),
        ({}, Z, "Unknown label type: continuous"),
    ],
)
def test_what_cannot_be_fitted_is_refused(parameters: Any, y: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CodedLinearSVC(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((1.0,),), "at least two finite classes"),
        (((1.0, 0.0),), "ascending classes"),
        (((0.0, 1.0), (1.0,)), "class_weight >= 0 for each of the 2 classes"),
        (((0.0, 1.0), (1.0, -1.0)), "class_weight >= 0 for each of the 2 classes"),
    ],
)
def test_classes_that_are_none_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SquaredHinge(*arguments)


def test_the_loss_of_many_classes_is_the_sum_of_one_against_the_rest() -> None:
    labels, weights = (0.0, 1.0, 5.0), (0.5, 2.0, 3.0)
    y, z = RNG.choice(labels, 100), RNG.normal(size=(100, 3))
    value, derivative = SquaredHinge(labels, weights).pointwise(z, y)
    total = np.zeros(100)
    for k, label in enumerate(labels):
        one = SquaredHinge((0.0, 1.0), (1.0, weights[k])).pointwise(z[:, k], (y == label) + 0.0)
        total += one[0]
        assert_allclose(derivative[:, k], one[1])
    assert_allclose(value, total)


def test_the_hinge_bends_at_a_margin_of_one() -> None:
    value, derivative = SquaredHinge().pointwise(np.array([1.0, 1.0 + 1e-9]), np.ones(2))
    assert_array_equal(value, [0.0, 0.0])
    assert_array_equal(derivative, [0.0, 0.0])
    curvature = SquaredHinge().curvature(np.array([1.0, 1.0 + 1e-9, -1.0]), np.array([1, 1, 0]))
    assert_array_equal(curvature, [2.0, 0.0, 2.0])
