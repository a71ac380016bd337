"""Rows on disk are those in memory: every slice, every chunk, however they were written."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, issparse

from dask_gradcode.cluster.data.row_file import RowFile
from dask_gradcode.cluster.data.stored import StoredColumn, StoredRows
from dask_gradcode.cluster.data.written import write_rows
from dask_gradcode.kernels import add_hessian, add_value_and_gradient, chunk_rows, runs_of_rows
from dask_gradcode.losses import Logistic
from dask_gradcode.payloads import Statistic
from dask_gradcode.spread import Spread

KINDS = [np.asarray, csr_array]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["dense", "CSR"])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


def stored(directory: Path, parts: list[Any]) -> StoredRows:
    """Write rows in parts, and return them as one matrix of the second part's dtype."""
    file = RowFile(f"{directory}-{os.urandom(8).hex()}", str(directory), "mine")
    return StoredRows([write_rows(file, part).rows for part in parts], np.float64)


def plain(rows: Any) -> Any:
    return rows.toarray() if issparse(rows) else np.array(rows)


@every_kind
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    borders=st.lists(st.integers(0, 35), min_size=2, max_size=6),
    outer=st.tuples(st.integers(0, 34), st.integers(1, 35)),
    seed=st.integers(0, 9),
)
def test_slices_and_chunks_are_those_of_the_matrix(
    kind: Any,
    lengths: list[int],
    borders: list[int],
    outer: tuple[int, int],
    seed: int,
    directory: Path,
) -> None:
    n_rows = sum(lengths)
    X = np.random.default_rng(seed).integers(0, 3, size=(n_rows, 3)).astype(float)
    X[: lengths[seed % len(lengths)]] = X[: lengths[seed % len(lengths)]] > 0.0  # no values on disk
    dtypes = [np.float32 if (seed + i) % 3 else np.float64 for i in range(len(lengths))]
    split = np.split(X, np.cumsum(lengths)[:-1])
    parts = [kind(part.astype(d)) for part, d in zip(split, dtypes, strict=True)]
    whole = stored(directory, parts)
    start = min(outer[0], n_rows - 1)
    stop = min(max(outer[1], start + 1), n_rows)
    rows, expected = whole.between(start, stop), X[start:stop]
    assert rows.shape == expected.shape
    assert rows.nnz == (None if kind is np.asarray else np.count_nonzero(expected))
    borders = sorted({min(border, stop - start) for border in borders})
    chunks = [slice(a, b) for a, b in pairwise(borders)]
    for chunk in chunks:
        found = rows[chunk]
        assert found.dtype == np.float64
        assert_array_equal(plain(found), expected[chunk])
    # a chunk is good until the next one is asked for
    for chunk, part in zip(chunks, rows.read(chunks), strict=True):
        if isinstance(part, tuple):
            indptr, indices, values = part
            part = csr_array((values, indices, indptr), shape=(len(indptr) - 1, 3)).toarray()
        assert_array_equal(part, expected[chunk])


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    bounds=st.lists(st.integers(0, 20), min_size=4, max_size=4),
)
def test_slices_of_a_column_are_those_of_the_vector(
    sizes: list[int], bounds: list[int], directory: Path
) -> None:
    file = RowFile(f"{directory}-column", str(directory), "mine")
    y = np.arange(float(sum(sizes)))
    extents = [file.append(part) for part in np.split(y, np.cumsum(sizes)[:-1])]
    column = StoredColumn([(file, extent, 0, extent.size) for extent in extents])
    a, b, c, d = bounds
    assert_array_equal(column[a:b], y[a:b])
    if len(y[a:b]):
        inner = column.between(a, min(b, len(y)))
        assert len(inner) == len(y[a:b])
        assert_array_equal(inner[c:d], y[a:b][c:d])


