"""A forked process has its parent's client, which never answers there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client
from joblib import parallel_config
from sklearn.model_selection import cross_val_score

from dask_gradcode import CodedLogisticRegression, place
from helpers import assert_same_model, logistic_data, reference, tight

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

X, Y = logistic_data(200, 3)


def lazy() -> tuple[Any, Any]:
    return da.from_array(X, chunks=(50, 3)), da.from_array(Y, chunks=50)


def in_a_fork(function: Callable[[], Any]) -> Any:
    """Call a function in a forked process; return its result, or raise its error."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe()

    def call() -> None:
        try:
            its.send(function())
        except (RuntimeError, ValueError) as error:
            its.send(error)
        except BaseException as error:  # of pytest, or another that does not travel
            its.send(AssertionError(repr(error)))

    process = context.Process(target=call)
    process.start()
    try:
        assert mine.poll(90), "the forked process hangs"
        result = mine.recv()
    finally:
        process.kill()
        process.join()
    if isinstance(result, BaseException):
        raise result
    return result


def test_data_in_memory_is_fitted_in_the_forked_process(client: Client) -> None:
    def fit() -> Any:
        model = tight().fit(X, Y)
        assert model.history_.transport == "in-process"
        return model

    assert_same_model(in_a_fork(fit), reference().fit(X, Y))
    assert tight().fit(X, Y).history_.transport == "stream"  # here the client works as before


def test_cross_validation_by_forked_processes_ends(client: Client) -> None:
    with parallel_config(backend="multiprocessing", n_jobs=2):
        ours = cross_val_score(tight(), X, Y, cv=4)
    theirs = cross_val_score(reference(), X, Y, cv=4)
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("what", ["lazy", "persisted", "placed", "client=", "place"])
def test_an_error_says_forked_where_a_client_is_needed(client: Client, what: str) -> None:
    persisted = [array.persist() for array in lazy()]
    with place(X, Y) as data:
        work: dict[str, Callable[[], Any]] = {
            "lazy": lambda: tight().fit(*lazy()),
            "persisted": lambda: tight().fit(*persisted),
            "placed": lambda: tight().fit(data),
            "client=": lambda: tight(client=client).fit(X, Y),
            "place": lambda: place(X, Y),
        }
        with pytest.raises(RuntimeError, match=r"This process .* was forked from .*tcp://"):
            in_a_fork(work[what])


def test_a_forked_process_with_a_client_of_its_own_fits_on_the_cluster(client: Client) -> None:
    def fit() -> Any:
        with Client(client.scheduler.address):
            model = tight().fit(*lazy())
        assert model.history_.transport == "stream"
        return model

    assert_same_model(in_a_fork(fit), reference().fit(X, Y))


def test_a_forked_process_scores_and_predicts_what_can_be_read_there(client: Client) -> None:
    model = CodedLogisticRegression().fit(X, Y)

    def score() -> Any:
        return model.score(*lazy())

    def predict() -> Any:
        with pytest.warns(UserWarning, match=r"forked.*scheduler='threads'"):
            lazily = model.predict(lazy()[0])
        return lazily.compute(scheduler="threads")

    assert in_a_fork(score) == model.score(X, Y)
    np.testing.assert_array_equal(in_a_fork(predict), model.predict(X))


@pytest.mark.filterwarnings("ignore:.*forked:UserWarning")
@pytest.mark.parametrize("how", ["compute", "persist", "dask.compute"])
def test_a_lazy_prediction_that_a_forked_process_cannot_compute_is_an_error(
    client: Client, how: str
) -> None:
    model = CodedLogisticRegression().fit(X, Y)

    def predict() -> Any:
        lazily = model.predict(lazy()[0])
        return dask.compute(lazily) if how == "dask.compute" else getattr(lazily, how)()

    with pytest.raises(RuntimeError, match=r"This process .* was forked from .*tcp://"):
        in_a_fork(predict)
    assert model.predict(lazy()[0]).compute().tolist() == model.predict(X).tolist()


def test_a_forked_process_does_not_predict_what_its_parent_has_persisted(client: Client) -> None:
    model, persisted = CodedLogisticRegression().fit(X, Y), lazy()[0].persist()
    for work in (lambda: model.predict(persisted), lambda: model.score(persisted, Y)):
        with pytest.raises((RuntimeError, ValueError), match=r"forked|without a client"):
            in_a_fork(work)


def test_coding_that_a_forked_process_cannot_do_is_warned_of(client: Client) -> None:
    def fit() -> None:
        with pytest.warns(UserWarning, match=r"n_stragglers=2 is not used.*forked"):
            CodedLogisticRegression(n_stragglers=2).fit(X, Y)

    in_a_fork(fit)
