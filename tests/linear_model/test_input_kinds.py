"""On a cluster: every kind of input, and how it is chunked, gives the same model."""

from __future__ import annotations

import logging
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, worker_client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csc_array, csc_matrix, csr_matrix

from dask_gradcode import CodedLogisticRegression, CodedRidge, place
from dask_gradcode.cluster.data.forms import check_inputs
from helpers import (
    assert_same_model,
    gradcode_keys,
    local_cluster,
    logistic_data,
    reference,
    tight,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(203, 4)
LABELS = np.array(["no", "yes", "perhaps"])[np.digitize(X[:, 0] + X[:, 1], [-1.0, 1.0])]
NAMES = list("abcd")
FRAME = pd.DataFrame(X, columns=NAMES).assign(label=LABELS, target=X[:, 2], row=np.arange(203))


@pytest.mark.parametrize("convert", [coo_array, csc_array, csc_matrix, csr_matrix])
def test_sparse_rows_of_any_format(client: Client, convert: Any) -> None:
    rows = np.where(abs(X) < 1, 0.0, X)
    expected = reference().fit(rows, Y)
    assert_same_model(tight().fit(convert(rows), Y), expected)
    chunks = da.from_array(rows, chunks=(50, 4)).map_blocks(convert, meta=convert((1, 1)))
    assert_same_model(tight().fit(chunks, Y), expected)


def test_unknown_chunks_are_counted_on_the_workers(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dask_gradcode")
    lazy = da.from_array(X, chunks=(30, 4))
    keep = lazy[:, 3] > -0.5
    kept = X[:, 3] > -0.5
    some, labels = lazy[keep], da.from_array(Y, chunks=30)[keep]
    assert np.isnan(some.shape[0])
    model = tight().fit(some, labels)
    assert_same_model(model, reference().fit(X[kept], Y[kept]))
    assert any("rows of 7 chunks are unknown" in record.message for record in caplog.records)
    predicted = model.predict(some)
    assert np.isnan(predicted.shape[0])
    assert_array_equal(predicted.compute(), model.predict(X[kept]))
    assert model.score(some, labels) == model.score(X[kept], Y[kept])


@pytest.mark.parametrize("unknown", [False, True])
def test_chunks_of_columns_are_put_together(client: Client, unknown: bool) -> None:
    lazy = da.from_array(X, chunks=(70, 3))
    rows: Any = slice(None)
    if unknown:
        rows = X[:, 0] > 0
        lazy = lazy[lazy[:, 0] > 0]
    model = tight().fit(lazy, Y[rows])
    assert_same_model(model, reference().fit(X[rows], Y[rows]))
    assert_array_equal(model.predict(lazy).compute(), model.predict(X[rows]))


def test_a_fit_and_predictions_share_no_task_that_is_not_the_users(client: Client) -> None:
    """Such a task would be fused otherwise in each, and stay on the scheduler for good."""
    lazy = da.from_array(X, chunks=(70, 3))
    users = set(lazy.dask)
    rows, _, _ = check_inputs(lazy, Y, None, "a fit")
    made = [set(rows.dask) - users]
    model = tight().fit(lazy, Y)
    for predict in (model.predict, model.predict_proba, model.decision_function):
        made.append(set(predict(lazy).dask) - users)
    assert len(set().union(*made)) == sum(len(keys) for keys in made)
    assert set(model.predict(lazy).dask) - users == made[1]  # of one name each time


def test_chunks_of_columns_that_would_be_too_large_are_refused(client: Client) -> None:
    lazy = da.from_array(X, chunks=(70, 3))
    wait_until(lambda: not gradcode_keys(client))
    with (
        dask.config.set({"array.chunk-size": "2kiB"}),
        pytest.raises(
            ValueError,
            match=r"Chunking is only allowed.*rechunk\(\{0: .auto., 1: -1\}\).*have 2\.19 kiB",
        ),
    ):
        tight().fit(lazy, Y)
    assert not gradcode_keys(client)
    fixed = lazy.rechunk({0: "auto", 1: -1})  # what the text says
    with dask.config.set({"array.chunk-size": "2kiB"}):
        assert_same_model(tight().fit(fixed, Y), reference().fit(X, Y))


def test_float32_stays_float32_on_the_workers(client: Client) -> None:
    single = X.astype(np.float32)
    expected = tight().fit(single.astype(float), Y)
    for rows in (single, da.from_array(single, chunks=(60, 4)), csr_matrix(single)):
        with place(rows, Y) as data:
            replica = data.replica(0, 0)
            assert replica.dtype == replica.compute().dtype == np.float32
            model = tight().fit(data)
        assert model.coef_.dtype == np.float64
        assert_same_model(model, expected, atol=1e-7)
    mixed = da.concatenate([da.from_array(single[:100]), da.from_array(X[100:])])
    with place(mixed, Y) as data:
        assert data.replica(3, 3).dtype == np.float64


def test_frames_give_series_and_frames_with_their_index(client: Client) -> None:
    frame = FRAME.set_index(np.arange(1000, 1203))
    lazy = dd.from_pandas(frame, npartitions=3)
    features, rows = lazy[NAMES], frame[NAMES]
    model = tight().fit(features, lazy["label"])
    assert_same_model(model, reference().fit(X, LABELS))
    assert model.feature_names_in_.tolist() == NAMES
    labels = model.predict(features)
    assert isinstance(labels, dd.Series)
    assert labels.dtype == labels.compute().dtype
    expected = pd.Series(model.predict(rows), index=frame.index)
    pd.testing.assert_series_equal(labels.compute(), expected, check_dtype=False)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        found = getattr(model, method)(features)
        assert isinstance(found, dd.DataFrame)
        assert found.columns.tolist() == ["no", "perhaps", "yes"]
        assert (found.dtypes == found.compute().dtypes).all()
        assert_allclose(found.compute(), getattr(model, method)(rows), atol=1e-12)
        assert_array_equal(found.compute().index, frame.index)
    assert model.score(features, lazy["label"]) == model.score(rows, LABELS)
    together = lazy.assign(guess=labels).compute()  # a column of its own frame
    assert_array_equal(together["guess"], model.predict(rows))


def test_two_classes_and_a_regression_give_series(client: Client) -> None:
    lazy = dd.from_pandas(FRAME, npartitions=4)
    two = tight().fit(lazy[NAMES], lazy["target"] > 0)
    regression = CodedRidge(tol=1e-8).fit(lazy[NAMES], lazy["target"])
    for found, expected in (
        (two.decision_function(lazy[NAMES]), two.decision_function(FRAME[NAMES])),
        (two.predict(lazy[NAMES]), two.predict(FRAME[NAMES])),
        (regression.predict(lazy[NAMES]), regression.predict(FRAME[NAMES])),
    ):
        assert isinstance(found, dd.Series)
        assert found.dtype == expected.dtype
        assert_allclose(found.compute(), expected)
    assert regression.score(lazy[NAMES], lazy["target"]) == pytest.approx(1.0, abs=1e-3)


PANDAS_TYPES: dict[str, Any] = {
    "category of strings": pd.Categorical(LABELS),
    "category of numbers": pd.Categorical(Y),
    "string": pd.array(LABELS, dtype="string"),
    "Int64": pd.array(Y, dtype="Int64"),
    "boolean": pd.array(Y > 0, dtype="boolean"),
}


@pytest.mark.parametrize("name", PANDAS_TYPES)
def test_labels_of_pandas_own_types_are_numpys(client: Client, name: str) -> None:
    frame = FRAME.assign(label=PANDAS_TYPES[name])
    lazy = dd.from_pandas(frame, npartitions=3)
    model = tight().fit(lazy[NAMES], lazy["label"])
    expected = reference().fit(X, np.asarray(frame["label"].tolist()))
    assert_same_model(model, expected)
    score = expected.score(X, np.asarray(frame["label"].tolist()))
    assert model.score(lazy[NAMES], lazy["label"]) == pytest.approx(score)
    assert model.score(lazy[NAMES], frame["label"]) == pytest.approx(score)
    assert_array_equal(model.predict(lazy[NAMES]).compute(), model.predict(frame[NAMES]))


def test_features_of_pandas_own_types_are_numbers(client: Client) -> None:
    frame = FRAME.assign(
        b=pd.array(FRAME["b"].round().astype(int), dtype="Int64"),
        c=pd.Categorical(FRAME["c"].round()),
        d=pd.array(FRAME["d"] > 0, dtype="boolean"),
    )
    lazy = dd.from_pandas(frame, npartitions=3)
    model = tight().fit(lazy[NAMES], lazy["label"])
    assert_same_model(model, reference().fit(frame[NAMES].astype(float).to_numpy(), LABELS))
    assert_array_equal(model.predict(lazy[NAMES]).compute(), model.predict(frame[NAMES]))
    lazy["b"] = lazy["b"].mask(lazy["row"] == 150)
    with pytest.raises(ValueError, match=r"Input X contains NaN\."):
        tight().fit(lazy[NAMES], lazy["label"])
    with pytest.raises(ValueError, match=r"Input X contains NaN\."):
        model.predict(lazy[NAMES]).compute()
    with pytest.raises(ValueError, match=r"^Chunk 2 of y .*: Input y contains NaN\."):
        CodedRidge().fit(lazy[["a"]], lazy["b"])


@pytest.mark.parametrize(
    ("bad", "text"), [(np.nan, r"contains NaN\."), (np.inf, "contains infinity")]
)
def test_rows_that_are_not_finite_are_not_predicted(client: Client, bad: float, text: str) -> None:
    spoilt = X.copy()
    spoilt[150, 1] = bad
    lazy = da.from_array(spoilt, chunks=(50, 4))
    for model in (tight().fit(X, Y), CodedRidge().fit(X, Y)):
        predicted = model.predict(lazy)  # nothing has been looked at yet
        assert_array_equal(predicted[:150].compute(), model.predict(X[:150]))
        with pytest.raises(ValueError, match=f"Input X {text}"):
            predicted.compute()
        with pytest.raises(ValueError, match=f"Input X {text}"):
            model.score(lazy, Y)


def test_rows_of_one_dimension_are_not_predicted(client: Client) -> None:
    model = tight().fit(X, Y)
    for rows in (da.from_array(X[:, 0]), dd.from_pandas(FRAME["a"], npartitions=2)):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
            model.predict(rows)


def test_a_score_takes_targets_of_any_kind(client: Client) -> None:
    lazy = da.from_array(X, chunks=(50, 4))
    targets = da.from_array(Y, chunks=50)
    some = lazy[lazy[:, 0] > -9]  # all rows, of unknown number
    weight = np.arange(203.0)
    for model in (tight().fit(X, Y), CodedRidge().fit(X, Y)):
        expected = model.score(X, Y)
        for rows, y in (
            (lazy, Y),
            (lazy, pd.Series(Y)),
            (lazy, targets[:, None]),
            (lazy, dd.from_pandas(pd.DataFrame({"y": Y}), npartitions=3)),
            (some, Y),
            (some, targets.rechunk(70)),
            (X, targets[lazy[:, 0] > -9]),
        ):
            assert model.score(rows, y) == pytest.approx(expected, abs=1e-12)
        assert np.isnan(some.shape[0])  # the user's array is as it was
        weighted = model.score(X, Y, sample_weight=weight)
        assert model.score(some, Y, sample_weight=weight) == pytest.approx(weighted, abs=1e-12)
        with pytest.raises(ValueError, match=r"y should be a 1d array, got an array of shape"):
            model.score(lazy, np.c_[Y, Y])
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[5, 203\]"):
            model.score(some, Y[:5])


def test_predictions_are_named_after_their_estimator(client: Client) -> None:
    lazy = da.from_array(X, chunks=(50, 4))
    assert tight().fit(X, Y).predict(lazy).name.startswith("CodedLogisticRegression-predict")
    assert CodedRidge().fit(X, Y).predict(lazy).name.startswith("CodedRidge-predict")


def test_an_empty_partition_is_predicted_as_nothing(client: Client) -> None:
    lazy = dd.from_pandas(FRAME, npartitions=3)
    lazy = lazy[lazy["row"] < 60]
    model = tight().fit(lazy[NAMES], lazy["label"])
    assert len(model.predict(lazy[NAMES]).compute()) == 60
    assert model.predict_proba(lazy[NAMES]).compute().shape == (60, 3)


def test_other_names_are_refused_as_scikit_learn_does(client: Client) -> None:
    lazy = dd.from_pandas(FRAME, npartitions=2)
    model = tight().fit(lazy[NAMES], lazy["label"])
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(lazy[NAMES].rename(columns={"a": "other"}))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(da.from_array(X, chunks=(50, 4)))


def test_frames_that_are_not_numbers_are_refused(client: Client) -> None:
    lazy = dd.from_pandas(FRAME, npartitions=2)
    text = r"^Column 'label' of (partition \d of )?X must hold numbers: could not .*OneHotEncoder"
    for frame in (lazy, FRAME):
        with pytest.raises(ValueError, match=text):
            tight().fit(frame[["a", "label"]], frame["label"])


def test_a_fit_in_a_task_is_made_there_or_refused(client: Client) -> None:
    def fit_there(lazy: bool) -> Any:
        rows, labels = X, Y
        if lazy:
            rows, labels = da.from_array(X), da.from_array(Y)
        return CodedLogisticRegression().fit(rows, labels).history_.transport

    assert client.submit(fit_there, False).result(timeout=60) == "in-process"
    with pytest.raises(RuntimeError, match=r"coded fit in a Dask task would wait .*worker_client"):
        client.submit(fit_there, True).result(timeout=60)


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_a_fit_in_a_task_does_not_wait_for_the_thread_of_its_task(transport: str) -> None:
    def fit_there(how: str) -> Any:
        model = CodedLogisticRegression(tol=1e-8, transport=transport)
        rows, labels = da.from_array(X), da.from_array(Y)
        with worker_client(separate_thread=how == "apart") as client:
            return model.set_params(client=client).fit(rows, labels).coef_

    expected = CodedLogisticRegression(tol=1e-8).fit(X, Y).coef_
    with local_cluster(1) as client:  # a single thread
        for how in ("apart", "in its thread"):
            found = [client.submit(fit_there, how, pure=False) for _ in range(2)]
            for future in found:
                assert_allclose(future.result(timeout=60), expected, atol=1e-6)
        assert client.submit(len, "the thread is back").result(timeout=60) == 18
