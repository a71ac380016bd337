"""scikit-learn's callbacks see a fit and its iterations as tasks."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dask_gradcode import CodedLogisticRegression, CodedRidge, place
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import GradientDescent, Nesterov
from helpers import logistic_data

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")

X, Y = logistic_data()
SOLVERS = ["lbfgs", Nesterov(), GradientDescent()]


class Notes:
    """Notes which hooks were called, with what; may end the fit after an iteration."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.calls: list[tuple[str, str, Any]] = []
        self.models: list[Any] = []
        self.data: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", context.task_name, None))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:
        self.calls.append(("end", context.task_name, context.task_id))
        self.models.append(fitted_estimator)
        self.data.append((X, y, metadata))
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_after


def expected_calls(n_iter: int, max_iter: int) -> list[tuple[str, str, Any]]:
    return [
        ("setup", "fit", max(1, max_iter)),
        ("begin", "fit", 0),
        *[(what, "iteration", i) for i in range(n_iter) for what in ("begin", "end")],
        ("end", "fit", 0),
        ("teardown", "fit", None),
    ]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_fit_and_each_iteration_begin_and_end_in_order(solver: Any) -> None:
    notes = Notes()
    model = CodedLogisticRegression(solver=solver, max_iter=1000).set_callbacks(notes).fit(X, Y)
    assert notes.calls == expected_calls(model.n_iter_[0], 1000)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_every_task_that_begins_ends(solver: Any, max_iter: int) -> None:
    notes = Notes()
    CodedRidge(solver=solver, max_iter=max_iter, tol=0).set_callbacks(notes).fit(X, Y)
    counted = Counter(what for what, *_ in notes.calls)
    assert counted["begin"] == counted["end"] >= 1 + max_iter
    assert counted["setup"] == counted["teardown"] == 1


def test_the_model_of_each_iteration_predicts_as_if_the_fit_had_ended_there() -> None:
    notes = Notes()
    model = CodedLogisticRegression(tol=1e-6).set_callbacks(notes).fit(X, Y)
    *iterations, last = notes.models
    assert len(iterations) == model.n_iter_[0] > 2
    for i, fitted in enumerate(iterations):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            twin = CodedLogisticRegression(tol=1e-6, max_iter=i + 1).fit(X, Y)
        assert_array_equal(fitted.coef_, twin.coef_)
        assert_array_equal(fitted.predict_proba(X), twin.predict_proba(X))
        assert fitted.n_iter_ == twin.n_iter_ == i + 1
    assert_array_equal(last.coef_, model.coef_)
    assert not hasattr(model, "_callback_fit_ctx")


def test_hooks_are_given_the_data_as_it_was_given() -> None:
    notes, weight = Notes(), np.linspace(1.0, 2.0, len(Y))
    CodedRidge().set_callbacks(notes).fit(X, Y, sample_weight=weight)
    for features, target, metadata in notes.data:
        assert features is X
        assert target is Y
        assert metadata["sample_weight"] is weight


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_callback_can_end_the_fit(solver: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dask_gradcode")
    notes = Notes(stop_after=2)
    model = CodedLogisticRegression(solver=solver, tol=1e-10).set_callbacks(notes).fit(X, Y)
    assert notes.calls == expected_calls(2, 100)
    assert model.n_iter_ == 2
    assert_array_equal(model.coef_, notes.models[1].coef_)
    assert "A callback ends the fit after iteration 2." in caplog.text


def test_teardown_comes_after_an_error_too() -> None:
    notes = Notes()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CodedRidge().set_callbacks(notes).fit(X, Y[:-1])
    assert [what for what, *_ in notes.calls] == ["setup", "begin", "teardown"]


def test_scikit_learns_own_callbacks_work(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = CodedLogisticRegression().set_callbacks(callback.ProgressBar(), monitor).fit(X, Y)
    scores = [row["accuracy"] for row in monitor.get_logs().data]
    assert len(scores) == 1 + model.n_iter_[0]
    assert scores[0] == model.score(X, Y)  # the fit's own comes first
    assert "CodedLogisticRegression - fit" in capsys.readouterr().out


def test_a_pipeline_hands_its_progress_bar_down(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = make_pipeline(StandardScaler(), CodedLogisticRegression())
    pipeline.set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert "CodedLogisticRegression - fit #1" in " ".join(capsys.readouterr().out.split())
    assert not hasattr(pipeline[-1], "_skl_callbacks")


def test_clones_share_callbacks_and_a_fit_without_any_calls_none() -> None:
    notes = Notes()
    model = CodedRidge().set_callbacks(notes)
    clone(model).fit(X, Y)
    assert notes.calls
    notes.calls.clear()
    model.set_callbacks().fit(X, Y)
    assert not notes.calls


@pytest.mark.cluster
def test_on_a_cluster_it_is_the_same(client: Client) -> None:
    notes = Notes()
    with place(X, Y, code=FractionalRepetition(4, 1), client=client) as data:
        model = CodedLogisticRegression(client=client).set_callbacks(notes).fit(data)
    assert notes.calls == expected_calls(model.n_iter_[0], 100)
    assert_allclose(notes.models[-2].coef_, model.coef_)
    assert_array_equal(notes.models[0].classes_, [0, 1])


class Beginnings(Notes):
    """Notes the models as they are when an iteration begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Any] = []

    def on_fit_task_begin(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> None:
        if context.task_name == "iteration":
            self.begun.append(fitted_estimator)


def test_an_iteration_begins_with_the_model_that_the_last_one_ended_with() -> None:
    notes = Beginnings()
    CodedLogisticRegression().set_callbacks(notes).fit(X, Y)
    first, *others = notes.begun
    assert first is None
    assert len(others) >= 2
    for begun, ended in zip(others, notes.models, strict=False):
        assert_array_equal(begun.coef_, ended.coef_)
        assert_array_equal(begun.predict(X), ended.predict(X))
