"""Nesterov's method and the update of the authors of gradient coding, against plain loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import GradientDescent, Nesterov, Optimizer
from dask_gradcode.optimizers.steps import Step
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import Block

CURVATURES = np.geomspace(0.01, 10.0, 8)
W0 = np.linspace(-2.0, 3.0, 8)


def quadratic(w: Vector) -> Evaluation:
    return Evaluation(0.5 * float(w @ (CURVATURES * w)), CURVATURES * w)


class Counted:
    def __init__(self) -> None:
        self.points: list[Vector] = []

    def __call__(self, w: Vector) -> Evaluation:
        self.points.append(w)
        return quadratic(w)


def schedule(iteration: int) -> float:
    return 0.08 / (1 + 0.01 * iteration)


GIVEN_STEPS: list[tuple[Step, Callable[[int], float]]] = [
    (0.08, lambda i: 0.08),
    (schedule, schedule),
]


@pytest.mark.parametrize(("step", "at"), [(10.0, lambda i: 10.0), (schedule, schedule)])
def test_the_paper_update_is_that_of_its_authors(step: Step, at: Callable[[int], float]) -> None:
    rng = np.random.default_rng(0)
    N, rounds = 120, 100
    X = rng.normal(scale=0.3, size=(N, 5))
    y = (X @ [4.0, -2.0, 1.0, 0.0, 3.0] + rng.logistic(size=N) > 0).astype(float)

    # The authors' loop: g is the sum over rows, alpha = 1 / N.
    alpha, b, u, theirs = 1.0 / N, np.zeros(5), np.zeros(5), []
    for i in range(rounds):
        eta = at(i)
        g = X.T @ (expit(X @ b) - y)
        theta = 2.0 / (i + 2.0)
        y_point = (1 - theta) * b + theta * u
        new = y_point - (eta / N) * g - (2 * alpha * eta) * b
        u = b + (new - b) * (1 / theta)
        b = new
        theirs.append(b)

    blocks = {i: Block(X[i * 30 : i * 30 + 30], y[i * 30 : i * 30 + 30]) for i in range(4)}
    objective = Penalised(
        InProcessObjective(FractionalRepetition(4, 1), blocks, Logistic()),
        scale=1 / N,
        alpha=1 / (0.5 * N),  # C = 0.5
        n_penalised=5,
    )
    ours: list[Vector] = []
    solution = Nesterov(step=step, momentum="paper").minimize(
        objective, np.zeros(5), max_iter=rounds, tol=0.0, callback=lambda _, w, __: ours.append(w)
    )
    assert solution.n_iter == rounds
    assert_allclose(ours, theirs, rtol=0, atol=1e-13 * abs(np.array(theirs)).max())


@pytest.mark.parametrize(("step", "at"), GIVEN_STEPS, ids=["fixed", "schedule"])
def test_given_steps_make_a_plain_loop_with_restarts(
    step: Step, at: Callable[[int], float]
) -> None:
    y, x_old, t, restarts, plain = W0, W0, 1.0, 0, []
    for i in range(500):
        gradient = CURVATURES * y
        x = y - at(i) * gradient
        if gradient @ (x - x_old) > 0:
            restarts += 1
            t, y = (1 + np.sqrt(5)) / 2, x
        else:
            t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
            t, y = t_new, x + (t - 1) / t_new * (x - x_old)
        x_old = x
        plain.append(y)
    ours: list[Vector] = []
    Nesterov(step).minimize(
        quadratic, W0, max_iter=500, tol=0.0, callback=lambda _, w, __: ours.append(w)
    )
    assert restarts >= 2
    assert_allclose(ours, plain, rtol=0, atol=1e-13)


@pytest.mark.parametrize("momentum", ["nesterov", "paper"])
def test_a_given_step_costs_one_evaluation_an_iteration(momentum: str) -> None:
    counted = Counted()
    Nesterov(0.05, momentum).minimize(counted, W0, max_iter=30, tol=0.0)
    assert len(counted.points) == 31


@pytest.mark.parametrize("momentum", ["nesterov", "paper"])
def test_a_schedule_is_asked_once_an_iteration_from_zero(momentum: str) -> None:
    asked: list[int] = []

    def asking(iteration: int) -> float:
        asked.append(iteration)
        return 0.02

    Nesterov(asking, momentum).minimize(quadratic, W0, max_iter=5, tol=0.0)
    assert asked == [0, 1, 2, 3, 4]


def test_backtracking_goes_from_an_evaluated_point_downhill_far_enough() -> None:
    # Each accepted x = y - step * gradient(y), where y is evaluated before x and its trials.
    counted, accepted = Counted(), [W0]
    Nesterov().minimize(
        counted, W0, max_iter=60, tol=0.0, callback=lambda _, w, __: accepted.append(w)
    )
    assert len(accepted) == 61
    for x in accepted[1:]:
        assert any(far_enough(y, x) for y in counted.points)


def far_enough(y: Vector, x: Vector) -> bool:
    """Whether x is a gradient step from y that decreases the value as backtracking wants."""
    seen = quadratic(y)
    square = float(seen.gradient @ seen.gradient)
    step = float((y - x) @ seen.gradient) / square
    on_the_ray = np.allclose(y - step * seen.gradient, x, rtol=0, atol=1e-12)
    return bool(
        on_the_ray and step > 0 and quadratic(x).value <= seen.value - 0.499999 * step * square
    )


def test_backtracking_costs_at_most_two_evaluations_an_iteration_and_one_a_rejection() -> None:
    counted = Counted()
    n_iter = Nesterov().minimize(counted, W0, max_iter=1000, tol=1e-4).n_iter
    # A step grows by a fifth and is halved when rejected: about a rejection in four iterations.
    assert n_iter < len(counted.points) <= 2.5 * n_iter + 10


@pytest.mark.parametrize(
    ("accelerated", "plain"),
    [(Nesterov(), GradientDescent()), (Nesterov(0.1), GradientDescent(0.1))],
    ids=repr,
)
def test_it_needs_far_fewer_evaluations_than_gradient_descent(
    accelerated: Optimizer, plain: Optimizer
) -> None:
    evaluations = []
    for optimizer in (accelerated, plain):
        counted = Counted()
        assert optimizer.minimize(counted, W0, max_iter=100_000, tol=1e-5).converged
        evaluations.append(len(counted.points))
    assert evaluations[0] < evaluations[1] / 4


@pytest.mark.parametrize("momentum", ["heavy-ball", "", None, "Nesterov"])
def test_an_unknown_momentum_is_refused(momentum: object) -> None:
    with pytest.raises(ValueError, match=f"'nesterov' or 'paper', got {momentum!r}"):
        Nesterov(0.1, momentum)  # type: ignore[arg-type]


def test_the_paper_update_has_no_backtracking() -> None:
    with pytest.raises(ValueError, match="needs a fixed step or a schedule, got step='backtrack"):
        Nesterov(momentum="paper")


@pytest.mark.parametrize("momentum", ["nesterov", "paper"])
def test_a_bad_step_is_refused(momentum: str) -> None:
    for number in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"positive and finite, got {number}"):
            Nesterov(number, momentum)
    with pytest.raises(ValueError, match="a number or a function, got 'newton'"):
        Nesterov("newton", momentum)
    with pytest.raises(TypeError, match="a number or a function, got None"):
        Nesterov(None, momentum)  # type: ignore[arg-type]
