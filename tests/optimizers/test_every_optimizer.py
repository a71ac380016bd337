"""What every optimizer promises. A new optimizer, or way to set one, is one line in OPTIMIZERS."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

import dask_gradcode.optimizers
from dask_gradcode.codes import Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import (
    L1,
    LBFGS,
    GradientDescent,
    Nesterov,
    NewtonCholesky,
    Optimizer,
    Solution,
)
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import Block
from helpers import name_of


def shrinking(iteration: int) -> float:
    return 0.1 / (1.0 + 0.001 * iteration)


OPTIMIZERS: list[Optimizer] = [  # the problems below have curvatures up to 10
    LBFGS(),
    LBFGS(30),
    NewtonCholesky(),
    GradientDescent(),
    GradientDescent(step=0.1),
    GradientDescent(step=shrinking),
    Nesterov(),
    Nesterov(step=0.1),
    Nesterov(step=shrinking),
    Nesterov(step=0.1, momentum="paper"),
]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
A = ROTATION @ np.diag([1.0, 2.0, 5.0, 8.0]) @ ROTATION.T
B = np.array([1.0, -2.0, 3.0, 0.5])
BEST = np.linalg.solve(A, B)
W0 = np.array([5.0, 5.0, -5.0, 1.0])


def bowl(w: Vector) -> Evaluation:
    """Has its minimum where ``A w = B``; its curvature changes, or Newton's method was there."""
    away = w - BEST
    value = 0.5 * float(w @ A @ w) - float(B @ w) + 2.0 * float(np.log(np.cosh(away)).sum())
    hessian = A + np.diag(2.0 / np.cosh(away) ** 2)
    return Evaluation(value, A @ w - B + 2.0 * np.tanh(away), hessian=hessian)


class Bowl:
    """The bowl, seen through a function of its evaluations."""

    def __init__(self, seen: Callable[[Evaluation], Evaluation] = lambda seen: seen) -> None:
        self._seen = seen

    def __call__(self, w: Vector) -> Evaluation:
        return replace(self._seen(bowl(w)), hessian=None)

    def second_order(self, w: Vector) -> Evaluation:
        return self._seen(bowl(w))


class Recorded:
    """The bowl, which remembers where it was asked, and fails when it is told to."""

    def __init__(self, error: BaseException | None = None, at: int = 0) -> None:
        self._error, self._at = error, at
        self.points: list[Vector] = []
        self.arrays: list[Vector] = []

    def __call__(self, w: Vector) -> Evaluation:
        self.points.append(w.copy())
        self.arrays.append(w)
        if self._error is not None and len(self.points) == self._at:
            raise self._error
        return replace(bowl(w), hessian=None)

    def second_order(self, w: Vector) -> Evaluation:
        self(w)
        return bowl(w)


class Calls(list[tuple[int, Vector, Evaluation]]):
    """A callback that remembers its arguments."""

    def __call__(self, n_iter: int, w: Vector, seen: Evaluation) -> None:
        self.append((n_iter, w, seen))


def largest(gradient: Vector) -> float:
    return float(abs(gradient).max())


def test_every_optimizer_is_listed_above() -> None:
    public = [getattr(dask_gradcode.optimizers, n) for n in dask_gradcode.optimizers.__all__]
    classes = [item for item in public if inspect.isclass(item) and issubclass(item, Optimizer)]
    ours = [
        optimizer
        for optimizer in Optimizer.__subclasses__()
        if optimizer.__module__.startswith("dask_gradcode.optimizers.")
    ]
    assert {item for item in classes if not inspect.isabstract(item)} == {*map(type, OPTIMIZERS)}
    assert {*ours} == {*map(type, OPTIMIZERS)}


@every_optimizer
def test_it_finds_the_minimum_of_a_bowl(optimizer: Optimizer) -> None:
    solution = optimizer.minimize(Bowl(), W0, max_iter=10_000, tol=1e-5)
    assert solution.converged
    # ||w - best|| <= ||gradient|| / smallest curvature, which is 1
    assert np.linalg.norm(solution.w - BEST) <= 2 * 1e-5


