"""Chunks and partitions that are not as their array or frame says: the right model, or why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sparse
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode import (
    CodedHuberRegressor,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
    place,
)
from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.frames import by_name, column_values, frame_values
from helpers import assert_same_model, logistic_data, reference, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(120, 4)
WEIGHT = np.random.default_rng(3).uniform(0.5, 2.0, 120)
NAMES = list("abcd")
FRAME = pd.DataFrame(X, columns=NAMES)
ESTIMATORS = [
    CodedLogisticRegression,
    CodedRidge,
    CodedPoissonRegressor,
    CodedHuberRegressor,
]
Change = Callable[[Any], Any]


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[Client]:
    """Two workers in this process: nothing here harms them."""
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as one:
        yield one


def array_of(change: Change, which: int = 1, X: Any = X) -> Any:
    """Return X in chunks of 40 rows, one of which is changed behind Dask's back."""
    lazy = da.from_array(X, chunks=(40, *X.shape[1:]))
    meta = np.empty((0,) * X.ndim, X.dtype)

    def one(chunk: Any, block_id: Any = None) -> Any:
        return change(chunk) if block_id[0] == which else chunk

    return lazy.map_blocks(one, dtype=X.dtype, meta=meta)


def frame_of(change: Change, which: int = 1) -> Any:
    """Return FRAME in partitions of 40 rows, one of which is changed behind Dask's back."""

    def one(part: Any, partition_info: Any = None) -> Any:
        return change(part) if partition_info["number"] == which else part

    lazy = dd.from_pandas(FRAME, npartitions=3)
    return lazy.map_partitions(one, meta=lazy._meta, enforce_metadata=False)


def unknown(X: Any) -> Any:
    """Return the same chunks, their lengths forgotten."""
    lazy = X.copy()
    lazy._chunks = ((np.nan,) * X.numblocks[0], *X.chunks[1:])
    return lazy


def assert_refused_alike(lazy: Any, text: str) -> None:
    """Check that fit, place, predict and score say the same of rows that cannot be used."""
    model, labels = tight(), da.from_array(Y, chunks=40)
    if isinstance(lazy, da.Array):
        model.fit(X, Y)
    else:
        model.fit(dd.from_pandas(FRAME, npartitions=2), labels)
    for use in (
        lambda: tight().fit(lazy, labels),
        lambda: place(lazy, labels),
        lambda: model.predict(lazy).compute(),
        lambda: model.predict_proba(lazy).compute(),
        lambda: model.score(lazy, labels),
    ):
        with pytest.raises(ValueError, match=text):
            use()


# ---------------------------------------------------------------- columns of frames


@pytest.mark.parametrize("order", ["dcba", "bacd"])
def test_columns_are_taken_by_name_in_every_partition(order: str) -> None:
    lazy = frame_of(lambda part: part[list(order)])
    labels = da.from_array(Y, chunks=40)
    expected = reference().fit(FRAME, Y)
    model = tight().fit(lazy, labels)
    assert_same_model(model, expected)
    assert model.feature_names_in_.tolist() == NAMES
    with place(lazy, labels) as data:
        assert_same_model(tight().fit(data), expected)
    assert_array_equal(model.predict(lazy).compute(), expected.predict(FRAME))
    assert_allclose(model.predict_proba(lazy).compute(), expected.predict_proba(FRAME), atol=1e-6)
    assert model.score(lazy, labels) == expected.score(FRAME, Y)
    ridge = CodedRidge(tol=1e-10).fit(lazy, X[:, 0])
    assert ridge.score(lazy, X[:, 0]) == pytest.approx(ridge.score(FRAME, X[:, 0]), abs=1e-12)


OTHER_COLUMNS: dict[str, tuple[Change, str]] = {
    "missing": (lambda part: part[["a", "b", "d"]], r"\(missing: 'c'\)"),
    "further": (lambda part: part.assign(e=1.0), r"\(not in the frame: 'e'\)"),
    "renamed": (
        lambda part: part.rename(columns={"b": "z"}),
        r"\(missing: 'b'; not in the frame: 'z'\)",
    ),
    "twice": (
        lambda part: part[["a", "a", "b", "c", "d"]],
        r"\(not in the frame: 'a'; more than once: 'a'\)",
    ),
}


