"""One number in place of stored values that are all one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from dask_gradcode.kernels import add_hessian, add_value_and_gradient, one_for_all
from dask_gradcode.losses import Logistic, Loss, Multinomial
from dask_gradcode.payloads import Statistic
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block


def one_hot(n_rows: int, dtype: str = "float64") -> csr_array:
    """Three of 30 columns in each row."""
    rng = np.random.default_rng(0)
    indices = (rng.integers(10, size=(n_rows, 3)) + 10 * np.arange(3)).astype(np.int32).ravel()
    values = np.ones(indices.size, dtype=dtype)
    return csr_array((values, indices, np.arange(0, indices.size + 1, 3)), shape=(n_rows, 30))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0, 2.0))], ids=["one", "three"])
@pytest.mark.parametrize("order", [1, 2])
def test_passes_give_the_same_bits(loss: Loss, dtype: str, order: int) -> None:
    X, n_rows = one_hot(20_000, dtype), 20_000  # several chunks, the last one smaller
    y, weight = (np.arange(n_rows) % 2).astype(float), np.linspace(0.5, 2.0, n_rows)
    w = np.random.default_rng(1).normal(size=31 * loss.n_outputs)

    def computed(rows: csr_array) -> Vector:
        total = np.zeros(Statistic.at(w, order).size)
        if order == 1:
            add_value_and_gradient(loss, rows, y, weight, w, -1.5, total)
        else:
            add_hessian(loss, rows, y, weight, w, -1.5, total)
        return total

    bare = one_for_all(X)
    assert bare.data.strides == (0,)
    assert computed(bare).tobytes() == computed(X).tobytes()
    assert_array_equal(Spread.of(bare).squares, Spread.of(X).squares)


@pytest.mark.parametrize("values", [[1.0, 1.0, 2.0], [2.0, 2.0, 2.0], [1.0, 0.0, 1.0]])
def test_other_values_stay(values: list[float]) -> None:
    X = csr_array((values, [0, 1, 2], [0, 1, 3]), shape=(2, 3))
    assert one_for_all(X) is X


@pytest.mark.parametrize("n_rows", [0, 1])
def test_rows_with_nothing_to_save_stay(n_rows: int) -> None:
    X = csr_array(np.eye(1, 4)[:n_rows])
    assert one_for_all(X) is X


def test_another_number_that_stands_for_all_is_what_it_is() -> None:
    X = one_hot(100)
    twos = csr_array((np.broadcast_to(2.0, X.indices.shape), X.indices, X.indptr), shape=X.shape)
    w, sums = np.linspace(-1.0, 1.0, 31), []
    for rows in (twos, 2.0 * X, pickle.loads(pickle.dumps(Block(twos, np.zeros(100)))).X):
        sums.append(np.zeros(Statistic.at(w).size))
        add_value_and_gradient(Logistic(), rows, np.zeros(100), None, w, 1.0, sums[-1])
    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()


def test_a_block_counts_and_sends_no_values() -> None:
    X, y = one_hot(1000), np.zeros(1000)
    block = Block(one_for_all(X), y)
    assert block.nbytes == X.indices.nbytes + X.indptr.nbytes + y.nbytes + X.dtype.itemsize
    sent = pickle.dumps(block, protocol=5)
    assert len(sent) < block.nbytes + 2000
    came = pickle.loads(sent)
    assert came.nbytes == block.nbytes
    assert came.X.dtype == X.dtype
    assert_array_equal(came.X.toarray(), X.toarray())
