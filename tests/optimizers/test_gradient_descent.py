"""Gradient descent against a plain loop, and what backtracking accepts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.optimizers.steps import Step
from dask_gradcode.typing import Evaluation, Vector

CURVATURES = np.array([0.3, 2.0, 40.0])
W0 = np.array([3.0, -1.0, 2.0])


def quadratic(w: Vector) -> Evaluation:
    return Evaluation(0.5 * float(w @ (CURVATURES * w)), CURVATURES * w)


def iterates(step: Step, max_iter: int) -> list[Vector]:
    """The start and every accepted point."""
    points = [W0]
    GradientDescent(step).minimize(
        quadratic,
        W0,
        max_iter=max_iter,
        tol=0.0,
        callback=lambda _, w, __: points.append(w),
    )
    return points


@pytest.mark.parametrize(
    ("step", "at"),
    [
        (0.02, lambda i: 0.02),
        (np.float32(0.03125), lambda i: 0.03125),
        (lambda i: 0.04 / (1 + i), lambda i: 0.04 / (1 + i)),
    ],
    ids=["fixed", "numpy", "schedule"],
)
def test_given_steps_make_a_plain_loop(step: Step, at: Callable[[int], float]) -> None:
    w, plain = W0, [W0]
    for i in range(30):
        w = w - at(i) * (CURVATURES * w)
        plain.append(w)
    assert_array_equal(iterates(step, 30), plain)


def test_a_given_step_costs_one_evaluation_an_iteration() -> None:
    points: list[Vector] = []

    def counted(w: Vector) -> Evaluation:
        points.append(w)
        return quadratic(w)

    GradientDescent(0.02).minimize(counted, W0, max_iter=30, tol=0.0)
    assert len(points) == 31


def test_a_schedule_is_asked_once_an_iteration_from_zero() -> None:
    asked: list[int] = []

    def schedule(iteration: int) -> float:
        asked.append(iteration)
        return 0.02

    iterates(schedule, 5)
    assert asked == [0, 1, 2, 3, 4]


def test_every_backtracking_step_satisfies_the_decrease_condition() -> None:
    points = iterates("backtracking", 40)
    assert len(points) == 41
    for before, after in pairwise(map(quadratic, points)):
        assert after.value < before.value
    for w, after in pairwise(points):
        seen = quadratic(w)
        step = np.linalg.norm(after - w) / np.linalg.norm(seen.gradient)
        assert_allclose(after, w - step * seen.gradient, rtol=1e-12, atol=1e-15)
        wanted = 0.5 * step * float(seen.gradient @ seen.gradient)
        assert quadratic(after).value <= seen.value - wanted * (1 - 1e-9)


def test_backtracking_halves_the_step_after_each_rejection() -> None:
    points: list[Vector] = []

    def counted(w: Vector) -> Evaluation:
        points.append(w)
        return quadratic(w)

    solution = GradientDescent().minimize(counted, W0, max_iter=1)
    steps = [(w - W0) / -quadratic(W0).gradient for w in points[1:]]
    assert_allclose(steps, [[0.5**k] * 3 for k in range(len(points) - 1)], rtol=1e-12)
    assert_array_equal(solution.w, points[-1])
    square = float(quadratic(W0).gradient @ quadratic(W0).gradient)
    for k, w in enumerate(points[1:-1]):
        assert quadratic(w).value > quadratic(W0).value - 0.5 * 0.5**k * square


def test_backtracking_lets_the_step_grow_again() -> None:
    # A narrow start and a wide end: a step that only ever shrank would crawl.
    def widening(w: Vector) -> Evaluation:
        return Evaluation(float((0.01 * w**2 + w**4).sum()), 0.02 * w + 4 * w**3)

    start = np.array([30.0])
    solution = GradientDescent().minimize(widening, start, max_iter=200, tol=1e-6)
    assert solution.converged
    first = GradientDescent().minimize(widening, start, max_iter=1)
    length = float((start - first.w)[0] / widening(start).gradient[0])
    assert not GradientDescent(length).minimize(widening, start, max_iter=200, tol=1e-6).converged


def test_the_rounding_of_the_values_does_not_reject_a_step() -> None:
    # The value is known to 0.5 only, and rounding lifts it wherever it is asked again.
    n_calls = 0

    def noisy(w: Vector) -> Evaluation:
        nonlocal n_calls
        n_calls += 1
        return Evaluation(0.5 * float(w @ w) + 0.4 * (n_calls > 1), w.copy(), rounding=0.5)

    solution = GradientDescent().minimize(noisy, np.array([0.6]), max_iter=1, tol=0.0)
    assert (n_calls, solution.w.tolist()) == (2, [0.0])


@pytest.mark.parametrize("step", [0, 0.0, -1.0, np.nan, np.inf, -np.inf])
def test_a_fixed_step_that_is_not_positive_and_finite_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match=f"must be positive and finite, got {step}"):
        GradientDescent(step)


def test_an_unknown_name_of_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="'backtracking', a number or a function, got 'newton'"):
        GradientDescent("newton")


@pytest.mark.parametrize("step", [None, True, (1.0,), 1j])
def test_a_step_of_another_type_is_refused(step: object) -> None:
    with pytest.raises(TypeError, match="must be 'backtracking', a number or a function, got"):
        GradientDescent(step)  # type: ignore[arg-type]
