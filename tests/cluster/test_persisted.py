"""Data that was persisted: on this cluster, on another one, or no longer anywhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, get_worker
from sklearn.base import clone

from dask_gradcode import CodedLogisticRegression, CodedRidge, place
from helpers import assert_same_model, logistic_data, reference, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(200, 3)


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Client, Client]]:
    """Clients of two clusters, of which neither is the default client."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as first,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as second,
        Client(first, set_as_default=False) as mine,
        Client(second, set_as_default=False) as other,
    ):
        yield mine, other


def persisted(client: Client, kind: str = "arrays") -> tuple[Any, Any]:
    X_lazy, y_lazy = da.from_array(X, chunks=(50, 3)), da.from_array(Y, chunks=50)
    if kind == "frames":
        frame = pd.DataFrame(X, columns=list("abc"))
        X_lazy = dd.from_pandas(frame, npartitions=4)
        y_lazy = dd.from_pandas(pd.Series(Y), npartitions=4)
    return tuple(client.persist([X_lazy, y_lazy]))


def address(client: Client) -> str:
    return str(client.scheduler.address)


KINDS = pytest.mark.parametrize("kind", ["arrays", "frames"])


@KINDS
@pytest.mark.parametrize("which", ["X", "y", "derived"])
def test_data_on_another_cluster_is_an_error_that_names_both(
    two: tuple[Client, Client], kind: str, which: str
) -> None:
    mine, other = two
    theirs, ours = persisted(mine, kind), persisted(other, kind)
    X_lazy = {"X": theirs[0], "y": ours[0], "derived": theirs[0] + 1}[which]
    what = "y" if which == "y" else "X"
    where = rf"{what} was persisted .* cluster of {address(mine)}; .* on {address(other)}"
    for work in (CodedLogisticRegression(client=other).fit, lambda *d: place(*d, client=other)):
        with pytest.raises(ValueError, match=where):
            work(X_lazy, theirs[1])
    with (
        other.as_current(),
        pytest.raises(ValueError, match=where),
    ):
        CodedLogisticRegression().fit(X_lazy, theirs[1])


def test_an_address_of_another_cluster_is_as_wrong(two: tuple[Client, Client]) -> None:
    mine, other = two
    with pytest.raises(ValueError, match=f"X was persisted .*{address(mine)}"):
        CodedLogisticRegression(client=address(other)).fit(*persisted(mine))


def test_persisted_data_and_no_client_is_an_error_before_a_cluster_is_started(
    two: tuple[Client, Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dask_gradcode")
    with pytest.raises(ValueError, match=f"{address(two[0])}.* without a client"):
        CodedLogisticRegression().fit(*persisted(two[0]))
    assert not any("starting a LocalCluster" in record.message for record in caplog.records)


@pytest.mark.parametrize("how", ["another client", "an address"])
def test_another_way_to_the_same_cluster_fits(two: tuple[Client, Client], how: str) -> None:
    mine, _ = two
    with Client(address(mine), set_as_default=False) as another:
        client = another if how == "another client" else address(mine)
        model = tight(client=client).fit(*persisted(mine))
        assert_same_model(model, reference().fit(X, Y))


def current(which: str, client: Client) -> AbstractContextManager[Any]:
    return client.as_current() if which == "another" else nullcontext()


@KINDS
@pytest.mark.parametrize("which", ["none", "another"])
@pytest.mark.parametrize("estimator", [CodedLogisticRegression, CodedRidge])
def test_score_runs_on_the_client_of_the_model(
    two: tuple[Client, Client], estimator: Any, which: str, kind: str
) -> None:
    mine, other = two
    theirs = persisted(mine, kind)
    model = estimator(client=mine).fit(*theirs)
    right = model.score(pd.DataFrame(X, columns=list("abc")) if kind == "frames" else X, Y)
    by_address = clone(model).set_params(client=address(mine)).fit(*theirs)
    with current(which, other):
        assert model.score(*theirs) == pytest.approx(right)
        assert by_address.score(*theirs) == pytest.approx(right)
    with mine.as_current():  # by the client that reaches the data, whichever the model's is
        assert model.set_params(client=other).score(*theirs) == pytest.approx(right)


@pytest.mark.parametrize("estimator", [CodedLogisticRegression, CodedRidge])
def test_score_of_data_that_lies_nowhere_runs_on_the_client_of_the_model_too(
    two: tuple[Client, Client], estimator: Any, tmp_path: Path
) -> None:
    mine, other = two

    def noted(chunk: Any) -> Any:
        if len(chunk):
            scheduler = get_worker().scheduler.address
            (tmp_path / scheduler.replace("/", "_")).touch()
        return chunk

    lazy = da.from_array(X, chunks=(50, 3)).map_blocks(noted, dtype=float, meta=np.empty((0, 0)))
    for client in (mine, address(mine)):
        model = estimator(client=client).fit(X, Y)
        with other.as_current():
            assert model.score(lazy, Y) == pytest.approx(model.score(X, Y))
        assert {path.name for path in tmp_path.iterdir()} == {address(mine).replace("/", "_")}


def test_score_of_data_that_no_client_at_hand_reaches_says_where_it_lies(
    two: tuple[Client, Client],
) -> None:
    mine, other = two
    X_theirs, y_theirs = persisted(mine)
    model = CodedLogisticRegression(client=other).fit(X, Y)
    for data in ((X_theirs, Y), (X, y_theirs)):
        with pytest.raises(ValueError, match=f"lies on the cluster of {address(mine)}"):
            model.score(*data)
    with pytest.raises(ValueError, match=f"lies on the cluster of {address(mine)}"):
        model.predict(X_theirs)


@KINDS
@pytest.mark.parametrize("which", ["none", "another"])
def test_a_lazy_prediction_says_where_its_data_lies(
    two: tuple[Client, Client], which: str, kind: str
) -> None:
    mine, other = two
    X_theirs, y_theirs = persisted(mine, kind)
    model = CodedLogisticRegression(client=mine).fit(X_theirs, y_theirs)
    right = model.predict(pd.DataFrame(X, columns=list("abc")) if kind == "frames" else X)
    with current(which, other):
        with pytest.warns(UserWarning, match=address(mine)) as warned:
            prediction = model.predict(X_theirs)
        assert {one.filename for one in warned} == {__file__}
        np.testing.assert_array_equal(mine.compute(prediction).result(), right)
    with mine.as_current():
        np.testing.assert_array_equal(model.predict(X_theirs).compute(), right)


def test_data_that_was_cancelled_is_an_error_at_once(two: tuple[Client, Client]) -> None:
    mine, _ = two
    gone = persisted(mine)
    model = CodedLogisticRegression(client=mine).fit(*gone)
    mine.cancel(list(gone))
    for work in (model.fit, model.score, lambda *data: place(*data, client=mine)):
        with pytest.raises(RuntimeError, match=r"X was persisted by Client-.* are gone"):
            work(*gone)
    with pytest.raises(RuntimeError, match=r"X was persisted by Client-.* are gone"):
        model.predict(gone[0])


def test_data_of_a_closed_client_is_an_error_at_once(two: tuple[Client, Client]) -> None:
    mine, _ = two
    with Client(address(mine), set_as_default=False) as closed:
        gone = persisted(closed)
    with pytest.raises(RuntimeError, match=r"X was persisted by Client-.* are gone"):
        CodedLogisticRegression(client=mine).fit(*gone)
