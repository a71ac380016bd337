"""Objectives without a cluster: coded sums are plain sums, the penalty is scikit-learn's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from code_lists import FEW
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import Arrived, Deadline, Fastest, Round
from dask_gradcode.rounds.evaluation import evaluation
from dask_gradcode.typing import Evaluation, Matrix, Vector
from dask_gradcode.work import Block
from helpers import count_rows, logistic_data

every_code = pytest.mark.parametrize("code", FEW, ids=repr)
X, Y = logistic_data(300, 4)
WEIGHT = np.random.default_rng(3).integers(0, 4, len(Y)).astype(float)
W = np.array([0.5, -1.0, 2.0, 0.25, -0.75])


def blocks_of(code: GradientCode, X: Any = X, weight: Vector | None = None) -> dict[int, Block]:
    """Blocks of unequal size."""
    borders = np.linspace(0, 1, code.n_blocks + 1) ** 2 * len(Y)
    rows = [slice(*pair) for pair in pairwise(borders.astype(int).tolist())]
    weights = [None if weight is None else weight[part] for part in rows]
    return {i: Block(X[part], Y[part] * 1.0, weights[i]) for i, part in enumerate(rows)}


def coded(code: GradientCode, **options: Any) -> InProcessObjective:
    return InProcessObjective(code, blocks_of(code, **options), Logistic())


def plain(w: Vector, X: Matrix = X, weight: Vector | float = 1.0) -> tuple[float, Vector]:
    """Value and gradient of the sum over rows by the textbook, with an intercept."""
    X1 = np.column_stack([X, np.ones(len(X))])
    z = X1 @ w
    value = np.sum(weight * (np.logaddexp(0.0, z) - Y * z))
    return float(value), X1.T @ (weight * (expit(z) - Y))


@every_code
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_a_coded_sum_is_the_plain_sum(code: GradientCode, weight: Vector | None, form: Any) -> None:
    seen = coded(code, X=form(X), weight=weight)(W)
    value, gradient = plain(W, weight=1.0 if weight is None else weight)
    assert_allclose(seen.value, value, rtol=1e-12)
    assert_allclose(seen.gradient, gradient, atol=1e-10)


@every_code
def test_a_block_function_is_summed_over_all_blocks(code: GradientCode) -> None:
    seen = InProcessObjective(code, blocks_of(code), count_rows)(W)
    assert_allclose(seen.value, len(Y), rtol=1e-13)
    assert_allclose(seen.gradient, code.n_blocks * W, rtol=1e-12)


@every_code
def test_every_call_is_a_round_of_its_own(code: GradientCode) -> None:
    objective = coded(code)
    first, second, third = objective(W), objective(0 * W), objective(W)
    assert [seen.record.round for seen in (first, second, third)] == [0, 1, 2]
    assert first.value == third.value != second.value
    assert_array_equal(first.gradient, third.gradient)


@every_code
def test_the_record_tells_value_gradient_and_that_nobody_is_lost(code: GradientCode) -> None:
    seen = coded(code)(W)
    assert seen.record.exact
    assert (seen.record.value, seen.record.lost) == (seen.value, ())
    assert seen.record.grad_norm == abs(seen.gradient).max()
    assert_array_equal(np.isfinite(seen.record.arrived_at), seen.record.used)


def test_replicas_are_not_computed_twice() -> None:
    calls: list[int] = []

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        calls.append(block.n_rows)
        return 0.0, w

    code = FractionalRepetition(6, 2)
    InProcessObjective(code, blocks_of(code), work)(W)
    assert len(calls) == code.n_blocks


def test_an_approximate_rule_scales_up_by_rows() -> None:
    code = Uncoded(4)
    blocks = blocks_of(code)
    seen = InProcessObjective(code, blocks, count_rows, Fastest(2))(W)
    counted = blocks[0].n_rows + blocks[1].n_rows
    assert counted < len(Y) / 2
    assert_allclose(seen.value, len(Y), rtol=1e-14)
    assert_allclose(seen.gradient, 2 * W * len(Y) / counted, rtol=1e-14)
    assert not seen.record.exact


def test_a_rule_that_does_not_fit_the_code_is_refused() -> None:
    with pytest.raises(ValueError, match="got 5"):
        InProcessObjective(Uncoded(4), blocks_of(Uncoded(4)), Logistic(), Fastest(5))


def test_a_generous_deadline_is_exact() -> None:
    code = CyclicRepetition(5, 2)
    seen = InProcessObjective(code, blocks_of(code), Logistic(), Deadline(1e6))(W)
    assert_allclose(seen.value, plain(W)[0], rtol=1e-12)


def test_an_evaluation_of_a_round_that_is_not_done_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="Round 3 has not enough"):
        evaluation(Round(3, Uncoded(2)), Statistic(0))


def test_an_evaluation_of_a_value_without_parameters_has_a_gradient_of_zero_norm() -> None:
    round_ = Round(0, Uncoded(1))
    round_.begin([], 0.0)
    round_.handle(Arrived(0, 0, 0, np.array([5.0])), 1.0)
    seen = evaluation(round_, Statistic(0))
    assert (seen.value, seen.gradient.size, seen.record.grad_norm) == (5.0, 0, 0.0)


@every_code
@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_the_gradient_is_below_what_rounding_says(
    code: GradientCode, seed: int
) -> None:
    w = np.random.default_rng(seed).normal(size=5)
    seen = coded(code)(w)
    X1 = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble)
    exact = X1.T @ (1 / (1 + np.exp(-(X1 @ w.astype(np.longdouble)))) - Y)
    assert abs(seen.gradient - exact).max() <= seen.rounding
    assert seen.rounding < 1e-10 * seen.value


def test_rounding_grows_with_the_amplification_of_the_decode() -> None:
    code = CyclicRepetition(10, 3)
    payloads = code.encoding_matrix @ np.ones((10, 2))
    roundings, amplifications = [], []
    for order in (range(10), range(9, -1, -1)):
        round_ = Round(0, code)
        round_.begin([], 0.0)
        for message in order:
            round_.handle(Arrived(0, message, message, payloads[message]), 1.0)
        seen = evaluation(round_, Statistic(1))
        roundings.append(seen.rounding / seen.value)
        amplifications.append(seen.record.amplification)
    assert amplifications[0] != amplifications[1]
    assert_allclose(roundings, 4 * np.finfo(float).eps * np.array(amplifications), rtol=1e-14)


def penalised(C: float, weight: Vector = WEIGHT) -> Penalised:
    """scikit-learn's objective divided by ``C * sum(sample_weight)``."""
    total = weight.sum()
    sums = coded(FractionalRepetition(4, 1), weight=weight)
    return Penalised(sums, scale=1 / total, alpha=1 / (C * total), n_penalised=4)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_the_penalised_value_is_scikit_learns_by_hand(C: float) -> None:
    by_hand = C * plain(W, weight=WEIGHT)[0] + 0.5 * (0.25 + 1.0 + 4.0 + 0.0625)
    assert_allclose(penalised(C)(W).value * C * WEIGHT.sum(), by_hand, rtol=1e-13)


