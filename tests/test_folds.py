"""Works of cross-validation: sums over folds, and errors of models without a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.kernels import RidgeModels
from dask_gradcode.losses import Logistic, Loss, Multinomial, Squared
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, FoldLoss, Folds, LeftOut, Work, as_work, of_order

RNG = np.random.default_rng(0)
X = RNG.normal([0.0, 1.0, 0.0, -3.0], size=(120, 4))
Y = X @ [1.0, -1.0, 0.0, 2.0] + RNG.normal(size=120)
WEIGHT = RNG.integers(0, 3, 120).astype(float)
ORDERS = {"runs": np.arange(120) * 3 // 120, "scattered": RNG.permutation(120) % 3}

forms = pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
codes = pytest.mark.parametrize(
    "code", [Uncoded(3), FractionalRepetition(4, 1), CyclicRepetition(4, 2)], ids=repr
)


def summed(code: GradientCode, work: Any, rows: Any, w: Vector) -> Any:
    cuts = np.array_split(np.arange(120), code.n_blocks)
    blocks = {i: Block(rows[cut], Y[cut], WEIGHT[cut]) for i, cut in enumerate(cuts)}
    return InProcessObjective(code, blocks, work)(w)


@forms
@codes
@pytest.mark.parametrize("order", ORDERS)
def test_sums_of_folds_are_those_of_their_rows(form: Any, code: GradientCode, order: str) -> None:
    rows = np.column_stack([X, ORDERS[order]])
    work, w = of_order(as_work(Squared()), 2), RNG.normal(size=6)
    statistic = Statistic(6, order=2)
    sums = summed(code, Folds(work, 3), form(rows), w).gradient.reshape(3, statistic.size)
    for fold, told in enumerate(sums):
        kept = ORDERS[order] == fold
        wide = np.column_stack([rows[kept], np.ones(kept.sum())])
        residual, weight = wide @ w - Y[kept], WEIGHT[kept]
        assert statistic.value(told) == pytest.approx(0.5 * weight @ residual**2)
        assert_allclose(statistic.gradient(told), wide.T @ (weight * residual), atol=1e-9)
        assert_allclose(statistic.hessian(told), (wide.T * weight) @ wide, atol=1e-9)


def models(alphas: Any) -> RidgeModels:
    """Return ridge regressions of all rows, with an intercept."""
    mean, mean_target = (np.average(a, axis=0, weights=WEIGHT) for a in (X, Y))
    gram = ((X - mean).T * WEIGHT) @ (X - mean)
    right = (X - mean).T @ (WEIGHT * (Y - mean_target))
    coefs = [np.linalg.solve(gram + alpha * np.eye(4), right) for alpha in alphas]
    share = 1.0 / WEIGHT.sum()
    return RidgeModels.of(
        gram, np.column_stack(coefs), np.array(alphas), mean, float(mean_target), share
    )


@forms
@codes
def test_errors_are_those_of_models_without_the_row(form: Any, code: GradientCode) -> None:
    expected = np.zeros(2)
    for k, alpha in enumerate((0.5, 20.0)):
        for row in range(120):
            others = np.arange(120) != row
            wide = np.column_stack([X[others], np.ones(119)])
            gram = (wide.T * WEIGHT[others]) @ wide + alpha * np.diag([1.0, 1.0, 1.0, 1.0, 0.0])
            w = np.linalg.solve(gram, wide.T @ (WEIGHT[others] * Y[others]))
            expected[k] += WEIGHT[row] * (Y[row] - X[row] @ w[:-1] - w[-1]) ** 2
    seen = summed(code, LeftOut(models((0.5, 20.0))), form(X), np.zeros(0))
    assert seen.value == pytest.approx(120)
    assert_allclose(seen.gradient, expected, rtol=1e-9)


@forms
@codes
@pytest.mark.parametrize("n_labels", [2, 3])
def test_points_leave_out_the_folds_that_they_name(
    form: Any, code: GradientCode, n_labels: int
) -> None:
    folds, labels = ORDERS["scattered"], RNG.integers(0, n_labels, 120)
    plain: Loss = Logistic() if n_labels == 2 else Multinomial((0.0, 1.0, 2.0))
    pairs, rows = (n_labels * folds + labels).astype(float), form(X)
    cuts = np.array_split(np.arange(120), code.n_blocks)
    blocks = {i: Block(rows[cut], pairs[cut], WEIGHT[cut]) for i, cut in enumerate(cuts)}
    objective = InProcessObjective(code, blocks, FoldLoss(plain, n_labels=n_labels))
    points = RNG.normal(size=(6, 5 * plain.n_outputs))
    named = np.array([0.0, 1.0, 2.0, 3.0, -1.0, -3.0])  # there is no fold 3: all rows count
    W = np.column_stack([points, named])
    for seen in (objective.many(W), [objective(w) for w in W], objective.many(W[4:])):
        for k, found in enumerate(seen, 6 - len(seen)):
            z = X @ points[k, : -plain.n_outputs].reshape(4, -1) + points[k, -plain.n_outputs :]
            if named[k] < 0.0:
                predicted = z.argmax(axis=1) if n_labels > 2 else z[:, 0] > 0.0
                held = folds == -1 - named[k]
                assert found.value == pytest.approx(WEIGHT[held] @ (predicted == labels)[held])
                assert not found.gradient.any()
                continue
            kept = np.flatnonzero(folds != named[k])
            block = Block(X[kept], labels[kept].astype(float), WEIGHT[kept])
            alone = InProcessObjective(Uncoded(1), {0: block}, plain)(points[k])
            assert found.value == pytest.approx(alone.value)
            assert_allclose(found.gradient, np.append(alone.gradient, 0.0), atol=1e-9)


@forms
@pytest.mark.parametrize("kind", ["folds", "left out"])
def test_parts_of_a_large_block_add_up_and_each_can_be_stopped(form: Any, kind: str) -> None:
    n, w = 300_000, np.zeros(4)
    folds = np.arange(n) % 2 if kind == "folds" else RNG.normal(size=n)
    rows = form(np.column_stack([RNG.normal(size=(n, 3)), folds]))
    block = Block(rows, RNG.normal(size=n))
    work: Work = LeftOut(models([1.0]))
    if kind == "folds":
        work = Folds(of_order(as_work(Squared()), 2), 2)
    parts = work.parts(block, w)
    assert len(parts) > 1
    whole, added = np.zeros((2, work.statistic(w).size))
    assert work.add(block, w, 1.0, whole, lambda: False)
    for part in parts:
        assert part.add(block, w, 1.0, added, lambda: False)
        assert not part.add(block, w, 1.0, added.copy(), lambda: True)
    assert_allclose(added, whole, rtol=1e-9, atol=1e-6)
