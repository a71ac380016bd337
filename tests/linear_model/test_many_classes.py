"""More than two classes: scikit-learn's multinomial model, in this process and on a cluster."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, random_array
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
from helpers import assert_same_model, reference, tight

NAMES = np.array(["setosa", "versicolor", "virginica"])
COLOURS = np.array(["red", "green", "blue"])


def scaled(load: Any) -> tuple[Any, Any]:
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


X, Y = scaled(load_iris)
WEIGHT = np.random.default_rng(3).integers(0, 4, len(Y)).astype(float)


def words(n_samples: int = 900, n_features: int = 4000, n_classes: int = 20) -> tuple[Any, Any]:
    """Rows like counts of words: a few of many, and each class prefers some."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n_samples)
    common = random_array((n_samples, n_features), density=0.004, format="csr", rng=rng)
    own = csr_array(
        (np.ones(5 * n_samples), ([*np.repeat(range(n_samples), 5)], own_words(rng, y).ravel())),
        shape=common.shape,
    )
    return csr_array(common + own), y


def own_words(rng: Any, y: Any) -> Any:
    return 50 * y[:, None] + rng.integers(0, 80, (len(y), 5))


@pytest.mark.parametrize("load", [load_iris, load_digits, load_wine, load_breast_cancer])
def test_scikit_learns_data_gives_its_coefficients_by_the_same_iterations(load: Any) -> None:
    X, y = scaled(load)
    ours, theirs = CodedLogisticRegression().fit(X, y), LogisticRegression().fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_
    assert_same_model(ours, theirs, atol=1e-9)
    assert_same_model(tight(tol=1e-9).fit(X, y), reference().fit(X, y), atol=5e-5)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-7)
    assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-7)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 2: 0.3}], ids=str)
@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_weights_are_scikit_learns(
    class_weight: Any, sample_weight: Any, fit_intercept: bool
) -> None:
    parameters = {"class_weight": class_weight, "fit_intercept": fit_intercept}
    ours = tight(**parameters).fit(X, Y, sample_weight)
    assert_same_model(ours, reference(**parameters).fit(X, Y, sample_weight))


@pytest.mark.parametrize(
    "labels",
    [COLOURS, COLOURS.astype(object), np.array([-7, 0, 3]), np.array([0.5, 2.0, 1.0]) * 2],
    ids=lambda labels: str(labels.dtype),
)
def test_any_labels_that_sort_will_do(labels: Any) -> None:
    ours, theirs = tight().fit(X, labels[Y]), reference().fit(X, labels[Y])
    assert_same_model(ours, theirs)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == labels.dtype


def test_sparse_rows_of_twenty_classes() -> None:
    X, y = words()
    ours = tight(tol=1e-8).fit(X, y)
    assert ours.coef_.shape == (20, 4000)
    assert_same_model(ours, reference().fit(X, y), atol=1e-4)
    assert_same_model(ours, tight(tol=1e-8).fit(X.toarray(), y), atol=1e-5)


def test_without_a_penalty_it_is_maximum_likelihood() -> None:
    rng = np.random.default_rng(1)
    y = (X @ rng.normal(size=(4, 3)) + rng.gumbel(size=(150, 3)) * 2).argmax(axis=1)
    for labels in (y, y > 0):
        ours = tight(C=np.inf).fit(X, labels)
        theirs = reference(C=np.inf).fit(X, labels)
        assert_same_model(ours, theirs, atol=1e-5)
        assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        assert np.isinf(ours.to_sklearn().C)


def test_warm_start_and_to_sklearn() -> None:
    model = tight(warm_start=True).fit(X, COLOURS[Y])
    assert model.fit(X, COLOURS[Y]).n_iter_[0] <= 1
    plain = model.to_sklearn()
    assert_array_equal(plain.predict(X), model.predict(X))
    assert_allclose(plain.predict_proba(X), model.predict_proba(X), rtol=1e-12)
    with pytest.raises(ValueError, match="warm_start needs the 3 outputs of the previous fit, g"):
        model.fit(X, Y > 0)


@pytest.mark.cluster
@pytest.mark.parametrize("code", [FractionalRepetition(4, 1), CyclicRepetition(4, 2)], ids=repr)
def test_string_labels_and_weights_on_a_cluster(client: Client, code: Any) -> None:
    lazy = [da.from_array(a, chunks=(40, *a.shape[1:])) for a in (X, NAMES[Y], WEIGHT)]
    ours = tight(code=code, class_weight="balanced").fit(*lazy)
    assert_same_model(ours, reference(class_weight="balanced").fit(X, NAMES[Y], WEIGHT))
    assert ours.history_.transport == "stream"
    assert ours.score(*lazy) == pytest.approx(ours.score(X, NAMES[Y], WEIGHT))
    probabilities = ours.predict_proba(lazy[0])
    assert probabilities.shape == (150, 3)
    assert_allclose(probabilities.compute(), ours.predict_proba(X), rtol=1e-12)
    assert_array_equal(ours.predict(lazy[0]).compute(), ours.predict(X))
    assert_allclose(ours.decision_function(lazy[0]).compute(), ours.decision_function(X))


@pytest.mark.cluster
@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_sparse_rows_of_many_classes_travel_by_columns(client: Client, transport: str) -> None:
    X, y = words(n_samples=240, n_classes=6)
    model = tight(tol=1e-8, transport=transport)
    with place(X, y, code=FractionalRepetition(4, 1)) as data:
        cut = data.columns.of(6).cut(np.zeros(6 * 4000 + 6))
        assert max(cut(role).size for role in range(4)) < 0.75 * 6 * 4000
        model.fit(data)
    assert model.history_.transport == transport
    assert_same_model(model, tight(tol=1e-8).fit(X, y), atol=1e-6)
