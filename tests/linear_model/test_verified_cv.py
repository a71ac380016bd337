"""Cross-validation among workers that lie: the choice and the model of the honest fit."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator

from dask_gradcode import CodedLogisticRegressionCV, CodedRidgeCV, linear_model
from dask_gradcode.cluster import Lies, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from helpers import logistic_data

X, Y = logistic_data(400, 3)
NUMBERS = X @ np.arange(1.0, 4.0) + np.random.default_rng(0).normal(size=400)

MODELS = {
    "ridge, leave-one-out": (CodedRidgeCV, {"alphas": [0.1, 10.0]}, NUMBERS),
    "ridge, folds": (CodedRidgeCV, {"alphas": [0.1, 10.0], "cv": 3}, NUMBERS),
    "logistic": (CodedLogisticRegressionCV, {"Cs": [0.1, 10.0], "cv": 3}, Y),
}
every_model = pytest.mark.parametrize("name", MODELS)


def fitted(name: str, **parameters: Any) -> Any:
    estimator, how, y = MODELS[name]
    return estimator(**how, **parameters).fit(X, y)


def chosen(model: Any) -> Any:
    if isinstance(model, CodedRidgeCV):
        return np.concatenate([model.coef_, [model.intercept_, model.alpha_, model.best_score_]])
    told = model.coef_, model.intercept_, model.C_, model.scores_, model.coefs_paths_
    return np.concatenate([np.ravel(one) for one in told])


def expelled(model: Any) -> set[int]:
    return {e.worker for e in model.history_.events if e.what == "expelled"}


@pytest.mark.cluster
@every_model
@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_is_that_of_the_honest_fit(cluster: Client, name: str, kind: str) -> None:
    honest = fitted(name, code=FractionalRepetition(4, 1))
    with inject(cluster, Lies(kind, workers=[1, 2])):
        model = fitted(name, verify=1)
    assert model.code_ == FractionalRepetition(4, 1)
    assert expelled(model) == {1, 2}
    assert_array_equal(chosen(model), chosen(honest))


@pytest.mark.cluster
@every_model
def test_two_of_three_liars_that_conspire(cluster: Client, name: str) -> None:
    code = FractionalRepetition(3, 2)
    honest = fitted(name, code=code)
    with inject(cluster, Lies("random", workers=[0, 2], together=True)):
        model = fitted(name, code=code, verify=2)
    assert expelled(model) == {0, 2}
    assert_array_equal(chosen(model), chosen(honest))


@pytest.mark.cluster
@every_model
@pytest.mark.parametrize("kind", KINDS)
def test_by_the_syndrome_of_a_cyclic_code(cluster: Client, name: str, kind: str) -> None:
    honest = fitted(name, code=CyclicRepetition(4, 2))
    with inject(cluster, Lies(kind, workers=[1])):
        model = fitted(name, verify="syndrome")
    assert model.code_ == CyclicRepetition(4, 2)
    assert expelled(model) <= {1}  # it may never have been among the first
    assert_allclose(chosen(model), chosen(honest), rtol=1e-5, atol=1e-7)


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["ridge, leave-one-out", "ridge, folds"])
@pytest.mark.parametrize("kind", KINDS)
def test_audits_take_back_what_was_wrong(cluster: Client, name: str, kind: str) -> None:
    honest = fitted(name, code=DeclusteredRepetition(4, 1))
    with inject(cluster, Lies(kind, workers=[2])):
        model = fitted(name, code=DeclusteredRepetition(4, 1), verify="audit")
    assert_array_equal(chosen(model), chosen(honest))
    taken_back = [e for e in model.history_.events if e.what == "taken back"]
    # as often as the liar's sums were used: others may have helped it out
    assert {e.worker for e in model.history_.events if e.what == "expelled"} <= {2}
    assert len(taken_back) <= (2 if name == "ridge, leave-one-out" else 1)
    n_rounds = 2 if name == "ridge, leave-one-out" else 1
    assert len(model.history_) == n_rounds + sum(len(e.rounds) for e in taken_back)
    assert [record.round for record in model.history_] == list(range(len(model.history_)))


def test_fits_that_have_ended_long_before_are_not_audited() -> None:
    with pytest.raises(ValueError, match="cannot have its rounds audited, as it chooses by"):
        fitted("logistic", verify="audit")


@every_model
@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"verify": 2, "n_stragglers": 1}, "Use n_stragglers=2 or more, or verify=1"),
        ({"verify": 1, "code": "cyclic"}, "Use code='fractional', or verify=0"),
        ({"verify": "syndrome", "code": "fractional"}, "Use code='cyclic' with n_stragglers=2"),
        ({"verify": -1}, "'verify' parameter"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    name: str, parameters: Any, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        fitted(name, **parameters)


def test_every_estimator_verifies() -> None:
    for name in linear_model.__all__:
        estimator = getattr(linear_model, name)
        if isinstance(estimator, type) and issubclass(estimator, BaseEstimator):
            assert "verify" in signature(estimator).parameters, name
