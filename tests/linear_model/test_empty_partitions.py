"""Partitions and chunks without rows count as no rows, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from dask_gradcode import (
    CodedHuberRegressor,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
    place,
)
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(120, 4)
FRAME, SERIES = pd.DataFrame(X, columns=list("abcd")), pd.Series(Y, name="y")
WEIGHT = np.random.default_rng(3).uniform(0.5, 2.0, 120)
ESTIMATORS = [
    CodedLogisticRegression,
    CodedRidge,
    CodedPoissonRegressor,
    CodedHuberRegressor,
]
CUTS = {  # of the rows, of the targets: as many parts, and none alike
    "first": ((0, 0, 40, 120), (0, 40, 120, 120)),
    "middle": ((0, 40, 40, 120), (0, 0, 40, 120)),
    "of one row": ((0, 1, 1, 120), (0, 119, 120, 120)),
}
every_cut = pytest.mark.parametrize("cut", CUTS)


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[Client]:
    """Two workers in this process: nothing here harms them."""
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as one:
        yield one


def partitions(whole: Any, borders: Any) -> Any:
    """Return a dask frame or Series of the rows between borders."""
    pairs = list(pairwise(borders))
    return dd.from_map(lambda pair: whole.iloc[slice(*pair)], pairs, meta=whole.iloc[:0])


def chunks(whole: Any, borders: Any, form: Any, *, known: bool) -> Any:
    """Return a dask array of the rows between borders."""
    lengths = tuple(np.diff(borders).tolist())
    lazy = da.from_array(whole, chunks=(lengths, *((n,) for n in whole.shape[1:])))
    lazy = lazy.map_blocks(form, dtype=whole.dtype, meta=form(whole[:0]))
    if not known:
        lazy._chunks = ((np.nan,) * len(lengths), *lazy.chunks[1:])
    return lazy


def assert_as_without(rows: Any, targets: Any, weight: Any, whole: Any, kind: Any) -> None:
    """Check fit, place, predict and score against data in memory."""
    expected = kind(tol=1e-8, max_iter=1000).fit(whole, Y, WEIGHT)
    model = kind(tol=1e-8, max_iter=1000).fit(rows, targets, sample_weight=weight)
    assert_allclose(model.coef_, expected.coef_, atol=1e-5)
    with place(rows, targets, sample_weight=weight) as data:
        assert_allclose(kind(tol=1e-8, max_iter=1000).fit(data).coef_, expected.coef_, atol=1e-5)
    assert_allclose(model.predict(rows).compute(), model.predict(whole))
    right = pytest.approx(model.score(whole, Y, WEIGHT), abs=1e-12)
    assert model.score(rows, targets, weight) == right
    assert model.score(rows, Y, WEIGHT) == right


@every_cut
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_partitions_of_frames(kind: Any, cut: str) -> None:
    rows, targets = CUTS[cut]
    weight = partitions(pd.Series(WEIGHT), targets)
    assert_as_without(partitions(FRAME, rows), partitions(SERIES, targets), weight, FRAME, kind)


@every_cut
@pytest.mark.parametrize("known", [True, False], ids=["", "unknown lengths"])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_chunks_of_arrays(form: Any, known: bool, cut: str) -> None:
    rows, targets = CUTS[cut]
    assert_as_without(
        chunks(X, rows, form, known=known),
        chunks(Y, targets, np.asarray, known=known),
        chunks(WEIGHT, targets, np.asarray, known=known),
        X,
        CodedRidge,
    )


def test_probabilities_of_no_rows_are_none() -> None:
    model = CodedLogisticRegression().fit(FRAME, Y)
    lazy = partitions(FRAME, (0, 0, 70, 120))
    assert_allclose(model.predict_proba(lazy).compute(), model.predict_proba(FRAME))
    assert model.predict_proba(partitions(FRAME, (0, 0))).compute().shape == (0, 2)


def test_no_rows_at_all_have_no_score() -> None:
    model = CodedRidge().fit(FRAME, Y)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        model.score(partitions(FRAME, (0, 0)), partitions(SERIES, (0, 0)))


def test_targets_of_fewer_rows_are_no_score() -> None:
    model = CodedRidge().fit(FRAME, Y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[1, 120\]"):
        model.score(partitions(FRAME, (0, 120)), partitions(SERIES, (0, 1)))
