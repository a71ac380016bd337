"""Objectives that stop being finite, or that no step decreases: it must be said, and soon."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov, Optimizer
from dask_gradcode.typing import Evaluation, Vector

GIVEN_STEPS: list[Optimizer] = [
    GradientDescent(step=0.1),
    Nesterov(step=0.1),
    Nesterov(step=0.1, momentum="paper"),
]
BACKTRACKING: list[Optimizer] = [GradientDescent(), Nesterov()]
W0 = np.array([3.0, -2.0])


@pytest.mark.parametrize("optimizer", [LBFGS(), *GIVEN_STEPS, *BACKTRACKING], ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("max_iter", [0, 100])
def test_a_start_that_is_not_finite_is_an_error(
    optimizer: Optimizer, bad: float, max_iter: int
) -> None:
    def broken(value: float, gradient: list[float]) -> None:
        seen = Evaluation(value, np.array(gradient))
        with pytest.raises(FloatingPointError, match="not finite"):
            optimizer.minimize(lambda w: seen, W0, max_iter=max_iter)

    broken(bad, [1.0, 1.0])
    broken(1.0, [1.0, bad])


@pytest.mark.parametrize("optimizer", [LBFGS(), *GIVEN_STEPS], ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error(optimizer: Optimizer, bad: float) -> None:
    def broken(w: Vector) -> Evaluation:
        return Evaluation(1.0 if np.array_equal(w, W0) else bad, 2 * w)

    with pytest.raises(FloatingPointError, match=f"not finite in iteration 1: value {bad}"):
        optimizer.minimize(broken, W0)


@pytest.mark.parametrize("optimizer", [LBFGS(), *GIVEN_STEPS, *BACKTRACKING], ids=repr)
def test_a_gradient_that_is_not_finite_is_an_error(optimizer: Optimizer) -> None:
    def broken(w: Vector) -> Evaluation:
        return Evaluation(float(w @ w), 2 * w if np.array_equal(w, W0) else np.full(2, np.nan))

    with pytest.raises(FloatingPointError, match="not finite in iteration 1"):
        optimizer.minimize(broken, W0, max_iter=1)


@pytest.mark.parametrize("optimizer", BACKTRACKING, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_backtracking_steps_back_from_where_the_value_is_not_finite(
    optimizer: Optimizer, bad: float
) -> None:
    def fenced(w: Vector) -> Evaluation:
        inside = abs(w).max() <= 3.0
        return Evaluation(5.0 * float(w @ w) if inside else bad, 10 * w)

    solution = optimizer.minimize(fenced, W0, tol=1e-6)
    assert solution.converged
    assert abs(solution.w).max() <= 1e-6


@pytest.mark.parametrize("optimizer", BACKTRACKING, ids=repr)
def test_an_objective_that_no_step_decreases_is_given_up(optimizer: Optimizer) -> None:
    solution = optimizer.minimize(lambda w: Evaluation(0.0, np.ones(2)), W0)
    assert (solution.n_iter, solution.converged) == (0, False)
    assert solution.message == "No step decreases the value."
    assert solution.w.tolist() == W0.tolist()


@pytest.mark.parametrize("optimizer", BACKTRACKING, ids=repr)
def test_a_gradient_of_the_wrong_sign_is_given_up_in_the_first_iteration(
    optimizer: Optimizer,
) -> None:
    solution = optimizer.minimize(lambda w: Evaluation(1.0 + float(w @ w), -2 * w), W0)
    assert (solution.n_iter, solution.converged) == (0, False)
    assert solution.message == "No step decreases the value."


def test_lbfgs_has_not_converged_where_only_the_value_no_longer_falls() -> None:
    solution = LBFGS().minimize(lambda w: Evaluation(1.0 + float(w @ w), -2 * w), W0)
    assert abs(solution.gradient).max() > 3.0
    assert not solution.converged


def test_lbfgs_runs_no_round_for_a_point_that_a_failing_search_comes_back_to() -> None:
    points = []

    def rough(w: Vector) -> Evaluation:
        points.append(w.tobytes())
        return Evaluation(round(float(rosen(w)), 6), rosen_der(w))

    solution = LBFGS().minimize(rough, np.array([3.0, -2.0, 1.0]), tol=1e-12)
    assert (solution.converged, "ABNORMAL" in solution.message) == (False, True)
    assert len({*points}) == len(points)