@pytest.mark.parametrize("case", OTHER_COLUMNS)
def test_other_columns_than_those_of_the_frame_are_refused(case: str) -> None:
    change, found = OTHER_COLUMNS[case]
    text = rf"Partition 1 of X has other columns than its frame {found}.*columns of its meta"
    assert_refused_alike(frame_of(change), text)


def test_a_partition_that_is_no_frame_is_refused() -> None:
    text = "Partition 1 of X is a ndarray where its frame has the columns 'a', 'b', 'c', 'd'"
    assert_refused_alike(frame_of(lambda part: part.to_numpy()), text)


@pytest.mark.parametrize("names", [["a", "b", 1, 2], ["a", "b", "a", "c"]], ids=["mixed", "twice"])
def test_names_are_refused_in_the_same_words_as_for_pandas(names: list[Any]) -> None:
    frame = FRAME.set_axis(names, axis=1)
    with pytest.raises((TypeError, ValueError)) as said:
        reference().fit(frame, Y)
    lazy, labels = dd.from_pandas(frame, npartitions=3), da.from_array(Y, chunks=40)
    for use in (
        lambda: tight().fit(frame, Y),
        lambda: tight().fit(lazy, labels),
        lambda: CodedRidge().fit(lazy, labels),
        lambda: place(lazy, labels),
    ):
        with pytest.raises(said.type) as told:
            use()
        assert str(told.value) == str(said.value)


def test_an_empty_partition_may_have_any_columns() -> None:
    lazy = dd.concat([frame_of(lambda part: part), dd.from_pandas(FRAME[:0], npartitions=1)])
    empty = lazy.map_partitions(
        lambda part: part if len(part) else pd.DataFrame(), meta=lazy._meta, enforce_metadata=False
    )
    assert_same_model(tight().fit(empty, Y), reference().fit(FRAME, Y))


def test_names_that_come_twice_are_told_apart_by_their_place() -> None:
    names = ["a", "b", "a", "c"]
    twice = FRAME.set_axis(names, axis=1)
    assert by_name(twice, names, "It") is twice
    for there in (["a", "a", "b", "c"], ["a", "b", "c", "c"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="It has other columns than its frame"):
            by_name(FRAME.iloc[:, : len(there)].set_axis(there, axis=1), names, "It")


def test_frames_of_sparse_columns_stay_sparse() -> None:
    rows = np.where(abs(X) < 1, 0.0, X)
    frame = pd.DataFrame(rows, columns=NAMES).astype(pd.SparseDtype(float, 0.0))
    lazy = dd.from_pandas(frame, npartitions=3)
    expected = reference().fit(rows, Y)
    model = tight().fit(lazy, Y)
    assert_same_model(model, expected)
    with place(lazy, Y) as data:
        assert scipy.sparse.issparse(data.replica(0, 0).compute())
        assert_same_model(tight().fit(data), expected)
    assert_array_equal(model.predict(lazy).compute(), expected.predict(rows))
    assert model.score(lazy, Y) == expected.score(rows, Y)


def test_sparse_columns_beside_dense_ones_become_dense() -> None:
    frame = FRAME.assign(b=pd.arrays.SparseArray(np.round(X[:, 1])))
    lazy = dd.from_pandas(frame, npartitions=3)
    expected = reference().fit(frame.to_numpy(dtype=float), Y)
    model = tight().fit(lazy, Y)
    assert_same_model(model, expected)
    assert model.score(lazy, Y) == expected.score(frame.to_numpy(dtype=float), Y)


def test_values_of_pandas_types_are_numpys() -> None:
    gap = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [True, False]})
    assert_array_equal(frame_values(gap).astype(float), [[1.0, 1.0], [np.nan, 0.0]])
    assert column_values(pd.Series([1, 2], dtype="Int32")).dtype == np.int32
    assert column_values(pd.Series(pd.arrays.SparseArray([0.0, 2.0]))).tolist() == [0.0, 2.0]
    missing = column_values(pd.Series(["a", None], dtype="string"))
    assert missing[0] == "a"
    assert np.isnan(missing[1])


# ---------------------------------------------------------------- rows of arrays