@every_optimizer
def test_it_finds_scikit_learns_logistic_regression(optimizer: Optimizer) -> None:
    rng = np.random.default_rng(1)
    X, C = rng.normal(size=(60, 3)), 0.1
    y = (X @ [1.0, -2.0, 0.5] + rng.logistic(size=60) > 0).astype(float)
    objective = Penalised(
        InProcessObjective(Uncoded(1), {0: Block(X, y)}, Logistic()),
        scale=10 / 60,
        alpha=10 / (60 * C),
        n_penalised=3,
    )
    solution = optimizer.minimize(objective, np.zeros(3), max_iter=10_000, tol=1e-6)
    theirs = LogisticRegression(C=C, fit_intercept=False, solver="newton-cg", tol=1e-12).fit(X, y)
    assert solution.converged
    assert_allclose(solution.w, theirs.coef_[0], atol=2e-6)


@every_optimizer
@pytest.mark.parametrize("tol", [10.0, 1e-1, 1e-3])
def test_it_stops_at_the_first_point_within_tol(optimizer: Optimizer, tol: float) -> None:
    calls = Calls()
    solution = optimizer.minimize(Bowl(), W0, max_iter=1000, tol=tol, callback=calls)
    assert solution.converged
    assert largest(solution.gradient) <= tol
    assert all(largest(seen.gradient) > tol for _, _, seen in calls[:-1])


@every_optimizer
def test_max_iter_is_respected_and_says_whether_it_sufficed(optimizer: Optimizer) -> None:
    n = optimizer.minimize(Bowl(), W0, max_iter=1000, tol=1e-2).n_iter
    assert 2 < n < 1000
    for max_iter in (1, 2, n - 1, n):
        solution = optimizer.minimize(Bowl(), W0, max_iter=max_iter, tol=1e-2)
        assert (solution.n_iter, solution.converged) == (max_iter, max_iter == n)


@every_optimizer
def test_a_gradient_within_its_own_rounding_is_converged(optimizer: Optimizer) -> None:
    coarse = Bowl(lambda seen: replace(seen, rounding=1e-3))
    solution = optimizer.minimize(coarse, W0, max_iter=1000, tol=0.0)
    assert solution.converged
    assert solution.n_iter < 1000
    assert largest(solution.gradient) <= 1e-3


@every_optimizer
@pytest.mark.parametrize("max_iter", [0, 5])
def test_the_start_is_neither_modified_nor_returned(optimizer: Optimizer, max_iter: int) -> None:
    start = W0.copy()
    start.flags.writeable = False
    solution = optimizer.minimize(Bowl(), start, max_iter=max_iter)
    assert_array_equal(start, W0)
    assert not np.shares_memory(solution.w, start)


@every_optimizer
@pytest.mark.parametrize("max_iter", [0, 1, 7, 1000])
def test_value_and_gradient_are_those_at_the_solution(optimizer: Optimizer, max_iter: int) -> None:
    solution = optimizer.minimize(Bowl(), W0, max_iter=max_iter)
    seen = bowl(solution.w)
    assert solution.value == seen.value
    assert_array_equal(solution.gradient, seen.gradient)


@every_optimizer
def test_no_point_is_evaluated_twice(optimizer: Optimizer) -> None:
    recorded = Recorded()
    optimizer.minimize(recorded, W0, max_iter=1000, tol=1e-5)
    assert len({point.tobytes() for point in recorded.points}) == len(recorded.points)


@every_optimizer
def test_no_array_changes_after_it_was_handed_out(optimizer: Optimizer) -> None:
    recorded, calls = Recorded(), Calls()
    optimizer.minimize(recorded, W0, max_iter=8, callback=calls)
    assert_array_equal(recorded.arrays, recorded.points)
    for _, w, seen in calls:
        assert_array_equal(seen.gradient, bowl(w).gradient)


@every_optimizer
def test_each_iteration_calls_back_once_with_what_was_seen_at_its_point(
    optimizer: Optimizer,
) -> None:
    recorded, calls = Recorded(), Calls()
    solution = optimizer.minimize(recorded, W0, max_iter=1000, tol=1e-2, callback=calls)
    assert [n_iter for n_iter, _, _ in calls] == list(range(1, solution.n_iter + 1))
    for _, w, seen in calls:
        assert seen.value == bowl(w).value
        assert any(np.array_equal(w, point) for point in recorded.points)
    assert not np.array_equal(calls[0][1], W0)
    assert_array_equal(calls[-1][1], solution.w)


