"""The one pass over rows against the plain formula; same rows, same bits."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.special import expit
from threadpoolctl import threadpool_info, threadpool_limits

from dask_gradcode import kernels
from dask_gradcode.kernels import (
    CHUNK_VALUES,
    add_value_and_gradient,
    chunk_rows,
    one_blas_thread,
)
from dask_gradcode.kernels.rows import DenseRows, SparseRows
from dask_gradcode.losses import Huber, Layout, Logistic, Loss, Multinomial
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Matrix, Vector

CHUNK_ROWS = chunk_rows(np.zeros((1, 4)))
BORDERS = [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS - 72]
at_chunk_borders = pytest.mark.parametrize("n_rows", BORDERS)
with_and_without_intercept = pytest.mark.parametrize("intercept", [0, 1])


def data(n_rows: int, n_features: int = 4) -> tuple[Matrix, Vector, Vector]:
    """Whole numbers, which every dtype holds exactly: features, labels, weights."""
    rng = np.random.default_rng(n_rows)
    X = rng.integers(-3, 4, (n_rows, n_features)).astype(float)
    return X, rng.integers(0, 2, n_rows).astype(float), rng.integers(0, 4, n_rows).astype(float)


def point(size: int) -> Vector:
    return np.random.default_rng(9).normal(size=size)


def plain(X: Any, y: Vector, weight: Vector | None, w: Vector) -> Vector:
    """Value and gradient by the textbook."""
    X = np.asarray(X, dtype=float)
    if w.size > X.shape[1]:
        X = np.column_stack([X, np.ones(len(X))])
    weight = np.ones(len(X)) if weight is None else weight
    z = X @ w
    value = weight @ (np.logaddexp(0.0, z) - y * z)
    return np.array([value, *(X.T @ (weight * (expit(z) - y)))])


def ours(X: Any, y: Vector, weight: Vector | None, w: Vector, loss: Loss | None = None) -> Vector:
    total = np.zeros(Statistic.at(w).size)
    assert add_value_and_gradient(loss or Logistic(), X, y, weight, w, 1.0, total)
    return total


def off_by(n_bytes: int) -> Callable[[Matrix], Matrix]:
    """Copy to an address that is this far from a multiple of 64."""

    def copy(X: Matrix) -> Matrix:
        memory = np.zeros(X.nbytes + 128, dtype=np.uint8)
        start = -memory.ctypes.data % 64 + n_bytes
        placed = memory[start : start + X.nbytes].view(np.float64).reshape(X.shape)
        placed[:] = X
        return placed

    return copy


LAYOUTS: dict[str, Callable[[Matrix], Any]] = {
    "Fortran": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "int8": lambda X: X.astype(np.int8),
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "some columns": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "backwards": lambda X: X[::-1].copy()[::-1],
    "middle of a larger array": lambda X: np.vstack([X[:1], X, X[:1]])[1:-1],
    "8 bytes off": off_by(8),
    "24 bytes off": off_by(24),
    "40 bytes off": off_by(40),
}


def csr(X: Matrix, stored: Any, index: type = np.int32) -> csr_array:
    """CSR rows that store these entries, zeros too."""
    starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    rows = csr_array((X[stored], np.nonzero(stored)[1], starts), shape=X.shape)
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    return rows


@at_chunk_borders
@with_and_without_intercept
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_value_and_gradient_are_the_textbooks(
    n_rows: int, intercept: int, weighted: bool, form: Callable[[Matrix], Any]
) -> None:
    X, y, weight = data(n_rows)
    w = point(4 + intercept)
    expected = plain(X, y, weight if weighted else None, w)
    assert_allclose(
        ours(form(X), y, weight if weighted else None, w), expected, rtol=1e-12, atol=1e-10
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_rows", [1, 5, 1500])
@pytest.mark.parametrize("n_features", [1, 7])
def test_the_same_rows_give_the_same_bits_however_they_lie_in_memory(
    layout: str, n_rows: int, n_features: int
) -> None:
    X, y, weight = data(n_rows, n_features)
    w = point(n_features + 1)
    assert_array_equal(ours(LAYOUTS[layout](X), y, weight, w), ours(X, y, weight, w))


@given(start=st.integers(0, 50), n_rows=st.integers(0, 2100))
@settings(max_examples=25)
def test_rows_of_a_larger_array_give_the_bits_of_their_copy(start: int, n_rows: int) -> None:
    X = np.random.default_rng(0).normal(size=(2150, 3))
    part, y = X[start : start + n_rows], np.zeros(n_rows)
    assert_array_equal(ours(part, y, None, point(3)), ours(part.copy(), y, None, point(3)))


@pytest.mark.parametrize("n_threads", [2, 4])
def test_the_number_of_blas_threads_does_not_change_a_bit(n_threads: int) -> None:
    X = np.random.default_rng(0).normal(size=(3000, 150))
    y, w = np.zeros(len(X)), point(150)
    with threadpool_limits(1, "blas"):
        alone = ours(X, y, None, w)
    with threadpool_limits(n_threads, "blas"), one_blas_thread():
        assert_array_equal(ours(X, y, None, w), alone)


@given(data=st.data(), intercept=st.integers(0, 1), index=st.sampled_from([np.int32, np.int64]))
def test_any_csr_rows_give_the_sums_of_their_dense_form(
    data: st.DataObject, intercept: int, index: type
) -> None:
    n_rows, n_features = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 4))
    size = n_rows * n_features
    entries = data.draw(st.lists(st.sampled_from([0, 0, 0, 1, -2]), min_size=size, max_size=size))
    kept = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    X = np.array(entries, dtype=float).reshape(n_rows, n_features)
    rows = csr(X, (X != 0) | np.array(kept, dtype=bool).reshape(X.shape), index)
    assert rows.indices.dtype == rows.indptr.dtype == index
    y, w = np.arange(n_rows) % 2.0, point(n_features + intercept)
    assert_allclose(ours(rows, y, None, w), ours(X, y, None, w), rtol=1e-13, atol=1e-13)


def test_columns_of_a_csr_row_may_be_unsorted_and_repeated() -> None:
    rows = csr_array((np.array([5.0, 1.0, 2.0]), [1, 0, 1], [0, 3]), shape=(1, 2))
    dense = np.array([[1.0, 7.0]])
    y = np.ones(1)
    assert_allclose(ours(rows, y, None, point(3)), ours(dense, y, None, point(3)), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0, 2.0)), Huber()], ids=repr)
@at_chunk_borders
def test_without_scipys_private_kernels_the_results_are_the_same(
    n_rows: int, loss: Loss, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, weight = data(n_rows)
    rows = csr_array(np.where(X > 0, X, 0).astype(dtype))
    w = point(Layout(4, loss.n_outputs, loss.n_own, True).size)
    private = ours(rows, y, weight, w, loss)
    monkeypatch.setattr(kernels.rows, "sparsetools", None)
    assert_allclose(ours(rows, y, weight, w, loss), private, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "loss",
    [Multinomial((0.0, 1.0)), Multinomial((0.0, 1.0, 2.0), (1.0, 0.5, 3.0)), Huber()],
    ids=repr,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
@with_and_without_intercept
def test_several_outputs_and_own_parameters_are_the_plain_formula(
    loss: Loss, weighted: bool, form: Callable[[Matrix], Any], intercept: int
) -> None:
    X, y, weight = data(1500)
    layout = Layout(4, loss.n_outputs, loss.n_own, bool(intercept))
    w = point(layout.size)
    z = X @ layout.coef(w)
    if intercept:
        z = z + layout.intercept(w)
    z = np.hstack([z, np.tile(layout.own(w), (len(X), 1))])
    value, derivative = loss.pointwise(z, y)
    weight = weight if weighted else np.ones(len(X))
    derivative = derivative * weight[:, None]
    outputs, own = derivative[:, : loss.n_outputs], derivative[:, loss.n_outputs :]
    expected = [[weight @ value], (X.T @ outputs).ravel()]
    expected += [outputs.sum(axis=0)] if intercept else []
    expected += [own.sum(axis=0)]
    found = ours(form(X), y, weight if weighted else None, w, loss)
    assert_allclose(found, np.concatenate(expected), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_two_multinomial_outputs_are_one_logistic_one(form: Callable[[Matrix], Any]) -> None:
    X, y, weight = data(1500)
    w = point(10).reshape(5, 2)  # four features and the intercepts
    two = ours(form(X), y, weight, w.ravel(), Multinomial((0.0, 1.0)))
    one = ours(form(X), y, weight, w[:, 1] - w[:, 0])
    assert_allclose(two[0], one[0], rtol=1e-12)
    assert_allclose(two[1:].reshape(5, 2), np.outer(one[1:], [-1.0, 1.0]), rtol=1e-9, atol=1e-9)


def test_many_outputs_need_no_memory_of_their_size_per_chunk() -> None:
    n_outputs, n_features = 50, 20_000
    loss = Multinomial(tuple(range(n_outputs)))
    X = csr_array((np.ones(3), ([0, 1, 2], [5, 9, 17])), shape=(3000, n_features))
    y, total = np.arange(3000.0) % n_outputs, np.zeros(1 + n_features * n_outputs)
    w = np.zeros(n_features * n_outputs)
    tracemalloc.start()
    try:
        assert add_value_and_gradient(loss, X, y, None, w, 1.0, total)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < w.nbytes  # 8 MB; three chunks' predictors are 0.4 MB each


@given(
    coefficients=st.lists(st.floats(-100, 100), max_size=4),
    sparse=st.booleans(),
    intercept=st.integers(0, 1),
)
def test_multiples_are_added_to_what_is_already_there(
    coefficients: list[float], sparse: bool, intercept: int
) -> None:
    X, y, weight = data(30)
    w = point(4 + intercept)
    before = np.arange(6.0 + intercept)[: 1 + w.size]
    total = before.copy()
    for coefficient in coefficients:
        rows: Any = csr_array(X) if sparse else X
        add_value_and_gradient(Logistic(), rows, y, weight, w, coefficient, total)
    expected = before + sum(coefficients) * plain(X, y, weight, w)
    assert_allclose(total, expected, rtol=1e-12, atol=1e-9)


@at_chunk_borders
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_the_pass_asks_before_each_chunk_whether_to_stop(
    n_rows: int, form: Callable[[Matrix], Any]
) -> None:
    X, y, _ = data(n_rows)
    seen, total = [], np.zeros(5)

    def should_stop() -> bool:
        seen.append(total.copy())
        return False

    assert add_value_and_gradient(Logistic(), form(X), y, None, point(4), 1.0, total, should_stop)
    borders = range(0, n_rows, CHUNK_ROWS)
    so_far = [plain(X[:border], y[:border], None, point(4)) for border in borders]
    assert_allclose(np.array(seen), np.array(so_far), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_the_pass_stops_at_once_when_told(stop_at: int) -> None:
    X, y, _ = data(3 * CHUNK_ROWS - 72)
    answers, total = iter([False] * stop_at + [True]), np.zeros(5)
    assert not add_value_and_gradient(
        Logistic(), X, y, None, point(4), 1.0, total, lambda: next(answers)
    )
    done = stop_at * CHUNK_ROWS
    assert_allclose(total, plain(X[:done], y[:done], None, point(4)), rtol=1e-12, atol=1e-10)
    assert next(answers, "all asked") == "all asked"


@pytest.mark.parametrize(
    ("X", "n_outputs", "n_rows"),
    [
        (np.zeros((3, CHUNK_VALUES // 2)), 1, 2),
        (np.zeros((3, 2 * CHUNK_VALUES)), 1, 1),  # a row is the least
        (csr_array(np.tile([0.0, 1.0], (3, CHUNK_VALUES // 8))), 1, 16),
        (csr_array((3, CHUNK_VALUES)), 1, CHUNK_ROWS),  # nothing stored: the loss's own work counts
        (np.zeros((3, 4)), 16, 2**13 // 16),  # 64 KiB of predictors
        (np.zeros((3, 4)), 10_000, 1),
        (np.zeros((3, CHUNK_VALUES // 2)), 16, 2),
        (np.zeros((0, 4)), 1, 1),
    ],
)
def test_a_chunk_is_bounded_in_values(X: Any, n_outputs: int, n_rows: int) -> None:
    assert chunk_rows(X, n_outputs) == n_rows


@pytest.mark.parametrize("size", [0, 3, 6])
def test_a_point_that_does_not_fit_the_rows_is_refused(size: int) -> None:
    X, y, _ = data(2)
    with pytest.raises(ValueError, match=f"got {size} with n_features=4"):
        add_value_and_gradient(Logistic(), X, y, None, np.zeros(size), 1.0, np.zeros(1 + size))


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if "blas" in library.values()}


def test_one_blas_thread_nests_and_gives_back_what_was_set() -> None:
    with threadpool_limits(2, "blas"):
        with one_blas_thread():
            with one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_an_error_inside_gives_the_blas_threads_back() -> None:
    with threadpool_limits(2, "blas"):
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            raise ZeroDivisionError
        assert blas_threads() == {2}


THREADS = """
from concurrent.futures import ThreadPoolExecutor
from threadpoolctl import threadpool_info
from dask_gradcode.kernels import one_blas_thread

