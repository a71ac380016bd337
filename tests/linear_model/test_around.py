"""What users put around an estimator: pipelines, searches, files, routing, pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import dask.array as da
import joblib
import numpy as np
import pytest
import sklearn
import skops.io
from dask.sizeof import sizeof
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags

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
from dask_gradcode.optimizers import Nesterov
from helpers import logistic_data, reference, tight

X, Y = logistic_data(300, 4)
Y = Y + 1  # gamma regression wants positive numbers
ESTIMATORS: list[Any] = [
    CodedLogisticRegression(solver=Nesterov(), l1_ratio=0.1),
    CodedLogisticRegressionCV(Cs=[0.1, 1.0], cv=2),
    CodedRidge(),
    CodedRidgeCV(cv=3),
    CodedLinearRegression(),
    CodedElasticNet(alpha=0.01),
    CodedLasso(alpha=0.01),
    CodedPoissonRegressor(),
    CodedHuberRegressor(alpha=0.01),
    CodedGammaRegressor(),
    CodedTweedieRegressor(power=1.5),
    CodedLinearSVC(),
]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


# ---------------------------------------------------------------- in this process


def test_every_estimator_is_listed_above() -> None:
    public = {getattr(linear_model, name) for name in linear_model.__all__}
    assert {type(estimator) for estimator in ESTIMATORS} == public


@every_estimator
def test_files_hold_a_fitted_model(estimator: Any, tmp_path: Any) -> None:
    model = clone(estimator).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    blob = skops.io.dumps(model)
    ours = list(skops.io.get_untrusted_types(data=blob))
    assert all(name.startswith("dask_gradcode.") for name in ours)
    for twin in (joblib.load(tmp_path / "model.joblib"), skops.io.loads(blob, trusted=ours)):
        assert repr(twin) == repr(model)
        assert_array_equal(twin.predict(X), model.predict(X))
        assert twin.code_ == model.code_
        assert twin.history_.to_frame().equals(model.history_.to_frame())


@every_estimator
def test_tags_and_pictures(estimator: Any) -> None:
    tags = get_tags(estimator)
    assert tags.input_tags.sparse
    assert tags.target_tags.required
    assert is_classifier(estimator) != is_regressor(estimator)
    model = clone(estimator).fit(X, Y)
    for shown in (estimator, model):
        assert type(estimator).__name__ in shown._repr_html_()
    assert "Fitted" in model._repr_html_()
    assert "Not fitted" in estimator._repr_html_()
    assert "Parameters" in type(model).__doc__
    assert "<fit" not in type(model).__doc__
    assert "<code" not in type(model).__doc__


def test_every_parameter_is_documented() -> None:
    for estimator in ESTIMATORS:
        text = type(estimator).__doc__
        for name in estimator.get_params(deep=False):
            assert f"\n    {name} : " in text, (type(estimator).__name__, name)


@every_estimator
def test_weights_are_routed(estimator: Any) -> None:
    weight = np.arange(300) % 3 + 0.0
    tight = {"tol": 1e-6, "max_iter": 5000}  # of those that iterate
    model = clone(estimator).set_params(
        **{name: tight[name] for name in tight.keys() & estimator.get_params().keys()}
    )
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"fit_intercept": [True]}, cv=2, error_score="raise")
        search.fit(X, Y, sample_weight=weight)
    expected = clone(model).fit(X, Y, weight)
    assert_array_equal(search.best_estimator_.coef_, expected.coef_)
    folds = [
        fold
        for _, fold in sklearn.model_selection.check_cv(
            2, Y, classifier=is_classifier(model)
        ).split(X, Y)
    ]
    scores = [
        clone(expected).fit(X[~mask], Y[~mask], weight[~mask]).score(X[mask], Y[mask], weight[mask])
        for mask in (np.isin(np.arange(300), fold) for fold in folds)
    ]
    assert search.best_score_ == pytest.approx(np.mean(scores))


def test_a_pipeline_is_scikit_learns() -> None:
    ours = make_pipeline(StandardScaler(), tight()).fit(X, Y)
    theirs = make_pipeline(StandardScaler(), reference()).fit(X, Y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert_allclose(cross_val_score(tight(), X, Y, cv=4), cross_val_score(reference(), X, Y, cv=4))


# ---------------------------------------------------------------- large data stays where it is


class CountingClient(Client):
    """Counts the bytes of all results that come to this process."""

    n_bytes = 0

    async def _gather(self, *args: Any, **kwargs: Any) -> Any:
        found = await super()._gather(*args, **kwargs)
        self.n_bytes += sizeof(found)
        return found


@pytest.fixture
def counting() -> Iterator[CountingClient]:
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        CountingClient(cluster) as client,
    ):
        client.wait_for_workers(4, timeout=60)
        yield client


N_SAMPLES, N_FEATURES = 4000, 60


def large() -> tuple[da.Array, da.Array]:
    """Return features and labels that only workers can make."""
    here, n_rows, n_features = os.getpid(), N_SAMPLES // 4, N_FEATURES

    def make(seed: Any) -> Any:  # workers know nothing of this file
        import os

        import numpy as np

        assert os.getpid() != here, "a chunk was computed in the client's process"
        return np.random.default_rng(seed.item()).normal(size=(n_rows, n_features))

    seeds = da.arange(4, chunks=1)[:, None]
    X = seeds.map_blocks(
        make, dtype=float, meta=np.empty((0, 0)), chunks=((n_rows,) * 4, (n_features,))
    )
    return X, (X[:, 0] + X[:, 1] ** 3 > 0).astype(int)


def in_memory() -> tuple[Any, Any]:
    shape = (N_SAMPLES // 4, N_FEATURES)
    X = np.vstack([np.random.default_rng(seed).normal(size=shape) for seed in range(4)])
    return X, (X[:, 0] + X[:, 1] ** 3 > 0).astype(int)


def half(X: Any) -> Any:
    return X / 2


@pytest.mark.cluster
@pytest.mark.parametrize("pipeline", [False, True])
def test_a_search_on_dask_arrays_does_not_bring_them_here(
    counting: CountingClient, pipeline: bool
) -> None:
    X, y = large()
    n_bytes = N_SAMPLES * N_FEATURES * 8
    ours: Any = tight(tol=1e-6)
    theirs: Any = LogisticRegression(tol=1e-6, max_iter=1000)
    grid = {"C": [0.001, 1.0]}
    if pipeline:
        ours, theirs = (make_pipeline(FunctionTransformer(half), m) for m in (ours, theirs))
        grid = {f"{ours.steps[1][0]}__C": [0.001, 1.0]}
    search = GridSearchCV(ours, grid, cv=2, error_score="raise").fit(X, y)
    fitted = search.best_estimator_[-1] if pipeline else search.best_estimator_
    assert fitted.history_.transport == "stream"
    score = search.score(X, y)
    predicted = search.predict(X)
    assert isinstance(predicted, da.Array)
    assert 0 < counting.n_bytes < n_bytes / 4  # labels came, some times; features did not
    values, labels = in_memory()
    grid = {key.replace("coded", ""): value for key, value in grid.items()}
    expected = GridSearchCV(theirs, grid, cv=2).fit(values, labels)
    assert_allclose(
        search.cv_results_["mean_test_score"],
        expected.cv_results_["mean_test_score"],
        atol=1e-3,
    )
    assert score == pytest.approx(expected.score(values, labels), abs=1e-3)
    assert_array_equal(predicted.compute(), search.predict(values))


@pytest.mark.cluster
def test_the_count_counts(counting: CountingClient) -> None:
    X, _ = large()
    X.compute()
    assert counting.n_bytes >= N_SAMPLES * N_FEATURES * 8


@pytest.mark.cluster
def test_cross_validation_of_a_regression_on_dask_arrays(counting: CountingClient) -> None:
    X, _ = large()
    y = X @ np.arange(60.0) + 1.0
    scores = cross_val_score(CodedRidge(), X, y, cv=3, error_score="raise")
    assert_allclose(scores, 1.0, atol=1e-6)
    assert counting.n_bytes < N_SAMPLES * N_FEATURES * 8 / 4


@pytest.mark.cluster
def test_joblib_on_dask_fits_in_the_tasks(client: Client) -> None:
    expected = cross_val_score(tight(), X, Y, cv=3)
    with joblib.parallel_config("dask"):
        found = cross_val_score(tight(), X, Y, cv=3, error_score="raise")
    assert_array_equal(found, expected)
