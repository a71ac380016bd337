"""L-BFGS against scipy's own, and against scikit-learn's logistic regression."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import OptimizeResult, minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS, Solution
from dask_gradcode.typing import Evaluation, Matrix, Vector
from dask_gradcode.work import Block


def rosenbrock(w: Vector) -> Evaluation:
    """A curved valley in ten dimensions: line searches reject and shorten steps in it."""
    a, b = w[:-1], w[1:]
    gradient = np.zeros_like(w)
    gradient[:-1] = -400 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 200 * (b - a**2)
    return Evaluation(float((100 * (b - a**2) ** 2 + (1 - a) ** 2).sum()), gradient)


START = np.linspace(-1.5, 2.0, 10)


@pytest.mark.parametrize("n_corrections", [1, 10, 30])
@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-4), (15, 1e-4), (500, 1e-4)])
def test_iterates_and_counts_are_scipys_with_scikit_learns_options(
    n_corrections: int, max_iter: int, tol: float
) -> None:
    theirs: list[Vector] = []
    ours: list[Vector] = []

    def keep(intermediate_result: OptimizeResult) -> None:
        theirs.append(intermediate_result.x.copy())

    expected = minimize(
        lambda w: (rosenbrock(w).value, rosenbrock(w).gradient),
        START,
        method="L-BFGS-B",
        jac=True,
        callback=keep,
        options={  # as in sklearn.linear_model._logistic, but for maxcor
            "maxiter": max_iter,
            "maxls": 50,
            "gtol": tol,
            "ftol": 64 * np.finfo(float).eps,
            "maxcor": n_corrections,
        },
    )
    solution = LBFGS(n_corrections).minimize(
        rosenbrock, START, max_iter=max_iter, tol=tol, callback=lambda _, w, __: ours.append(w)
    )
    assert_array_equal(ours, theirs)
    assert_array_equal(solution.w, expected.x)
    assert_array_equal(solution.gradient, expected.jac)
    assert (solution.value, solution.n_iter) == (expected.fun, expected.nit)
    assert (solution.converged, solution.message) == (expected.success, expected.message)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("tol", [1e-8, 1e-10])
def test_it_goes_on_where_scipys_value_no_longer_falls(offset: float, tol: float) -> None:
    def lifted(w: Vector) -> Evaluation:
        """A bowl of condition 1e4, so high that its value is known to 1e-10 or worse."""
        h = np.logspace(0, 4, 10)
        return Evaluation(offset + float(0.5 * h @ (w - 1.0) ** 2), h * (w - 1.0))

    solution = LBFGS().minimize(lifted, START, max_iter=500, tol=tol)
    assert solution.converged
    assert abs(solution.gradient).max() <= tol


def test_it_evaluates_what_scipy_evaluates_and_nothing_more() -> None:
    n_calls = 0

    def counted(w: Vector) -> Evaluation:
        nonlocal n_calls
        n_calls += 1
        return rosenbrock(w)

    solution = LBFGS().minimize(counted, START, max_iter=500)
    expected = minimize(
        lambda w: (rosenbrock(w).value, rosenbrock(w).gradient),
        START,
        method="L-BFGS-B",
        jac=True,
        options={"maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps},
    )
    assert n_calls == expected.nfev > solution.n_iter + 1  # some steps were rejected


def test_more_corrections_take_another_path() -> None:
    few, many = (LBFGS(n).minimize(rosenbrock, START, max_iter=500).n_iter for n in (1, 30))
    assert many < few


def breast_cancer() -> tuple[Matrix, Vector]:
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y.astype(float)


def fit_coded(
    code: GradientCode, loss: Logistic, C: float, intercept: bool, total: float
) -> Solution:
    X, y = breast_cancer()
    borders = [len(y) * i // code.n_blocks for i in range(code.n_blocks + 1)]
    blocks = {i: Block(X[a:b], y[a:b]) for i, (a, b) in enumerate(pairwise(borders))}
    objective = Penalised(
        InProcessObjective(code, blocks, loss),
        scale=1 / total,
        alpha=1 / (C * total),
        n_penalised=X.shape[1],
    )
    return LBFGS().minimize(objective, np.zeros(X.shape[1] + intercept))


@pytest.mark.parametrize(
    "code", [Uncoded(1), Uncoded(5), FractionalRepetition(6, 1), CyclicRepetition(5, 2)], ids=repr
)
@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_a_coded_fit_is_scikit_learns(code: GradientCode, C: float, intercept: bool) -> None:
    X, y = breast_cancer()
    solution = fit_coded(code, Logistic(), C, intercept, total=len(y))
    theirs = LogisticRegression(C=C, fit_intercept=intercept, solver="lbfgs").fit(X, y)
    assert solution.converged
    assert solution.n_iter == theirs.n_iter_[0]
    assert_allclose(solution.w[:30], theirs.coef_[0], rtol=1e-6, atol=1e-9)
    if intercept:
        assert_allclose(solution.w[30], theirs.intercept_[0], rtol=1e-6)


def test_class_weights_are_scikit_learns() -> None:
    X, y = breast_cancer()
    loss = Logistic(class_weight=(3.0, 0.5))
    total = float(np.where(y == 1.0, 0.5, 3.0).sum())
    solution = fit_coded(FractionalRepetition(4, 1), loss, 1.0, True, total)
    theirs = LogisticRegression(class_weight={0.0: 3.0, 1.0: 0.5}).fit(X, y)
    assert solution.n_iter == theirs.n_iter_[0]
    assert_allclose(solution.w[:30], theirs.coef_[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("rounding", "converged"), [(0.0, False), (0.9, False), (1.0, True)])
def test_an_abnormal_end_is_converged_only_within_the_rounding_of_the_gradient(
    rounding: float, converged: bool
) -> None:
    # The value is flat, so that no line search finds a better point.
    seen = Evaluation(0.0, np.array([1.0, -0.5]), rounding=rounding)
    solution = LBFGS().minimize(lambda w: seen, np.zeros(2))
    assert "ABNORMAL" in solution.message
    assert (solution.n_iter, solution.converged) == (0, converged)
    assert_array_equal(solution.w, np.zeros(2))


def test_after_an_abnormal_end_the_solution_is_the_last_accepted_point() -> None:
    def cliff(w: Vector) -> Evaluation:
        """A bowl whose bottom is out of reach."""
        inside = float(w @ w) <= 2.0
        return Evaluation(100.0 if inside else 0.5 * float(w @ w), w.copy())

    accepted = [np.array([8.0, 3.0])]
    solution = LBFGS().minimize(cliff, accepted[0], callback=lambda _, w, __: accepted.append(w))
    assert "ABNORMAL" in solution.message
    assert solution.n_iter > 2
    assert not solution.converged
    assert_array_equal(solution.w, accepted[-1])
    assert (solution.value, solution.n_iter) == (cliff(solution.w).value, len(accepted) - 1)


@pytest.mark.parametrize("n_corrections", [0, -1, 1.0, 2.5, True, "10", None])
def test_a_number_of_corrections_that_is_no_positive_int_is_refused(n_corrections: object) -> None:
    with pytest.raises(ValueError, match=rf"int in the range \[1, inf\), got {n_corrections!r}"):
        LBFGS(n_corrections)  # type: ignore[arg-type]


def test_a_numpy_integer_is_a_number_of_corrections() -> None:
    assert LBFGS(np.int64(7)) == LBFGS(7)  # type: ignore[arg-type]
    assert LBFGS(np.int64(7)).minimize(rosenbrock, START, max_iter=500).converged  # type: ignore[arg-type]


def test_a_careful_search_goes_on_along_the_floor_of_a_valley() -> None:
    curvature = np.logspace(0, -8, 12)

    def valley(w: Vector) -> Evaluation:
        return Evaluation(float(0.5 * curvature @ (w - 1.0) ** 2), curvature * (w - 1.0))

    plain, careful = (
        LBFGS(careful=careful).minimize(valley, np.zeros(12), tol=1e-6, max_iter=1000)
        for careful in (False, True)
    )
    assert plain.converged
    assert careful.converged
    assert careful.value < 0.2 * plain.value
    again = LBFGS(careful=True).minimize(valley, careful.w, tol=1e-6)
    assert (again.n_iter, again.converged) == (0, True)
    short = LBFGS(careful=True).minimize(valley, np.zeros(12), tol=1e-6, max_iter=plain.n_iter)
    assert not short.converged
    assert "so flat is the objective" in short.message
