"""Newton's method: how few rounds it needs, its line search, and when it gives over to L-BFGS."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import LinAlgWarning

from dask_gradcode.optimizers import NewtonCholesky
from dask_gradcode.typing import Evaluation, Vector


class Separable:
    """A sum of ``f(scale * w)`` over entries, with ``f = sqrt(1 + t^2)``, flat far from zero."""

    def __init__(self, scale: Vector) -> None:
        self._scale = scale
        self.orders: list[int] = []

    def _at(self, w: Vector) -> Evaluation:
        t, s = self._scale * w, self._scale
        root = np.sqrt(1.0 + t * t)
        return Evaluation(float(root.sum()), s * t / root, hessian=np.diag(s**2 / root**3))

    def __call__(self, w: Vector) -> Evaluation:
        self.orders.append(1)
        return self._at(w)

    def second_order(self, w: Vector) -> Evaluation:
        self.orders.append(2)
        return self._at(w)


class Bowl:
    """``0.5 * w' A w - b' w``."""

    def __init__(self, A: Any, b: Any) -> None:
        self._A, self._b = np.array(A), np.array(b)

    def __call__(self, w: Vector) -> Evaluation:
        return Evaluation(float(0.5 * w @ self._A @ w - self._b @ w), self._A @ w - self._b)

    def second_order(self, w: Vector) -> Evaluation:
        seen = self(w)
        return Evaluation(seen.value, seen.gradient, hessian=self._A)


def test_a_quadratic_takes_one_step_whatever_the_scales() -> None:
    scale = np.logspace(-8, 8, 5)
    mixed = np.eye(5) + 0.2
    A = scale[:, None] * mixed * scale
    best = np.arange(1.0, 6.0) / scale
    solution = NewtonCholesky().minimize(Bowl(A, A @ best), np.zeros(5), tol=1e-6)
    assert solution.n_iter == 1
    assert_allclose(solution.w, best, rtol=1e-9)


def test_a_full_step_is_one_round_and_shorter_ones_ask_for_no_hessian() -> None:
    objective = Separable(np.ones(1))
    # from t the full step leads to -t^3, so it is halved where |t| > 1
    solution = NewtonCholesky().minimize(objective, np.array([0.9]), tol=1e-9)
    assert solution.converged
    assert objective.orders == [2] * (solution.n_iter + 1)
    objective = Separable(np.ones(1))
    assert NewtonCholesky().minimize(objective, np.array([3.0]), tol=1e-9).converged
    assert objective.orders[:4] == [2, 2, 1, 1]  # a Hessian with the start and with the full step
    assert 2 in objective.orders[4:]  # and at the point that was found


def test_a_singular_hessian_is_left_to_lbfgs_in_scikit_learns_words() -> None:
    twice = Bowl([[1.0, 1.0], [1.0, 1.0]], [2.0, 2.0])
    memory: dict[str, Any] = {}
    with pytest.warns(LinAlgWarning, match=r"singular or very ill-conditioned Hessian .* lbfgs"):
        solution = NewtonCholesky().minimize(twice, np.zeros(2), tol=1e-8, memory=memory)
    assert solution.converged
    assert_allclose(solution.w.sum(), 2.0)
    with warnings.catch_warnings():  # a resumed fit goes on with L-BFGS at once
        warnings.simplefilter("error")
        again = NewtonCholesky().minimize(twice, np.zeros(2), tol=1e-8, memory=memory)
    assert_array_equal(again.w, solution.w)


def test_lbfgs_counts_on_where_newton_has_ended() -> None:
    class Collapsing(Separable):
        def second_order(self, w: Vector) -> Evaluation:
            seen = super().second_order(w)
            if len(self.orders) < 3:
                return seen
            return Evaluation(seen.value, seen.gradient, hessian=np.zeros((2, 2)))

    calls: list[int] = []
    start = np.array([0.9, 0.8])
    with pytest.warns(LinAlgWarning, match="at iteration 3"):
        solution = NewtonCholesky().minimize(
            Collapsing(np.ones(2)), start, tol=1e-9, callback=lambda n, w, seen: calls.append(n)
        )
    assert solution.converged
    assert calls == list(range(1, solution.n_iter + 1))
    assert solution.n_iter > 2
    assert_allclose(solution.w, np.zeros(2), atol=1e-8)


def test_where_no_step_lowers_the_value_lbfgs_goes_on() -> None:
    class Uphill(Separable):
        def second_order(self, w: Vector) -> Evaluation:
            seen = super().second_order(w)
            return Evaluation(seen.value, -seen.gradient, hessian=seen.hessian)

    objective = Uphill(np.ones(2))
    with pytest.warns(UserWarning, match="did not converge after 21 line search refinement"):
        NewtonCholesky().minimize(objective, np.array([0.5, -0.5]), tol=1e-9)
    assert objective.orders[:22] == [2, 2] + [1] * 20


def test_more_parameters_than_a_message_carries_are_refused_before_any_round() -> None:
    objective = Separable(np.ones(4096))
    with pytest.raises(
        ValueError, match=r"at most 4095 parameters .* got 4096, .* 64 MiB.*'lbfgs'"
    ):
        NewtonCholesky().minimize(objective, np.zeros(4096))
    assert objective.orders == []


def test_an_objective_without_second_derivatives_is_refused() -> None:
    def bowl(w: Vector) -> Evaluation:
        return Evaluation(float(w @ w), 2 * w)

    with pytest.raises(TypeError, match=r"has no method second_order\(w\).*'lbfgs'"):
        NewtonCholesky().minimize(bowl, np.zeros(2))