@every_optimizer
@pytest.mark.parametrize("at", [1, 2, 5])
@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), KeyboardInterrupt()])
def test_errors_and_interrupts_in_the_objective_pass_through(
    optimizer: Optimizer, error: BaseException, at: int
) -> None:
    recorded = Recorded(error, at)
    with pytest.raises(type(error)) as caught:
        optimizer.minimize(recorded, W0, tol=1e-6)
    assert caught.value is error
    assert len(recorded.points) == at


@every_optimizer
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_errors_and_interrupts_in_the_callback_pass_through(
    optimizer: Optimizer, error: BaseException
) -> None:
    def callback(n_iter: int, w: Vector, seen: Evaluation) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        optimizer.minimize(Bowl(), W0, callback=callback)
    assert caught.value is error


@every_optimizer
@pytest.mark.parametrize("max_iter", [0, 100])
def test_at_the_minimum_it_asks_once_and_is_done(optimizer: Optimizer, max_iter: int) -> None:
    recorded, calls = Recorded(), Calls()
    best = BEST.copy()
    solution = optimizer.minimize(recorded, best, max_iter=max_iter, tol=1e-9, callback=calls)
    assert (solution.n_iter, solution.converged) == (0, True)
    assert_array_equal(solution.w, best)
    assert (len(recorded.points), calls) == (1, [])


@every_optimizer
def test_no_iterations_are_one_evaluation(optimizer: Optimizer) -> None:
    recorded, calls = Recorded(), Calls()
    solution = optimizer.minimize(recorded, W0, max_iter=0, callback=calls)
    assert (solution.n_iter, solution.converged) == (0, False)
    assert_array_equal(solution.w, W0)
    assert_array_equal(recorded.points, [W0])
    assert calls == []


@every_optimizer
def test_only_what_learns_curvature_needs_exact_sums(optimizer: Optimizer) -> None:
    assert optimizer.needs_exact == isinstance(optimizer, (LBFGS, NewtonCholesky))


def with_penalty(optimizer: Optimizer, **arguments: Any) -> Solution:
    return optimizer.minimize(
        Bowl(), W0, penalty=L1(3.0, 3), **{"max_iter": 10_000, "tol": 1e-9, **arguments}
    )


PROXIMAL = [
    optimizer
    for optimizer in OPTIMIZERS
    if isinstance(optimizer, GradientDescent)
    or (isinstance(optimizer, Nesterov) and optimizer.momentum == "nesterov")
]


@every_optimizer
def test_a_penalty_is_taken_or_refused_before_any_round(optimizer: Optimizer) -> None:
    if optimizer in PROXIMAL:
        optimizer.check_penalty(L1(3.0, 3))
        return
    recorded = Recorded()
    with pytest.raises(ValueError, match=r"takes no L1 penalty .* solver='nesterov'"):
        optimizer.minimize(recorded, W0, penalty=L1(3.0, 3))
    assert recorded.points == []
    optimizer.check_penalty(L1(0.0, 3))


@pytest.mark.parametrize("optimizer", PROXIMAL, ids=name_of)
def test_the_minimum_with_a_penalty_satisfies_its_optimality_conditions(
    optimizer: Optimizer,
) -> None:
    solution = with_penalty(optimizer)
    assert solution.converged
    gradient, head = bowl(solution.w).gradient, solution.w[:3]
    assert_array_equal(gradient, solution.gradient)
    assert 0 < np.count_nonzero(head) < 3  # some are exactly zero, and others not
    assert abs(gradient[3]) <= 1e-9  # the last is not penalised
    at_zero = head == 0.0
    assert (abs(gradient[:3][at_zero]) <= 3.0).all()
    assert_allclose(gradient[:3][~at_zero], -3.0 * np.sign(head[~at_zero]), atol=1e-9)