@every_kind
@pytest.mark.parametrize("values", ["any", "ones"])
def test_passes_have_the_bits_that_they_have_in_memory(
    kind: Any, values: str, directory: Path
) -> None:
    rng = np.random.default_rng(0)
    n_rows = 3 * chunk_rows(np.zeros((1, 4))) + 5
    dense = rng.normal(size=(n_rows, 4)) * (rng.random((n_rows, 4)) < 0.4)
    dense = dense if values == "any" else (dense != 0.0).astype(float)
    X, y, weight = kind(dense), rng.integers(0, 2, n_rows).astype(float), rng.random(n_rows)
    cut = n_rows // 3
    on_disk = stored(directory, [X[:cut], X[cut:]])
    if values == "ones" and kind is csr_array:
        assert on_disk.nbytes == X.indices.nbytes + 8 * (n_rows + 1)
    column = StoredColumn([(on_disk.file, on_disk.file.append(y), 0, n_rows)])
    weights: Any = StoredColumn([(on_disk.file, on_disk.file.append(weight), 0, n_rows)])
    w = rng.normal(size=5)
    assert runs_of_rows(on_disk, 1, w.size) == runs_of_rows(X, 1, w.size)
    statistic = Statistic.at(w, order=2)
    totals = np.zeros((2, statistic.size))
    for total, rows, targets, of_rows in zip(
        totals, (X, on_disk), (y, column), (weight, weights), strict=True
    ):
        arguments = Logistic(), rows, targets, of_rows, w, 2.0, total
        assert add_value_and_gradient(*arguments, run=slice(7, None), statistic=statistic)
        assert add_hessian(*arguments)
    assert_array_equal(totals[0], totals[1])
    spreads = [Spread.of(X, weight), Spread.of(on_disk, weights)]
    assert_array_equal(spreads[0].squares, spreads[1].squares)
    assert_array_equal(spreads[0].mean, spreads[1].mean)


def test_a_pass_that_is_stopped_gives_its_buffers_back(directory: Path) -> None:
    rows = stored(directory, [np.ones((100, 2))])
    chunks = [slice(i, i + 10) for i in range(0, 100, 10)]
    for _ in range(3):
        reading = rows.read(chunks)
        assert_array_equal(next(reading), np.ones((10, 2)))
        reading.close()
        lent = [rows.file.lend_buffer() for _ in range(3)]
        assert lent[2].size == 0  # two were in use
        for buffer in lent[:2]:
            rows.file.take_back(buffer)


def test_threads_that_read_one_file_never_share_a_buffer(directory: Path) -> None:
    X = np.arange(4000.0).reshape(1000, 4)
    rows = stored(directory, [X])
    chunks, before = [slice(i, i + 10) for i in range(0, 1000, 10)], sys.getswitchinterval()

    def read(seed: int) -> bool:
        some = chunks[seed::3]
        found = zip(some, rows.read(some), strict=True)
        return all(np.array_equal(part, X[chunk]) for chunk, part in found)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, [0, 1, 2] * 40))
    finally:
        sys.setswitchinterval(before)


def test_what_cannot_be_read_raises_where_it_is_asked_for(directory: Path) -> None:
    rows = stored(directory, [np.ones((100, 2))])
    os.ftruncate(rows.file.fileno(), 800)
    reading = rows.read([slice(0, 50), slice(50, 100)])
    next(reading)
    with pytest.raises(OSError, match="A file of rows of mine ends before it should"):
        next(reading)


def test_pickled_in_its_process_it_is_the_same_file_elsewhere_an_error(directory: Path) -> None:
    rows = stored(directory, [np.arange(6.0).reshape(3, 2)])
    assert_array_equal(pickle.loads(pickle.dumps(rows))[1:2], [[2.0, 3.0]])
    read = "import pickle, sys; pickle.load(sys.stdin.buffer)[0:1]"
    command = [sys.executable, "-c", read]
    ended = subprocess.run(command, input=pickle.dumps(rows), capture_output=True, check=False)
    assert b"These rows are on the disk of mine" in ended.stderr


def test_the_file_has_no_name_and_ends_with_what_holds_it(directory: Path) -> None:
    rows = stored(directory, [np.ones((100, 2))])
    number = rows.file.fileno()
    assert os.fstat(number).st_nlink == 0
    assert not list(directory.iterdir())
    part = rows.between(10, 20)
    del rows
    assert part[:].shape == (10, 2)
    del part
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Worker mine cannot write rows to .*gone: No such file"):
        RowFile("token", str(tmp_path / "gone"), "mine")
