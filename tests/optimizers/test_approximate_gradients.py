"""Descent on gradients that may be off: where it asks for exact ones, and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.codes import Uncoded
from dask_gradcode.coordinates import Coordinates
from dask_gradcode.history import History, Recorder
from dask_gradcode.linear_model.callbacks import _Watched
from dask_gradcode.losses import Layout
from dask_gradcode.objective import Anchored, Penalised
from dask_gradcode.optimizers import L1, GradientDescent, Nesterov, Optimizer
from dask_gradcode.optimizers.base import Memory
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import NeverAnswers
from dask_gradcode.typing import Evaluation, Objective, Vector, exactly

CURVATURES = np.array([0.3, 2.0, 40.0])
W0 = np.array([3.0, -1.0, 2.0])
SOLVERS = [
    GradientDescent(),
    GradientDescent(step=0.02),
    Nesterov(),
    Nesterov(step=0.02),
]


def bowl(w: Vector) -> Evaluation:
    return Evaluation(0.5 * float(w @ (CURVATURES * w)), CURVATURES * w)


class Stale:
    """A bowl of which a tenth is of the point that is so many calls old."""

    def __init__(self, age: int, share: float = 0.1) -> None:
        self.age, self.share = age, share
        self.points: list[Vector] = []
        self.exact: list[bool] = []

    def __call__(self, w: Vector) -> Evaluation:
        self.points.append(w)
        if len(self.points) <= self.age:
            return self._exactly(w)
        self.exact.append(False)
        old = self.points[-1 - self.age]
        at, then = bowl(w), bowl(old)
        value = then.value + then.gradient @ (w - old)
        drift = (
            self.share * self.age * (then.gradient - bowl(self.points[-2 - self.age]).gradient)
            if self.age + 2 <= len(self.points)
            else np.zeros(3)
        )
        rest = 1.0 - self.share
        gradient = rest * at.gradient + self.share * then.gradient
        return Evaluation(rest * at.value + self.share * value, gradient, drift=drift)

    def exactly(self, w: Vector) -> Evaluation:
        self.points.append(w)
        return self._exactly(w)

    def _exactly(self, w: Vector) -> Evaluation:
        self.exact.append(True)
        return bowl(w)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_it_ends_at_the_exact_minimum_by_an_exact_evaluation(solver: Optimizer) -> None:
    objective = Stale(age=7)
    solution = solver.minimize(objective, W0, max_iter=20_000, tol=1e-6)
    assert solution.converged
    assert objective.exact[-1]
    assert_array_equal(objective.points[-1], solution.w)
    assert_array_equal(solution.gradient, bowl(solution.w).gradient)
    assert np.abs(solution.gradient).max() <= 1e-6
    assert not all(objective.exact[8:])


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_at_the_limit_of_iterations_it_ends_by_an_exact_evaluation(solver: Optimizer) -> None:
    objective = Stale(age=2)
    solution = solver.minimize(objective, W0, max_iter=9, tol=1e-9)
    assert (solution.converged, solution.n_iter, objective.exact[-1]) == (False, 9, True)
    assert_array_equal(solution.gradient, bowl(solution.w).gradient)


@pytest.mark.parametrize(("drift", "n_exact"), [(0.49, 0), (0.51, 5)])
def test_a_drift_above_half_of_the_gradient_is_looked_at_again(drift: float, n_exact: int) -> None:
    calls: list[str] = []

    class Drifting:
        def __call__(self, w: Vector) -> Evaluation:
            calls.append("roughly")
            seen = bowl(w)
            return replace(seen, drift=drift * np.linalg.norm(seen.gradient) * np.eye(3)[0])

        def exactly(self, w: Vector) -> Evaluation:
            calls.append("exactly")
            return bowl(w)

    GradientDescent(step=0.02).minimize(Drifting(), W0, max_iter=5, tol=0.0)
    within = calls[1:-1] if n_exact == 0 else calls[1:]  # but for the end
    assert within.count("exactly") == n_exact


def test_with_an_l1_penalty_the_drift_is_compared_with_the_shortest_subgradient() -> None:
    """At 0 the subgradient is 0.1, where the gradient is 1.1 and the drift 0.4."""
    calls: list[str] = []

    class Drifting:
        def __call__(self, w: Vector) -> Evaluation:
            calls.append("roughly")
            return Evaluation(1.1 * w[0], np.array([1.1]), drift=np.array([0.4]))

        def exactly(self, w: Vector) -> Evaluation:
            calls.append("exactly")
            return Evaluation(1.1 * w[0], np.array([1.1]))

    penalty = L1(1.0, 1)
    GradientDescent(step=1.0).minimize(
        Drifting(), np.zeros(1), max_iter=1, tol=0.0, penalty=penalty
    )
    assert calls == ["roughly", "roughly", "exactly"]


def test_a_step_that_approximate_values_reject_is_looked_at_exactly() -> None:
    """Each approximate value is higher than the one before, wherever it is."""
    lies: list[float] = []

    class Lying:
        def __call__(self, w: Vector) -> Evaluation:
            lies.append(1e6 * len(lies))
            return replace(bowl(w), value=lies[-1], drift=np.zeros(3))

        def exactly(self, w: Vector) -> Evaluation:
            return bowl(w)

    solution = GradientDescent().minimize(Lying(), W0, max_iter=5000, tol=1e-4)
    assert_allclose(solution.w, 0.0, atol=1e-3)
    assert solution.converged


def test_a_search_that_finds_no_step_ends_exactly() -> None:
    class Uphill:
        """Its gradient points the wrong way."""

        def __call__(self, w: Vector) -> Evaluation:
            return replace(self.exactly(w), drift=np.zeros(3))

        def exactly(self, w: Vector) -> Evaluation:
            return replace(bowl(w), gradient=-bowl(w).gradient)

    solution = GradientDescent().minimize(Uphill(), W0, max_iter=9, tol=1e-4)
    assert (solution.converged, solution.message) == (False, "No step decreases the value.")


def test_what_goes_on_from_an_approximate_gradient_does_not_end_on_it() -> None:
    memory: Memory = {}

    class Flat:
        """Looks flat wherever it is looked at roughly, but at the start."""

        n_calls = 0

        def __call__(self, w: Vector) -> Evaluation:
            self.n_calls += 1
            seen = replace(bowl(w), drift=np.zeros(3))
            return seen if self.n_calls == 1 else replace(seen, gradient=np.full(3, 1e-9))

        def exactly(self, w: Vector) -> Evaluation:
            return bowl(w)

    class Stop(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stop

    solver = GradientDescent(step=0.02)
    with pytest.raises(Stop):
        solver.minimize(Flat(), W0, tol=1e-6, callback=stop, memory=memory)
    solution = solver.minimize(bowl, W0, tol=1e-6, max_iter=5000, memory=memory)
    assert np.abs(bowl(solution.w).gradient).max() <= 1e-6


def test_what_is_always_exact_is_exact_for_those_who_ask() -> None:
    assert exactly(bowl, W0).value == bowl(W0).value


class Rough:
    """Approximate, and told apart from exact by its record."""

    def __init__(self) -> None:
        [self.record] = simulate(Uncoded(2), NeverAnswers(workers=[]), n_rounds=1).records

    def __call__(self, w: Vector) -> Evaluation:
        return replace(self.exactly(w), drift=np.array([0.5, -2.0]))

    def exactly(self, w: Vector) -> Evaluation:
        return Evaluation(float(w @ w), 2 * w, self.record)


LAYOUT = Layout(n_features=1, n_outputs=1, n_own=0, has_intercept=True)
COORDINATES = Coordinates(LAYOUT, shift=np.array([3.0]), scale=np.array([2.0]), unit=4.0, size=5.0)
WRAPPERS: dict[str, tuple[Callable[[Objective], Objective], Callable[[Vector], Vector]]] = {
    "penalised": (
        lambda rough: Penalised(rough, scale=3.0, alpha=0.1, n_penalised=1),
        lambda drift: 3.0 * drift,
    ),
    "anchored": (lambda rough: Anchored(rough, n_outputs=2), lambda drift: drift),
    "mapped": (COORDINATES.objective, COORDINATES.gradient),
    "recorder": (lambda rough: Recorder(rough, History(Uncoded(2), "tasks")), lambda drift: drift),
    "watched": (lambda rough: _Watched(rough, lambda: None), lambda drift: drift),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_around_an_objective_passes_on_what_is_exact_and_what_is_not(name: str) -> None:
    around, mapped = WRAPPERS[name]
    objective, w = around(Rough()), np.array([1.0, -2.0])
    seen, exact = objective(w), exactly(objective, w)
    assert seen.drift is not None
    assert_allclose(seen.drift, mapped(np.array([0.5, -2.0])))
    assert exact.drift is None
    assert_array_equal(exact.gradient, seen.gradient)


def test_a_record_tells_the_drift_as_the_solver_sees_it() -> None:
    history = History(Uncoded(2), "tasks")
    recorder = Recorder(Penalised(Rough(), scale=3.0, alpha=0.1, n_penalised=1), history)
    recorder(np.ones(2))
    recorder.exactly(np.ones(2))
    assert history.columns["drift"] == [6.0, 0.0]
