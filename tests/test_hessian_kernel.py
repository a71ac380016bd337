"""The Hessian of a pass over rows against the plain formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from dask_gradcode.cluster.data.stacked import StackedRows
from dask_gradcode.kernels import add_hessian, add_value_and_gradient, chunk_rows, one_blas_thread
from dask_gradcode.kernels import rows as rows_module
from dask_gradcode.losses import Logistic, Loss, Multinomial, Poisson, Squared
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Block, as_work, of_order

LOSSES: list[tuple[Loss, tuple[float, ...]]] = [
    (Logistic(class_weight=(0.5, 2.0)), (0.0, 1.0)),
    (Multinomial((0.0, 1.0, 2.0)), (0.0, 1.0, 2.0)),
    (Poisson(), (0.0, 1.0, 3.0)),
    (Squared(), (0.0, 2.5)),
]
KINDS: dict[str, Any] = {
    "dense": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "sparse": csr_array,
    "stacked": lambda X: StackedRows([X[:10], X[10:]]),
}
every_loss = pytest.mark.parametrize(("loss", "labels"), LOSSES, ids=repr)
every_kind = pytest.mark.parametrize("kind", KINDS)
N_FEATURES = 4


def data(labels: tuple[float, ...], n_rows: int) -> tuple[Matrix, Vector, Vector]:
    """Small whole numbers, which every dtype holds exactly: features, labels, weights."""
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (n_rows, N_FEATURES)).astype(float)
    return X, rng.choice(labels, n_rows), rng.integers(0, 3, n_rows).astype(float)


def plain(loss: Loss, X: Matrix, y: Vector, weight: Vector, w: Vector) -> Matrix:
    """The sum over rows of ``weight * kron(x x', D)``; ``x`` ends with one for intercepts."""
    K = loss.n_outputs
    if w.size > X.shape[1] * K:
        X = np.column_stack([X, np.ones(len(X))])
    z = X @ w.reshape(-1, K)
    D = loss.curvature(z if K > 1 else z[:, 0], y).reshape(-1, K, K)
    hessian: Matrix = np.einsum("i,ia,ib,ikm->akbm", weight, X, X, D).reshape(w.size, w.size)
    return hessian


def ours(loss: Loss, X: Any, y: Vector, weight: Vector | None, w: Vector) -> Vector:
    total = np.zeros(Statistic.at(w, 2).size)
    with one_blas_thread():
        assert add_hessian(loss, X, y, weight, w, -2.0, total)
    return total


def point(loss: Loss, intercept: int) -> Vector:
    size = (N_FEATURES + intercept) * loss.n_outputs
    return np.random.default_rng(9).normal(scale=0.3, size=size)


@every_loss
@every_kind
@pytest.mark.parametrize("intercept", [0, 1])
def test_it_is_the_plain_formulas(
    loss: Loss, labels: tuple[float, ...], kind: str, intercept: int
) -> None:
    n_rows = chunk_rows(np.zeros((1, N_FEATURES)), loss.n_outputs) + 3  # two chunks
    X, y, weight = data(labels, n_rows)
    w = point(loss, intercept)
    total = ours(loss, KINDS[kind](X), y, weight, w)
    assert_allclose(
        Statistic.at(w, 2).hessian(total), -2.0 * plain(loss, X, y, weight, w), rtol=1e-9
    )
    assert_array_equal(total[: 1 + w.size], 0.0)  # value and gradient are another pass's
    without = Statistic.at(w, 2).hessian(ours(loss, KINDS[kind](X), y, None, w))
    assert_allclose(without, -2.0 * plain(loss, X, y, np.ones(n_rows), w), rtol=1e-9)


@pytest.mark.parametrize("intercept", [0, 1])
def test_without_scipys_own_kernels_it_is_the_same(
    intercept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Logistic()
    X, y, weight = data((0.0, 1.0), 50)
    w = point(loss, intercept)
    expected = ours(loss, csr_array(X), y, weight, w)
    monkeypatch.setattr(rows_module, "sparsetools", None)
    assert_allclose(ours(loss, csr_array(X), y, weight, w), expected, rtol=1e-13)


def test_weights_of_both_signs_are_no_square() -> None:
    X, weight, out = data((0.0,), 30)[0], np.linspace(-1.0, 2.0, 30), np.zeros((4, 4))
    rows_module.DenseRows(X[:30]).add_gram(weight, out)
    assert_allclose(out, X.T @ (weight[:, None] * X), rtol=1e-12)


@every_loss
def test_value_and_gradient_keep_their_bits(loss: Loss, labels: tuple[float, ...]) -> None:
    X, y, weight = data(labels, 100)
    w = point(loss, 1)
    first, second = np.zeros(Statistic.at(w).size), np.zeros(Statistic.at(w, 2).size)
    add_value_and_gradient(loss, X, y, weight, w, 1.0, first)
    work = of_order(as_work(loss), 2)
    assert work.statistic(w).size == second.size
    assert work.add(Block(X, y, weight), w, 1.0, second, lambda: False)
    assert second[: first.size].tobytes() == first.tobytes()


def test_it_stops_between_chunks() -> None:
    X, y, _ = data((0.0, 1.0), 3 * chunk_rows(np.zeros((1, N_FEATURES))))
    w, asked = point(Logistic(), 0), []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) == 2

    total = np.zeros(Statistic.at(w, 2).size)
    assert not add_hessian(Logistic(), X, y, None, w, 1.0, total, should_stop)
    assert len(asked) == 2


def test_no_rows_are_no_hessian() -> None:
    total = ours(Squared(), np.zeros((0, 3)), np.zeros(0), None, np.zeros(3))
    assert_array_equal(total, 0.0)