@given(w=st.lists(st.floats(-3, 3), min_size=5, max_size=5), C=st.sampled_from([0.01, 1.0, 100.0]))
def test_the_penalised_gradient_is_the_slope_of_the_value(w: list[float], C: float) -> None:
    objective, point, step = penalised(C), np.array(w), 1e-5
    ends = [
        (objective(point + step * unit).value, objective(point - step * unit).value)
        for unit in np.eye(5)
    ]
    slopes = [(above - below) / (2 * step) for above, below in ends]
    assert_allclose(objective(point).gradient, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_the_gradient_vanishes_where_scikit_learn_ends(C: float) -> None:
    model = LogisticRegression(C=C, tol=1e-12, solver="newton-cg", max_iter=1000)
    model.fit(X, Y, sample_weight=WEIGHT)
    end = np.append(model.coef_, model.intercept_)
    assert abs(penalised(C)(end).gradient).max() < 1e-8


def test_only_the_leading_parameters_are_penalised() -> None:
    flat = Penalised(lambda w: Evaluation(0.0, np.zeros(3)), scale=1.0, alpha=2.0, n_penalised=2)
    seen = flat(np.array([1.0, -2.0, 50.0]))
    assert seen.value == 5.0
    assert_array_equal(seen.gradient, [2.0, -4.0, 0.0])


def test_rounding_is_scaled_and_record_and_gradient_of_the_sum_are_left_alone() -> None:
    inner = Evaluation(3.0, np.array([1.0, 2.0]), record="as it came", rounding=8.0)
    seen = Penalised(lambda w: inner, scale=0.25, alpha=1.0, n_penalised=2)(np.ones(2))
    assert (seen.value, seen.rounding, seen.record) == (1.75, 2.0, "as it came")
    assert_array_equal(inner.gradient, [1.0, 2.0])
