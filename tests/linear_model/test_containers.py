"""What holds no rows, but a promise or a place of some, is refused with what to pass instead."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sparse
from distributed import Client
from sklearn.model_selection import GridSearchCV, cross_val_score

from dask_gradcode import CodedLogisticRegression, CodedRidge, place
from helpers import assert_same_model, gradcode_keys, logistic_data, reference, tight, wait_until

X, Y = logistic_data(60, 3)


def lazy(array: Any) -> Any:
    return da.from_array(array, chunks=(20, *array.shape[1:]))


def promised(array: Any) -> Any:
    return dask.delayed(np.asarray)(array)


KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Delayed": (promised, r"got a Delayed\. Use dask\.array\.from_delayed\({}, shape"),
    "attribute of a Delayed": (lambda a: promised(a).T, r"got a Delayed\. Use dask"),
    "Bag": (lambda a: db.from_sequence(a.tolist()), r"got a Bag\. Use {}\.to_dataframe\(\)"),
    "list of dask arrays": (
        lambda a: [lazy(a)[:20], lazy(a)[20:]],
        r"got a list of Array objects\. Use dask\.array\.concatenate\({}\)",
    ),
    "list of dask frames": (
        lambda a: [dd.from_pandas(pd.DataFrame(a), npartitions=2)],
        r"got a list of DataFrame objects\. Use dask\.dataframe\.concat\({}\)",
    ),
    "tuple of Delayed": (
        lambda a: (promised(a),),
        r"got a tuple of Delayed objects\. Use dask\.array\.concatenate\(\[dask\.array\.from_del",
    ),
    "sparse array of pydata": (
        sparse.COO.from_numpy,
        r"got a sparse array of pydata\. Use {}\.todense\(\)",
    ),
    "list of sparse arrays of pydata": (
        lambda a: [sparse.GCXS.from_numpy(a)],
        r"got a list of sparse array of pydata objects\. Use numpy\.concatenate",
    ),
    "text": (lambda a: "rows.csv", r"got a path\. Load it first"),
    "Path": (lambda a: Path("rows.npy"), r"got a path\. Load it first"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", [CodedLogisticRegression, CodedRidge])
def test_it_is_refused_without_a_client(estimator: Any, kind: str) -> None:
    make, text = KINDS[kind]
    model = estimator().fit(X, Y)
    for name, action in {
        "X": lambda: estimator().fit(make(X), Y),
        "y": lambda: estimator().fit(X, make(Y)),
        "sample_weight": lambda: estimator().fit(X, Y, make(np.ones(60))),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name} must be.*{text.format(name)}"):
            action()
    with pytest.raises(TypeError, match=f"^X must be.*{text.format('X')}"):
        model.predict(make(X))
    with pytest.raises(TypeError, match=f"^y must be.*{text.format('y')}"):
        model.score(lazy(X), make(Y))


@pytest.mark.parametrize("estimator", [CodedLogisticRegression, CodedRidge])
def test_what_the_errors_say_of_pydatas_sparse_works(estimator: Any) -> None:
    expected = estimator().fit(X, Y).coef_
    for kind in (sparse.COO, sparse.GCXS, sparse.DOK):
        rows = kind.from_numpy(X).asformat("coo").to_scipy_sparse()
        np.testing.assert_allclose(estimator().fit(rows, Y).coef_, expected, atol=1e-6)
    with pytest.raises(TypeError, match=r"^y must be.*got a sparse array of pydata"):
        estimator().fit(X, Y).score(X, sparse.COO.from_numpy(Y))


@pytest.mark.parametrize("estimator", [CodedLogisticRegression, CodedRidge])
def test_xarray_is_taken_as_numpy_where_it_is_in_memory_and_else_refused(estimator: Any) -> None:
    xarray = pytest.importorskip("xarray")
    model = estimator().fit(X, Y)
    again = estimator().fit(xarray.DataArray(X), xarray.DataArray(Y))
    np.testing.assert_array_equal(again.coef_, model.coef_)
    assert again.score(xarray.DataArray(X), xarray.DataArray(Y)) == model.score(X, Y)
    promised = xarray.DataArray(lazy(X))
    for use in (estimator().fit, model.score):
        with pytest.raises(TypeError, match=r"^X must be.*a DataArray of xarray\. Use X\.data\.$"):
            use(promised, Y)
        with pytest.raises(TypeError, match=r"^y must be.*a DataArray of xarray\. Use y\.data\.$"):
            use(X, xarray.DataArray(lazy(Y)))
        with pytest.raises(TypeError, match=r"a Dataset of xarray\. Use X\.to_dataframe\(\)"):
            use(xarray.Dataset({"a": ("row", X[:, 0])}), Y)


@pytest.mark.cluster
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_on_a_cluster_before_any_work(client: Client, kind: str) -> None:
    make, text = KINDS[kind]
    wait_until(lambda: not gradcode_keys(client))
    with pytest.raises(TypeError, match=f"^X must be.*{text.format('X')}"):
        place(make(X), Y)
    for y, weight, name in ((make(Y), None, "y"), (Y, make(np.ones(60)), "sample_weight")):
        with pytest.raises(TypeError, match=f"^{name} must be.*{text.format(name)}"):
            CodedLogisticRegression().fit(lazy(X), y, weight)
    assert not gradcode_keys(client)


@pytest.mark.cluster
def test_futures_are_refused_and_what_the_error_says_works(client: Client) -> None:
    rows, labels = client.scatter(X), client.scatter(Y)
    with pytest.raises(
        TypeError, match=r"got a Future\. Use X\.result\(\), or dask\.array\.from_d"
    ):
        tight().fit(rows, Y)
    with pytest.raises(TypeError, match=r"got a list of Future objects\. Use numpy\.concatenate"):
        tight().fit(X, [labels])
    fixed = da.from_delayed(dask.delayed(rows), X.shape, X.dtype)
    expected = reference().fit(X, Y)
    assert_same_model(tight().fit(fixed, np.concatenate(client.gather([labels]))), expected)
    assert_same_model(tight().fit(da.concatenate([lazy(X)[:20], lazy(X)[20:]]), Y), expected)


@pytest.mark.cluster
def test_what_is_no_column_at_all_is_refused_for_dask_rows(client: Client) -> None:
    for y in ({"b": Y}, {1, 2}, 4):
        with pytest.raises(ValueError, match=r"y should be a 1d array, got an array of shape \(\)"):
            tight().fit(lazy(X), y)
    with pytest.raises(ValueError, match="Sample weights must be 1D array or scalar"):
        tight().fit(lazy(X), Y, {"b": Y})


@pytest.mark.cluster
def test_a_placement_is_neither_pickled_nor_cut_into_folds(client: Client) -> None:
    with place(X, Y) as data:
        for refused in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(
                TypeError, match=r"cannot be pickled or copied.*Pass X and y themse"
            ):
                refused(data)
        for refused in (np.asarray, GridSearchCV(tight(), {"C": [1.0, 2.0]}).fit):
            with pytest.raises(TypeError, match=r"no rows to take.*GridSearchCV.* as dask arrays"):
                refused(data)


@pytest.mark.cluster
def test_frames_go_into_folds_as_arrays_of_known_lengths(client: Client) -> None:
    frame = dd.from_pandas(pd.DataFrame(X).assign(y=Y), npartitions=3)
    rows, labels = frame[[0, 1, 2]], frame["y"]
    with pytest.raises(AttributeError, match="no attribute 'take'"):  # scikit-learn's own
        cross_val_score(tight(), rows, labels, cv=3)
    found = cross_val_score(
        tight(), rows.to_dask_array(lengths=True), labels.to_dask_array(lengths=True), cv=3
    )
    assert found.tolist() == cross_val_score(reference(), X, Y, cv=3).tolist()