def blas():
    return max(lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas")

def inside():
    with one_blas_thread():
        return blas()

def run(thread, work, *arguments):
    return thread.submit(work, *arguments).result()

one, two, before = ThreadPoolExecutor(1), ThreadPoolExecutor(1), blas()
"""
ONE_AFTER_THE_OTHER = "print(run(one, inside), run(two, inside), inside(), blas() == before)"
ONE_IN_THE_OTHER = """
first, second = one_blas_thread(), one_blas_thread()
run(one, first.__enter__)
run(two, second.__enter__)
run(one, first.__exit__, None, None, None)
print(blas(), end=" ")
run(two, second.__exit__, None, None, None)
print(blas() == before)
"""


@pytest.mark.parametrize(
    ("script", "answer"),
    [(ONE_AFTER_THE_OTHER, "1 1 1 True"), (ONE_IN_THE_OTHER, "1 True")],
    ids=["one after the other", "overlapping"],
)
def test_every_thread_gets_one_blas_thread_and_the_last_gives_them_back(
    script: str, answer: str
) -> None:
    command = [sys.executable, "-c", THREADS + script]  # what leaks would harm other tests
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert said.strip() == answer


# ---- threads


def lets_others_run(product: Callable[[], object]) -> bool:
    """Say whether another thread can hold Python's lock while a product is computed."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(3600.0)  # nobody is asked to give the lock up
    try:
        return any(_lets_run(product) for _ in range(300))  # the system may let the other one wait
    finally:
        sys.setswitchinterval(before)


def _lets_run(product: Callable[[], object]) -> bool:
    gate, done, seen = threading.Lock(), False, False

    def look() -> None:
        nonlocal seen
        with gate:
            seen = not done

    gate.acquire()
    other = threading.Thread(target=look)
    other.start()
    gate.release()
    product()
    done = True
    other.join()
    return seen


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("name", ["times", "add_transposed"])
def test_products_let_other_threads_compute(
    name: str, form: Callable[[Matrix], Any], n_outputs: int
) -> None:
    X = np.ones((4000, 100))
    rows = DenseRows(X) if form is np.asarray else SparseRows.of(csr_array(X), slice(0, 4000))
    given = np.ones((100, n_outputs)) if name == "times" else np.ones((4000, n_outputs))
    out = () if name == "times" else (np.zeros((100, n_outputs)),)
    assert lets_others_run(lambda: getattr(rows, name)(given, *out))


def test_what_keeps_the_lock_is_told_from_what_does_not() -> None:
    assert not lets_others_run(lambda: sum(range(10_000)))
