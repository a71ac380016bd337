"""Minimisations in step: each as if it were alone, in the rounds of the longest."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import (
    LBFGS,
    GradientDescent,
    Nesterov,
    NewtonCholesky,
    Optimizer,
    Solution,
    in_step,
)
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector
from dask_gradcode.work import Block
from helpers import logistic_data

X, Y = logistic_data(200, 4)
CS = (0.01, 1.0, 100.0)
SUMS = FractionalRepetition(4, 1)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = {*threading.enumerate()}
    yield
    assert {*threading.enumerate()} == before


class Counted:
    """A sum over rows that notes at how many points each of its rounds was, and for which order."""

    def __init__(self) -> None:
        rows = {i: Block(X[50 * i : 50 * i + 50], Y[50 * i : 50 * i + 50] * 1.0) for i in range(4)}
        self._objective = InProcessObjective(SUMS, rows, Logistic())
        self.rounds: list[tuple[int, int]] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, w: Vector) -> Evaluation:
        self.rounds.append((1, 1))
        return self._objective(w)

    def second_order(self, w: Vector) -> Evaluation:
        self.rounds.append((2, 1))
        return self._objective.second_order(w)

    def many(self, W: Matrix) -> list[Evaluation]:
        self.rounds.append((1, len(W)))
        self.threads.add(threading.current_thread())
        return self._objective.many(W)


class Bowls:
    """``|w - k|^2`` by turns: which points it is asked for is what counts."""

    def __init__(self, error: BaseException | None = None, at: int = 0) -> None:
        self._error, self._at = error, at
        self.turns: list[list[float]] = []

    def __call__(self, w: Vector) -> Evaluation:
        return Evaluation(float(w @ w), 2 * w)

    def many(self, W: Matrix) -> list[Evaluation]:
        self.turns.append(W[:, 0].tolist())
        if self._error is not None and len(self.turns) == self._at:
            raise self._error
        return [self(w) for w in W]


def path(solver: Optimizer, tol: float = 1e-8) -> list[Callable[[Objective], Solution]]:
    """Logistic regressions of several penalties."""

    def of(C: float) -> Callable[[Objective], Solution]:
        def run(sums: Objective) -> Solution:
            penalised = Penalised(sums, scale=1 / 200, alpha=1 / (200 * C), n_penalised=4)
            return solver.minimize(penalised, np.zeros(5), tol=tol, max_iter=2000)

        return run

    return [of(C) for C in CS]


def points(*at: float) -> Callable[[Objective], str]:
    """A run that looks at some points, one after the other."""

    def run(objective: Objective) -> str:
        for x in at:
            assert objective(np.array([x])).value == x * x
        return f"saw {len(at)}"

    return run


SOLVERS = [LBFGS(), GradientDescent(), Nesterov(), NewtonCholesky()]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_each_ends_where_it_ends_alone_and_scikit_learn_does(solver: Optimizer) -> None:
    together, alone = in_step(Counted(), path(solver)), [run(Counted()) for run in path(solver)]
    for C, solution, single in zip(CS, together, alone, strict=True):
        assert solution.converged
        assert_allclose(solution.w, single.w, atol=1e-7)
        assert_allclose(solution.value, single.value, rtol=1e-13)
        theirs = LogisticRegression(C=C, tol=1e-12, solver="newton-cg", max_iter=1000).fit(X, Y)
        assert_allclose(solution.w, [*theirs.coef_[0], *theirs.intercept_], atol=2e-5)


@pytest.mark.parametrize("solver", SOLVERS[:3], ids=repr)
def test_rounds_are_those_of_the_longest_run(solver: Optimizer) -> None:
    alone = []
    for run in path(solver, tol=1e-4):
        counted = Counted()
        run(counted)
        alone.append(len(counted.rounds))
    counted = Counted()
    in_step(counted, path(solver, tol=1e-4))
    assert len({*alone}) > 1
    assert len(counted.rounds) == max(alone) < sum(alone)
    assert counted.rounds == [(1, sum(n > i for n in alone)) for i in range(max(alone))]
    assert counted.threads == {threading.current_thread()}


def test_a_hessian_takes_a_round_by_itself() -> None:
    counted = Counted()
    in_step(counted, [path(NewtonCholesky())[0], *path(LBFGS())[1:]])
    assert {n_points for order, n_points in counted.rounds if order == 2} == {1}
    assert max(n_points for order, n_points in counted.rounds if order == 1) > 1


def test_a_solver_of_anyones_takes_part() -> None:
    def scipys(objective: Objective) -> Any:
        def f(w: Vector) -> tuple[float, Vector]:
            seen = objective(w)
            return seen.value + 0.5 * float(w[:4] @ w[:4]), seen.gradient + np.append(w[:4], 0.0)

        return minimize(f, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-6})

    counted = Counted()
    found, ours = in_step(counted, [scipys, path(LBFGS())[1]])
    assert_allclose(found.x, ours.w, atol=1e-5)
    assert found.nfev <= len(counted.rounds)


def test_they_run_in_turn_and_whoever_has_ended_takes_no_part_any_more() -> None:
    bowls = Bowls()
    runs = [points(1.0, 2.0), points(), points(5.0, 6.0, 7.0), points(9.0)]
    assert in_step(bowls, runs) == ["saw 2", "saw 0", "saw 3", "saw 1"]
    assert bowls.turns == [[1.0, 5.0, 9.0], [2.0, 6.0], [7.0]]


def test_only_one_runs_at_a_time_in_their_order() -> None:
    told: list[str] = []

    def named(name: str) -> Callable[[Objective], None]:
        def run(objective: Objective) -> None:
            for turn in range(3):
                told.append(f"{name}{turn}")
                objective(np.zeros(1))
            told.append(f"{name} ends")

        return run

    in_step(Bowls(), [named("a"), named("b")])
    assert told == ["a0", "b0", "a1", "b1", "a2", "b2", "a ends", "b ends"]


def test_none_are_no_rounds() -> None:
    bowls = Bowls()
    assert in_step(bowls, []) == []
    assert bowls.turns == []


def test_a_point_may_change_once_it_has_been_evaluated() -> None:
    def run(objective: Objective) -> list[float]:
        w, values = np.zeros(1), []
        for _ in range(3):
            values.append(objective(w).value)
            w += 1.0
        return values

    assert in_step(Bowls(), [run, run]) == [[0.0, 1.0, 4.0]] * 2


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), KeyboardInterrupt()])
def test_an_error_of_a_run_ends_all_of_them(error: BaseException) -> None:
    ended: list[str] = []

    def failing(objective: Objective) -> None:
        objective(np.zeros(1))
        raise error

    def tidy(objective: Objective) -> None:
        try:
            while True:
                objective(np.ones(1))
        except Exception:
            ended.append("it was taken for an error of the objective's")
        finally:
            ended.append("tidied up")

    bowls = Bowls()
    with pytest.raises(type(error)) as caught:
        in_step(bowls, [tidy, failing, tidy])
    assert caught.value is error
    assert bowls.turns == [[1.0, 0.0, 1.0]]
    assert ended == ["tidied up"] * 2


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 3])
def test_errors_and_interrupts_in_the_objective_pass_through(error: BaseException, at: int) -> None:
    bowls = Bowls(error, at)
    with pytest.raises(type(error)) as caught:
        in_step(bowls, [points(*range(10)), points(*range(5))])
    assert caught.value is error
    assert len(bowls.turns) == at


def test_an_interrupt_while_a_run_computes_ends_it_at_its_next_call() -> None:
    calls: list[int] = []

    def run(objective: Objective) -> None:
        objective(np.zeros(1))
        _thread.interrupt_main()  # as Ctrl-C, while the caller waits for this thread
        for i in range(1_000_000):
            calls.append(i)
            objective(np.zeros(1))

    with pytest.raises(KeyboardInterrupt):
        in_step(Bowls(), [points(0.0, 1.0, 2.0), run])
    assert len(calls) < 10


def test_a_run_that_goes_on_after_it_was_given_up_is_given_up_again() -> None:
    tries: list[int] = []

    def stubborn(objective: Objective) -> None:
        for i in range(3):
            try:
                objective(np.zeros(1))
            except BaseException:
                tries.append(i)

    def failing(objective: Objective) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        in_step(Bowls(), [stubborn, failing])
    assert tries == [0, 1, 2]


def test_an_objective_of_one_point_at_a_time_is_refused() -> None:
    with pytest.raises(TypeError, match=r"has no method many\(W\)"):
        in_step(lambda w: Evaluation(0.0, w), [points(1.0)])


def test_points_of_different_sizes_are_refused() -> None:
    def larger(objective: Objective) -> None:
        objective(np.zeros(2))

    with pytest.raises(ValueError, match=r"points of the same size, got .* \[\(1,\), \(2,\)\]"):
        in_step(Bowls(), [points(1.0), larger])


def test_numpys_error_state_is_the_callers() -> None:
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        in_step(Bowls(), [lambda objective: np.float64(1e300) * np.float64(1e300)])


def test_runs_in_step_can_be_nested() -> None:
    def outer(objective: Objective) -> list[str]:
        class Both:
            def __call__(self, w: Vector) -> Evaluation:
                return objective(w)

            def many(self, W: Matrix) -> list[Evaluation]:
                return [objective(w) for w in W]

        return in_step(Both(), [points(1.0, 2.0), points(3.0)])

    bowls = Bowls()
    assert in_step(bowls, [outer, points(9.0)]) == [["saw 2", "saw 1"], "saw 1"]
    assert_array_equal(np.concatenate(bowls.turns), [1.0, 9.0, 3.0, 2.0])
