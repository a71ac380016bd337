"""Data that are placed by a code's name get the code that their size asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, size
from helpers import assert_same_model, count_rows, logistic_data, reference, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(200, 3)


def sparse_chunks() -> Any:
    lazy = da.from_array(X, chunks=(60, 3))
    return lazy.map_blocks(scipy.sparse.csr_array, meta=scipy.sparse.csr_array((0, 0)))


def unknown_lengths() -> Any:
    return da.from_array(X, chunks=(60, 3))[da.from_array(Y >= 0, chunks=60)]


SOURCES = {
    "ndarray": lambda: X,
    "csr": lambda: scipy.sparse.csr_array(X),
    "dask": lambda: da.from_array(X, chunks=(60, 3)),
    "dask with CSR chunks": sparse_chunks,
    "dask, unknown lengths": unknown_lengths,
}


@pytest.mark.parametrize("source", SOURCES)
def test_auto_is_declustered_from_a_size_on(
    source: str, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    share = (200 * 3 + size.ROW * 200) / 4
    for computing, expected in (
        (share + 1, FractionalRepetition(4, 1)),
        (share, DeclusteredRepetition(4, 1, n_leaves=4)),
    ):
        monkeypatch.setattr(size, "COMPUTING", computing)
        with (
            caplog.at_level(logging.INFO, logger="dask_gradcode"),
            place(SOURCES[source](), Y) as data,
            ClusterObjective(data, count_rows) as objective,
        ):
            assert data.code == expected
            assert f"200 rows, 600 values stored: coded by {expected!r}." in caplog.text
            assert objective(np.zeros(3)).value == 200


def test_a_fit_by_name_takes_as_many_leaves_as_the_data_are_worth(client: Client) -> None:
    model = tight(code="declustered").fit(X[:20], Y[:20])
    assert model.code_ == DeclusteredRepetition(4, 1, n_leaves=1)
    model.fit(X, Y)
    assert model.code_ == DeclusteredRepetition(4, 1, n_leaves=4)
    assert_same_model(model, reference().fit(X, Y))
    assert model.history_.work >= 1.0


@pytest.mark.parametrize(
    ("code", "n_workers", "advised"),
    [("auto", None, True), ("auto", 4, False), ("auto", 3, False), ("cyclic", None, False)],
)
def test_auto_says_where_one_worker_fewer_would_serve_better(
    code: str,
    n_workers: int | None,
    advised: bool,
    five: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.INFO, logger="dask_gradcode"),
        place(X, Y, code=code, n_workers=n_workers, client=five),
    ):
        assert ("n_workers=4 would serve better: Fractional" in caplog.text) == advised


@pytest.fixture(scope="module")
def five() -> Iterator[Client]:
    with Client(
        n_workers=5, processes=False, dashboard_address=":0", set_as_default=False
    ) as connected:
        yield connected