@pytest.mark.parametrize("optimizer", PROXIMAL, ids=name_of)
def test_with_a_penalty_no_point_nearby_is_better(optimizer: Optimizer) -> None:
    penalty, best = L1(3.0, 3), with_penalty(optimizer).w
    least = bowl(best).value + penalty.value(best)
    for step in 0.1 * np.random.default_rng(2).normal(size=(200, 4)):
        assert bowl(best + step).value + penalty.value(best + step) > least


@every_optimizer
def test_an_optimizer_is_a_value(optimizer: Optimizer) -> None:
    twin = replace(optimizer)  # type: ignore[type-var]
    assert twin == optimizer
    assert hash(twin) == hash(optimizer)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert repr(twin) == repr(optimizer)
    if "<function" not in repr(optimizer):
        assert eval(repr(optimizer)) == optimizer


def test_different_optimizers_differ() -> None:
    assert len({*OPTIMIZERS}) == len(OPTIMIZERS)


@every_optimizer
def test_an_optimizer_cannot_be_changed(optimizer: Optimizer) -> None:
    for field in fields(optimizer):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(optimizer, field.name, getattr(optimizer, field.name))


@every_optimizer
def test_a_fit_leaves_nothing_behind(optimizer: Optimizer) -> None:
    first, second = Recorded(), Recorded()
    optimizer.minimize(first, W0, max_iter=20)
    optimizer.minimize(second, W0, max_iter=20)
    assert_array_equal(first.points, second.points)


# ---------------------------------------------------------------- going on from a memory


class Stop(Exception):
    pass


def interrupted(optimizer: Optimizer, at: int, **options: Any) -> dict[str, Any]:
    """Return a copy of the memory of a run whose objective fails in its ``at``-th evaluation."""
    memory: dict[str, Any] = {}
    with pytest.raises(Stop):
        optimizer.minimize(Recorded(Stop(), at), W0, tol=1e-5, memory=memory, **options)
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in memory.items()}


@cache
def undisturbed_run(optimizer: Optimizer) -> tuple[Solution, Recorded]:
    whole = Recorded()
    return optimizer.minimize(whole, W0, max_iter=1000, tol=1e-5), whole


@every_optimizer
@given(share=st.floats(0.0, 1.0))
def test_interrupted_anywhere_and_resumed_it_is_as_if_undisturbed(
    optimizer: Optimizer, share: float
) -> None:
    undisturbed, whole = undisturbed_run(optimizer)
    at = 1 + round(share * (len(whole.points) - 1))
    memory = interrupted(optimizer, at, max_iter=1000)
    n_before = memory.get("n_iter", 0)
    rest, calls = Recorded(), Calls()
    resumed = optimizer.minimize(rest, W0, max_iter=1000, tol=1e-5, memory=memory, callback=calls)
    assert resumed.converged == undisturbed.converged  # the paper's has no restarts: it is slow
    assert [n for n, _, _ in calls] == list(range(n_before + 1, resumed.n_iter + 1))
    if optimizer.resumes_exactly:
        assert resumed.w.tobytes() == undisturbed.w.tobytes()
        assert (resumed.n_iter, resumed.value) == (undisturbed.n_iter, undisturbed.value)
        assert_array_equal(rest.points, whole.points[len(whole.points) - len(rest.points) :])
    else:
        assert_allclose(resumed.w, undisturbed.w, atol=2e-5)


@every_optimizer
def test_a_finished_run_goes_on_without_a_round(optimizer: Optimizer) -> None:
    memory: dict[str, Any] = {}
    first = optimizer.minimize(Bowl(), W0, max_iter=3, tol=0.0, memory=memory)
    recorded = Recorded()
    again = optimizer.minimize(recorded, W0, max_iter=3, tol=0.0, memory=memory)
    assert (again.n_iter, again.value, recorded.points) == (3, first.value, [])
    assert_array_equal(again.w, first.w)


@every_optimizer
def test_a_memory_holds_arrays_and_plain_numbers(optimizer: Optimizer) -> None:
    memory: dict[str, Any] = {}
    optimizer.minimize(Bowl(), W0, max_iter=5, memory=memory)
    for held in memory.values():
        assert isinstance(held, (int, float)) or held.dtype == np.float64
