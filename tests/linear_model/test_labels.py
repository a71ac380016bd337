"""Targets of unusual types: the same model, or the same words, whatever holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from dask_gradcode import CodedRidge, place
from helpers import assert_same_model, logistic_data, reference, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(120, 3)
NAMES = list("abc")


def objects(*values: Any) -> Any:
    """Return Y, its zeros and ones replaced, as an array of objects."""
    found = np.empty(120, dtype=object)
    found[:] = [values[label] for label in Y]
    return found


TARGETS: dict[str, Any] = {
    "bytes": np.where(Y == 1, b"yes", b"no"),
    "bytes as objects": objects(b"no", b"yes"),
    "Decimal": objects(Decimal("0.25"), Decimal(1)),
    "ints as objects": objects(0, 1),
    "floats as objects": objects(0.0, 1.0),
    "booleans as objects": objects(False, True),
    "strings as objects": objects("no", "yes"),
    "strings": np.where(Y == 1, "yes", "no"),
    "strings, one missing": np.where(np.arange(120) == 50, np.nan, objects("no", "yes")),
    "numbers, one missing": np.where(np.arange(120) == 50, np.nan, objects(0, 1)),
    "complex": Y + 0j,
    "float16": Y.astype(np.float16),
}


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[Client]:
    """Two workers in this process: nothing here harms them."""
    with (
        dask.config.set({"dataframe.convert-string": False}),  # else Dask makes strings of objects
        Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as one,
    ):
        yield one


def holders(y: Any) -> dict[str, tuple[Any, Any]]:
    """Return X and some targets as they may come to a cluster."""
    frame = pd.DataFrame(X, columns=NAMES).assign(y=y)
    lazy, rows = dd.from_pandas(frame, npartitions=3), da.from_array(X, chunks=(50, 3))
    return {
        "numpy": (X, y),
        "pandas": (frame[NAMES], frame["y"]),
        "dask array": (rows, da.from_array(y, chunks=40)),
        "dask array, y in memory": (rows, y),
        "dask frame": (lazy[NAMES], lazy["y"]),
    }


LABELS_REFUSED = {
    "bytes": "Support for labels represented as bytes is not supported",
    "bytes as objects": "Support for labels represented as bytes is not supported",
    "Decimal": "Unknown label type: unknown",
    "ints as objects": "Unknown label type: unknown",
    "floats as objects": "Unknown label type: unknown",
    "booleans as objects": "Unknown label type: unknown",
    "strings, one missing": "Input.*contains NaN",
    "numbers, one missing": "Input.*contains NaN",
    "complex": "Complex data not supported",
}


@pytest.mark.parametrize("name", TARGETS)
def test_labels_are_taken_or_refused_as_scikit_learn_does(name: str) -> None:
    y = TARGETS[name]
    if name not in LABELS_REFUSED:
        expected = reference().fit(X, y)
        for rows, labels in holders(y).values():
            model = tight().fit(rows, labels)
            assert_same_model(model, expected)
            assert model.score(rows, labels) == expected.score(X, y)
        return
    with pytest.raises((ValueError, TypeError), match=LABELS_REFUSED[name]):
        reference().fit(X, y)
    for rows, labels in holders(y).values():
        with pytest.raises((ValueError, TypeError), match=LABELS_REFUSED[name]):
            tight().fit(rows, labels)


TARGETS_REFUSED = {
    "bytes": "labels represented as bytes|bytes/strings",
    "bytes as objects": "labels represented as bytes|could not convert string to float",
    "strings as objects": "bytes/strings|could not convert string to float",
    "strings": "bytes/strings|could not convert string to float",
    "strings, one missing": "Input.*contains NaN",
    "numbers, one missing": "Input.*contains NaN",
    "complex": "Complex data not supported",
}


@pytest.mark.parametrize("name", TARGETS)
def test_numbers_are_numbers_whatever_holds_them(name: str) -> None:
    y = TARGETS[name]
    if name in TARGETS_REFUSED:
        with pytest.raises((ValueError, TypeError)):
            Ridge().fit(X, y)
        for rows, targets in holders(y).values():
            with pytest.raises((ValueError, TypeError), match=TARGETS_REFUSED[name]):
                CodedRidge().fit(rows, targets)
        return
    expected = Ridge().fit(X, y)
    for rows, targets in holders(y).values():
        model = CodedRidge(tol=1e-10).fit(rows, targets)
        assert_allclose(model.coef_, expected.coef_, atol=1e-7)
        assert model.score(rows, targets) == pytest.approx(expected.score(X, y), abs=1e-8)
    with place(*holders(y)["dask array"]) as data:  # which does not know what will be fitted
        assert_allclose(CodedRidge(tol=1e-10).fit(data).coef_, expected.coef_, atol=1e-7)


@pytest.mark.parametrize("name", ["bytes", "strings, one missing"])
def test_labels_that_a_fit_refuses_are_not_scored(name: str) -> None:
    model = tight().fit(X, TARGETS["strings"])
    for holder in ("dask array", "dask array, y in memory"):
        with pytest.raises((ValueError, TypeError), match=LABELS_REFUSED[name]):
            model.score(*holders(TARGETS[name])[holder])


@pytest.mark.parametrize(
    ("fitted", "scored", "text"),
    [
        (Y, Y.astype(str), "Mix of label input types"),
        (Y.astype(str), Y, "Mix of label input types"),
        (Y, Y + 0.5, "a mix of continuous and binary targets"),
        (Y, Y.astype(object), "a mix of unknown and binary targets"),
    ],
)
def test_labels_of_another_kind_than_the_models_are_not_scored(
    fitted: Any, scored: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        reference().fit(X, fitted).score(X, scored)
    model = tight().fit(X, fitted)
    array = da.from_array(X, chunks=(50, 3))
    for rows, labels in (
        (X, scored),
        (array, scored),
        (array, da.from_array(scored, chunks=40)),
    ):
        with pytest.raises(ValueError, match=text):
            model.score(rows, labels)


def test_weights_below_zero_are_refused_by_a_fit_and_taken_by_a_score() -> None:
    weight = np.where(np.arange(120) == 70, -1.0, 1.0)
    frame = pd.DataFrame(X, columns=NAMES).assign(y=Y, weight=weight)
    lazy = dd.from_pandas(frame, npartitions=3)
    model = tight().fit(frame[NAMES], Y)
    expected = reference().fit(frame[NAMES], Y).score(frame[NAMES], Y, weight)
    text = re.escape("Negative values in data passed to `sample_weight`")
    array = da.from_array(X, chunks=(50, 3))
    for rows, labels, weights in (
        (X, Y, weight),
        (frame[NAMES], frame["y"], frame["weight"]),
        (array, Y, da.from_array(weight, chunks=40)),
        (lazy[NAMES], lazy["y"], lazy["weight"]),
    ):
        with pytest.raises(ValueError, match=text):
            tight().fit(rows, labels, weights)
        with pytest.raises(ValueError, match=text):
            place(rows, labels, sample_weight=weights)
    for rows, labels, weights in (
        (frame[NAMES], frame["y"], frame["weight"]),
        (lazy[NAMES], lazy["y"], lazy["weight"]),
    ):
        assert model.score(rows, labels, weights) == pytest.approx(expected, abs=1e-12)


def test_weights_may_be_objects() -> None:
    weight = np.array([Decimal(1 + i % 3) for i in range(120)], dtype=object)
    expected = reference().fit(X, Y, weight)
    rows, weights = da.from_array(X, chunks=(50, 3)), da.from_array(weight, chunks=40)
    model = tight().fit(rows, Y, weights)
    assert_same_model(model, expected)
    assert model.score(rows, Y, weights) == pytest.approx(expected.score(X, Y, weight), abs=1e-12)