CHUNKS_OF_ROWS: dict[str, Change] = {
    "a list": lambda chunk: chunk.tolist(),
    "CSR": scipy.sparse.csr_array,
    "DOK": scipy.sparse.dok_array,
    "LIL matrix": scipy.sparse.lil_matrix,
    "pydata COO": sparse.COO.from_numpy,
    "pydata GCXS": sparse.GCXS.from_numpy,
    "pydata DOK": sparse.DOK.from_numpy,
    "pydata COO around 1": lambda chunk: sparse.COO.from_numpy(chunk, fill_value=1.0),
}


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("kind", CHUNKS_OF_ROWS)
def test_chunks_of_any_kind_are_the_same_rows(kind: str, everywhere: bool) -> None:
    rows = np.where(abs(X) < 1, 0.0, X)
    lazy = array_of(CHUNKS_OF_ROWS[kind], X=rows)
    if everywhere:
        lazy = da.from_array(rows, chunks=(50, 4)).map_blocks(
            CHUNKS_OF_ROWS[kind], dtype=float, meta=np.empty((0, 0))
        )
    expected = reference().fit(rows, Y)
    model = tight().fit(lazy, Y)
    assert_same_model(model, expected)
    with place(lazy, Y) as data:
        assert_same_model(tight().fit(data), expected)
    assert_array_equal(model.predict(lazy).compute(), expected.predict(rows))
    assert model.score(lazy, Y) == expected.score(rows, Y)


def test_an_array_of_pydata_sparse_is_taken_as_it_is() -> None:
    rows = np.where(abs(X) < 1, 0.0, X)
    lazy = da.from_array(rows, chunks=(50, 4)).map_blocks(sparse.COO)
    assert isinstance(lazy._meta, sparse.COO)
    model = tight().fit(lazy, Y)
    assert_same_model(model, reference().fit(rows, Y))
    assert_array_equal(model.predict(lazy).compute(), model.predict(rows))
    assert model.score(lazy, Y) == model.score(rows, Y)


OTHER_SHAPES: dict[str, tuple[Change, str]] = {
    "narrower": (lambda chunk: chunk[:, :3], r"\(40, 3\)"),
    "wider": (lambda chunk: np.c_[chunk, chunk[:, :1]], r"\(40, 5\)"),
    "wider sparse": (
        lambda chunk: scipy.sparse.csr_array(np.c_[chunk, chunk[:, :1]]),
        r"\(40, 5\)",
    ),
    "a narrower list": (lambda chunk: chunk[:, :3].tolist(), r"\(40, 3\)"),
    "one dimension": (lambda chunk: chunk[:, 0], r"\(40,\)"),
    "fewer rows": (lambda chunk: chunk[:39], r"\(39, 4\)"),
}


@pytest.mark.parametrize("case", OTHER_SHAPES)
def test_chunks_of_another_shape_are_refused(case: str) -> None:
    change, found = OTHER_SHAPES[case]
    text = rf"Chunk 1 of X has the shape {found} where its array says \({{}}, 4\)"
    assert_refused_alike(array_of(change), text.format(40))
    if case != "fewer rows":  # then nobody has said how many
        assert_refused_alike(unknown(array_of(change)), text.format(r"\?"))


@pytest.mark.parametrize("code", ["fractional", "cyclic", "uncoded"])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_wider_chunk_in_which_blocks_lie_is_refused(estimator: Any, form: Any, code: str) -> None:
    X = np.eye(4)[np.arange(120) % 4]
    parts = [da.from_array(form(X[:10]), chunks=-1), da.from_array(X[10:], chunks=-1)]
    wider = parts[1].map_blocks(lambda chunk: form(np.c_[chunk, np.ones(110)]), dtype=float)
    wider._chunks = parts[1].chunks
    lazy = da.concatenate([parts[0], wider])
    model = estimator(code=code, n_stragglers=None if code == "uncoded" else 1)
    for given, said in ((lazy, "110"), (unknown(lazy), r"\?")):
        text = rf"Chunk 1 of X has the shape \(110, 5\) where its array says \({said}, 4\)"
        with pytest.raises(ValueError, match=text):
            model.fit(given, Y)


def test_a_chunk_with_too_few_rows_is_not_made_up_for_by_another() -> None:
    rows = array_of(lambda chunk: chunk[:39], which=0)
    longer = array_of(lambda chunk: np.r_[X[39:40], chunk])
    both = da.concatenate([rows[:40], longer[40:]])
    with pytest.raises(ValueError, match=r"Chunk [01] of X has the shape"):
        tight().fit(both, Y)  # every row but one would have another's label


