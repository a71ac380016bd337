"""Losses, functions and works of one's own: the same sums and errors wherever they are computed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Huber, Multinomial, Squared
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS, Solution, in_step
from dask_gradcode.payloads import Statistic
from dask_gradcode.simulation import SimulatedObjective
from dask_gradcode.stragglers import FixedDelay
from dask_gradcode.typing import Evaluation, ManyPointsObjective, Objective, Vector
from dask_gradcode.work import Block, Work, WorkLike

pytestmark = pytest.mark.cluster

T = TypeVar("T")

CODE = FractionalRepetition(4, 1)
# whole numbers, whose sums are exact: the order of additions leaves no trace
X = np.random.default_rng(0).integers(-3, 4, (40, 3)).astype(float)
Y = X @ [1.0, -2.0, 0.0] + np.arange(40) % 3
W = np.array([2.0, 1.0, -4.0])
PORTS = ["in process", "simulated", "tasks", "stream"]
every_port = pytest.mark.parametrize("port", PORTS)


# What is made in a function travels by value: no worker need find this file.
def a_function() -> Callable[[Vector, Block], tuple[float, Vector]]:
    def half_squares(w: Vector, block: Block) -> tuple[float, Vector]:
        difference = block.X @ w - block.y
        return 0.5 * difference @ difference, block.X.T @ difference

    return half_squares


def row_by_row() -> Work:

    class RowByRow(Work):
        def add(
            self,
            block: Block,
            w: Vector,
            coefficient: float,
            out: Vector,
            should_stop: Callable[[], bool],
        ) -> bool:
            statistic = self.statistic(w)
            value, gradient = statistic.value(out), statistic.gradient(out)
            for x, y in zip(block.X, block.y, strict=True):
                if should_stop():
                    return False
                value[()] += coefficient * 0.5 * (x @ w - y) ** 2
                gradient += coefficient * (x @ w - y) * x
            return True

    return RowByRow()


def with_a_further_section() -> Work:
    class WithCount(Statistic):
        @property
        def size(self) -> int:
            return 2 + self.n_parameters

    class Counting(type(row_by_row())):  # type: ignore[misc]
        def statistic(self, w: Vector) -> Statistic:
            return WithCount.at(w)

        def add(self, block: Block, w: Vector, coefficient: float, out: Vector, *rest: Any) -> bool:
            out[-1] += coefficient * block.n_rows
            return bool(super().add(block, w, coefficient, out, *rest))

    return Counting()


WORKS = [Squared(), a_function(), row_by_row(), with_a_further_section()]
every_work = pytest.mark.parametrize("work", WORKS, ids=["loss", "function", "own", "sections"])


@pytest.fixture(scope="module")
def data(client: Client) -> Any:
    with place(X, Y, code=CODE) as placed:
        yield placed


def evaluated(work: WorkLike, w: Vector, port: str, data: Placement, order: int = 1) -> Evaluation:
    """Run one round wherever it is asked for."""
    return on_port(work, port, data, lambda seen: seen(w) if order == 1 else seen.second_order(w))


def on_port(work: WorkLike, port: str, data: Placement, at: Callable[[Any], T]) -> T:
    """Do something with the objective that a port has."""
    borders = np.cumsum([0, *data.block_rows]).astype(int)
    blocks = {i: Block(X[a:b], Y[a:b]) for i, (a, b) in enumerate(pairwise(borders))}
    if port == "in process":
        return at(InProcessObjective(CODE, blocks, work))
    if port == "simulated":
        return at(SimulatedObjective(CODE, blocks, work, FixedDelay(0.0)))
    with ClusterObjective(data, work, transport=port) as objective:
        return at(objective)


@every_port
@every_work
def test_every_work_has_the_same_sum_on_every_port(
    work: WorkLike, port: str, data: Placement
) -> None:
    seen = evaluated(work, W, port, data)
    value, gradient = a_function()(W, Block(X, Y))
    assert seen.value == value
    assert_array_equal(seen.gradient, gradient)


@every_port
@every_work
def test_every_work_has_the_same_sums_at_several_points_on_every_port(
    work: WorkLike, port: str, data: Placement
) -> None:
    points = W + np.arange(12.0).reshape(4, 3)

    def twice(objective: ManyPointsObjective) -> tuple[list[Evaluation], Evaluation]:
        return objective.many(points), objective(W)  # others in the next round

    together, alone = on_port(work, port, data, twice)
    for seen, w in zip([*together, alone], [*points, W], strict=True):
        value, gradient = a_function()(w, Block(X, Y))
        assert seen.value == value
        assert_array_equal(seen.gradient, gradient)
    assert [seen.record.round for seen in together] == [0] * 4
    assert alone.record.round == 1


@every_port
def test_minimisations_in_step_end_where_the_normal_equations_say_on_every_port(
    port: str, data: Placement
) -> None:
    def ridge(alpha: float) -> Callable[[Objective], Solution]:
        def run(sums: Objective) -> Solution:
            penalised = Penalised(sums, scale=1.0, alpha=alpha, n_penalised=3)
            return LBFGS().minimize(penalised, np.zeros(3), tol=1e-8)

        return run

    alphas = (0.0, 10.0, 1000.0)
    solutions = on_port(Squared(), port, data, lambda sums: in_step(sums, [*map(ridge, alphas)]))
    for alpha, solution in zip(alphas, solutions, strict=True):
        assert_allclose(solution.w, np.linalg.solve(X.T @ X + alpha * np.eye(3), X.T @ Y))


@every_port
def test_a_loss_tells_its_hessian_on_every_port(port: str, data: Placement) -> None:
    seen = evaluated(Squared(), W, port, data, order=2)
    assert seen.hessian is not None
    assert_array_equal(seen.hessian, X.T @ X)
    first = evaluated(Squared(), W, port, data)
    assert (first.value, first.hessian) == (seen.value, None)
    assert first.gradient.tobytes() == seen.gradient.tobytes()


@every_port
@pytest.mark.parametrize("work", [Huber(), a_function()], ids=["loss", "function"])
def test_what_has_no_second_derivatives_says_so_on_every_port(
    work: WorkLike, port: str, data: Placement
) -> None:
    with pytest.raises(TypeError, match=r"solver='newton-cholesky' needs.* Use solver='lbfgs'"):
        evaluated(work, np.append(W, 1.0), port, data, order=2)


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_the_hessian_of_few_columns_finds_its_place_among_all(
    client: Client, transport: str
) -> None:
    dense = np.zeros((40, 12))
    dense[np.arange(40), np.arange(40) // 10 * 3] = 2.0  # each block has a column of its own
    dense[:, 1] = np.arange(40) % 4
    y, w = np.arange(40) % 3, np.linspace(-0.1, 0.1, 39)
    loss = Multinomial((0.0, 1.0, 2.0))
    with (
        place(csr_array(dense), y, code=CODE) as data,
        ClusterObjective(data, loss, transport=transport) as objective,
    ):
        assert all(columns is not None for columns in data.roles.columns.values())
        seen = [objective.second_order(w), objective(w), objective.second_order(w)]
    borders = np.cumsum([0, *data.block_rows]).astype(int)
    blocks = {i: Block(dense[a:b], 1.0 * y[a:b]) for i, (a, b) in enumerate(pairwise(borders))}
    expected = InProcessObjective(CODE, blocks, loss).second_order(w)
    assert_allclose(seen[0].hessian, expected.hessian, atol=1e-12)
    assert_array_equal(seen[2].hessian, seen[0].hessian)
    assert {found.value for found in seen} == {seen[1].value}


@every_port
@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        (7.0, TypeError, r"It returned 7\.0 \(float\)"),
        (None, TypeError, r"It returned None \(NoneType\)"),
        ((1.0, [2.0] * 3, "more"), TypeError, "It returned a tuple of 3"),
        (("much", [2.0] * 3), TypeError, r"Its value is 'much' \(str\)"),
        ((np.ones(3), np.ones(3)), TypeError, r"Its value is an array of float64 and shape \(3,\)"),
        ((1.0, None), TypeError, r"Its gradient is None \(NoneType\)"),
        ((1.0, np.ones(3) * 1j), TypeError, r"gradient is an array of complex128 and shape \(3,\)"),
        ((1.0, np.ones((2, 3))), ValueError, r"gradient is an array of float64 and shape \(2, 3\)"),
        ((1.0, [2.0]), ValueError, "Its gradient is a list of 1"),
    ],
)
def test_a_function_that_returns_something_else_is_told_so_on_every_port(
    returned: Any, error: type[Exception], text: str, port: str, data: Placement
) -> None:
    expected = r"must return \(value, gradient\): a number and 3 numbers, as w has.* "
    with pytest.raises(error, match=expected + text) as caught:
        evaluated(lambda w, block: returned, W, port, data)
    note = caught.value.__notes__[0]
    assert note in [f"while computing block {i}" for i in range(CODE.n_blocks)]


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_a_work_that_knows_its_parameters_columns_gets_those_alone(
    client: Client, transport: str
) -> None:
    class ColumnSums(Work):
        per_column = 1

        def add(self, block: Block, w: Vector, coefficient: float, out: Vector, *_: Any) -> bool:
            assert w.size == block.X.shape[1] + 1
            statistic = self.statistic(w)
            value, gradient = statistic.value(out), statistic.gradient(out)
            value[()] += coefficient * block.X.shape[1]
            gradient[:-1] += coefficient * np.asarray(block.X.sum(axis=0))
            gradient[-1] += coefficient * block.n_rows
            return True

    rows = csr_array((np.ones(40), (np.arange(40), np.arange(40))), shape=(40, 200))
    with (
        place(rows, np.arange(40) % 2, code=CODE) as data,
        ClusterObjective(data, ColumnSums(), transport=transport) as objective,
    ):
        seen = objective(np.zeros(201))
    assert seen.value == 4 * 20  # each role has two blocks of 10 rows
    assert_array_equal(seen.gradient, [*np.ones(40), *np.zeros(160), 40.0])


def test_what_is_no_work_is_refused_before_a_round(data: Placement) -> None:
    with pytest.raises(TypeError, match=r"work must be a Loss, a function .*, got 'logistic'\."):
        ClusterObjective(data, "logistic")  # type: ignore[arg-type]