def test_nothing_is_cut_off_where_chunks_of_columns_are_put_together() -> None:
    lazy = da.from_array(X, chunks=(40, 2))

    def wider(chunk: Any, block_id: Any = None) -> Any:
        return np.c_[chunk, chunk] if block_id == (1, 0) else chunk

    text = r"Chunk \(1, 0\) of X has the shape \(40, 4\) where its array says \(40, 2\)"
    assert_refused_alike(lazy.map_blocks(wider, dtype=float, meta=np.empty((0, 0))), text)


def test_a_frame_as_chunk_of_an_array_is_refused() -> None:
    lazy = array_of(lambda chunk: pd.DataFrame(chunk, columns=NAMES))
    text = "Chunk 1 of X is a DataFrame with the columns 'a', 'b', 'c', 'd' where its array"
    assert_refused_alike(lazy, rf"{text}.*to_numpy\(\).*dask\.dataframe\.from_delayed")


# ---------------------------------------------------------------- targets and weights

COLUMNS: dict[str, Change] = {
    "a column": lambda chunk: chunk[:, None],
    "a frame": lambda chunk: pd.DataFrame({"y": chunk}),
    "a Series": pd.Series,
    "a Series of pandas' type": lambda chunk: pd.Series(chunk).convert_dtypes(),
    "a list": list,
    "a sparse column": lambda chunk: scipy.sparse.csr_array(chunk[:, None]),
    "pydata COO": sparse.COO.from_numpy,
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_chunks_of_targets_and_weights_are_one_column(kind: str) -> None:
    change = COLUMNS[kind]
    labels, weight, numbers = (array_of(change, X=array) for array in (Y, WEIGHT, X[:, 0]))
    lazy = da.from_array(X, chunks=(30, 4))
    expected = reference().fit(X, Y, WEIGHT)
    model = tight().fit(lazy, labels, weight)
    assert_same_model(model, expected)
    with place(lazy, labels, sample_weight=weight) as data:
        assert_same_model(tight().fit(data), expected)
    score = expected.score(X, Y, WEIGHT)
    assert model.score(lazy, labels, weight) == pytest.approx(score, abs=1e-12)
    assert model.score(X, labels, weight) == pytest.approx(score, abs=1e-12)
    ridge = CodedRidge(tol=1e-10).fit(lazy, numbers, weight)
    assert_allclose(ridge.coef_, CodedRidge(tol=1e-10).fit(X, X[:, 0], WEIGHT).coef_, atol=1e-8)
    same = ridge.score(X, X[:, 0], WEIGHT)
    assert ridge.score(lazy, numbers, weight) == pytest.approx(same, abs=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_long_column_is_not_made_a_square(estimator: Any) -> None:
    y = np.tile(Y, 167)  # 20,040 rows: 3 GB, if it were
    tall = np.tile(X, (167, 1))
    column = da.from_array(y, chunks=-1).map_blocks(
        lambda chunk: chunk[:, None], dtype=y.dtype, meta=np.empty(0, y.dtype)
    )
    lazy = da.from_array(tall, chunks=(5000, 4))
    model, expected = estimator().fit(lazy, column), estimator().fit(tall, y)
    assert_allclose(model.coef_, expected.coef_, atol=1e-8)
    assert model.score(lazy, column) == pytest.approx(expected.score(tall, y), abs=1e-9)


MISSING: dict[str, Any] = {
    "None": pd.Series(Y.astype(str), dtype=object).mask(X[:, 0] > 1, None),
    "NaN": pd.Series(Y.astype(str), dtype=object).mask(X[:, 0] > 1, np.nan),
    "NA": pd.Series(Y.astype(str), dtype=object).mask(X[:, 0] > 1, pd.NA),
    "string": pd.Series(Y.astype(str), dtype="string").mask(X[:, 0] > 1),
    "category": pd.Series(Y.astype(str), dtype="category").mask(X[:, 0] > 1),
    "Int64": pd.Series(Y, dtype="Int64").mask(X[:, 0] > 1),
    "None among numbers": pd.Series(Y, dtype=object).mask(X[:, 0] > 1, None),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_labels_are_said_to_be_missing(kind: str) -> None:
    y, model = MISSING[kind], tight().fit(X, Y)
    rows, lazy = da.from_array(X, chunks=(40, 4)), dd.from_pandas(y, npartitions=3)
    objects = da.from_array(y.to_numpy(object), chunks=40)
    for use in (
        lambda: tight().fit(X, y),
        *(lambda labels=labels: tight().fit(rows, labels) for labels in (lazy, objects)),
        lambda: tight().fit(dd.from_pandas(FRAME, npartitions=3), lazy.to_frame()),
        lambda: place(rows, lazy),
        lambda: model.score(rows, lazy),
        lambda: CodedRidge().fit(rows, lazy),
    ):
        with pytest.raises(ValueError, match=r"^(Chunk \d of y .*: )?Input y contains NaN\."):
            use()


@pytest.mark.parametrize("kind", ["a column", "a frame"])
def test_targets_that_say_they_are_a_column_may_come_without(kind: str) -> None:
    labels = array_of(lambda chunk: chunk[:, 0], X=Y[:, None])
    assert labels.shape == (120, 1)
    lazy = da.from_array(X, chunks=(30, 4))
    model = tight().fit(lazy, labels)
    assert_same_model(model, reference().fit(X, Y))
    assert model.score(lazy, labels) == model.score(X, Y)


OTHER_COLUMN: dict[str, tuple[Change, str]] = {
    "two columns": (lambda chunk: np.c_[chunk, chunk], r"\(40, 2\)"),
    "a frame of two columns": (lambda chunk: pd.DataFrame({"a": chunk, "b": 1}), r"\(40, 2\)"),
    "a row": (lambda chunk: chunk[None, :], r"\(1, 40\)"),
    "fewer": (lambda chunk: chunk[:39], r"\(39,\)"),
    "a scalar": (lambda chunk: chunk[0], r"\(\)"),
}


@pytest.mark.parametrize("case", OTHER_COLUMN)
def test_targets_and_weights_of_another_shape_are_refused(case: str) -> None:
    change, found = OTHER_COLUMN[case]
    bad, lazy, model = array_of(change, X=Y), da.from_array(X, chunks=(40, 4)), tight().fit(X, Y)
    text = rf"Chunk 1 of {{}} has the shape {found} where its array says \(40,\)"
    for name, y, weight in (("y", bad, None), ("sample_weight", Y, bad)):
        for use in (
            lambda y=y, weight=weight: tight().fit(lazy, y, weight),
            lambda y=y, weight=weight: place(lazy, y, sample_weight=weight),
            lambda y=y, weight=weight: model.score(lazy, y, weight),
            lambda y=y, weight=weight: CodedRidge().fit(X, Y).score(lazy, y, weight),
        ):
            with pytest.raises(ValueError, match=text.format(name)):
                use()


def test_a_partition_of_a_series_may_be_a_frame_of_one_column() -> None:
    series = dd.from_pandas(pd.Series(Y, name="y"), npartitions=3)

    def framed(columns: int) -> Any:
        return series.map_partitions(
            lambda part: pd.concat([part.to_frame()] * columns, axis=1),
            meta=series._meta,
            enforce_metadata=False,
        )

    lazy = dd.from_pandas(FRAME, npartitions=3)
    model = tight().fit(lazy, framed(1))
    assert_same_model(model, reference().fit(FRAME, Y))
    assert model.score(lazy, framed(1)) == model.score(FRAME, Y)
    for use in (tight().fit, model.score, place):
        with pytest.raises(ValueError, match=r"Partition \d of y has the shape \(40, 2\)"):
            use(lazy, framed(2))


@pytest.mark.parametrize("given", [(np.nan, 4), (3, np.nan)])
def test_what_is_not_said_is_not_asked_for(given: tuple[float, ...]) -> None:
    assert Expected("It", given).rows(np.ones((3, 4))).shape == (3, 4)
    with pytest.raises(ValueError, match=r"It has the shape \(2, 5\) where its array says \("):
        Expected("It", given).rows(np.ones((2, 5)))


# ---------------------------------------------------------------- values that are no numbers


def test_a_string_in_a_frame_is_named_by_its_partition_and_column() -> None:
    lazy = frame_of(lambda part: part.assign(c="north"))
    assert_refused_alike(lazy, r"^Column 'c' of partition 1 of X must hold .*'north'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("north", "^Chunk 1 of X.*: Column 0 of X must .*'north'"),
        (np.nan, "^Chunk 1 of X.*: .* NaN"),
    ],
)
def test_a_value_that_is_no_number_is_named_by_its_chunk(value: Any, text: str) -> None:
    lazy = array_of(lambda chunk: np.full(chunk.shape, value, dtype=object))
    assert_refused_alike(lazy, text)
