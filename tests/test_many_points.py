"""Several points in one round: what single calls give, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from code_lists import FEW
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.kernels import runs
from dask_gradcode.losses import Huber, Logistic, Loss, Multinomial, Squared
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import Fastest
from dask_gradcode.rounds.batches import MOST_BYTES, batches
from dask_gradcode.several import Several, abreast
from dask_gradcode.simulation import SimulatedObjective
from dask_gradcode.stragglers import FixedDelay
from dask_gradcode.typing import Evaluation, Matrix, Vector, many
from dask_gradcode.work import (
    Block,
    Centred,
    Crew,
    Work,
    WorkLike,
    as_work,
    compute_message,
    of_order,
    pieces_of,
)
from dask_gradcode.work.points import LossAtPoints
from helpers import logistic_data

every_code = pytest.mark.parametrize("code", FEW, ids=repr)
X, Y = logistic_data(300, 4)
W = np.random.default_rng(1).normal(size=(6, 5))


def blocks_of(code: GradientCode, form: Any = np.asarray) -> dict[int, Block]:
    """Blocks of unequal size."""
    borders = (np.linspace(0, 1, code.n_blocks + 1) ** 2 * len(Y)).astype(int).tolist()
    return {i: Block(form(X[a:b]), Y[a:b] * 1.0) for i, (a, b) in enumerate(pairwise(borders))}


def coded(code: GradientCode, work: WorkLike, form: Any = np.asarray) -> InProcessObjective:
    return InProcessObjective(code, blocks_of(code, form), work)


def half_squares(w: Vector, block: Block) -> tuple[float, Vector]:
    difference = block.X @ w[:4] + w[4] - block.y
    slopes = block.X.T @ difference
    return 0.5 * float(difference @ difference), np.append(slopes, difference.sum())


class InHalves(Work):
    """The same in two parts, unless of some rows; the number of rows has a section of its own."""

    is_foreign = False

    def __init__(self, rows: slice | None = None) -> None:
        self._rows = rows

    class WithCount(Statistic):
        @property
        def size(self) -> int:
            return 2 + self.n_parameters

    def statistic(self, w: Vector) -> Statistic:
        return self.WithCount.at(w)

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        if self._rows is not None:
            return (self,)
        middle = block.n_rows // 2
        return InHalves(slice(middle)), InHalves(slice(middle, None))

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        assert self._rows is not None
        assert out.flags.c_contiguous
        assert w.flags.c_contiguous
        part, statistic = Block(block.X[self._rows], block.y[self._rows]), self.statistic(w)
        value, gradient = half_squares(w, part)
        statistic.value(out)[()] += coefficient * value
        total = statistic.gradient(out)
        total += coefficient * gradient
        out[-1] += coefficient * part.n_rows
        return not should_stop()


def assert_same(together: Sequence[Evaluation], alone: Sequence[Evaluation]) -> None:
    """Check that evaluations are the same, bit for bit."""
    for seen, single in zip(together, alone, strict=True):
        assert (seen.value, seen.rounding) == (single.value, single.rounding)
        assert seen.gradient.tobytes() == single.gradient.tobytes()


@every_code
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_a_round_of_several_points_is_that_of_each_within_rounding(
    code: GradientCode, form: Any
) -> None:
    objective = coded(code, Logistic(), form)
    for seen, w in zip(objective.many(W), W, strict=True):
        alone = objective(w)
        assert_allclose(seen.value, alone.value, rtol=1e-13)
        assert_allclose(seen.gradient, alone.gradient, atol=1e-11)
        assert_allclose(seen.rounding, alone.rounding, rtol=1e-13)


@pytest.mark.parametrize("code", [code for code in FEW if not code.mixes], ids=repr)
@pytest.mark.parametrize(
    "work",
    [half_squares, InHalves(), InHalves(slice(None))],
    ids=["function", "parts", "blocks in one array"],
)
def test_what_has_no_such_pass_has_the_bits_of_single_calls(
    code: GradientCode, work: WorkLike
) -> None:
    objective = coded(code, work)
    assert_same(objective.many(W), [objective(w) for w in W])


@every_code
def test_one_point_has_the_bits_of_a_call(code: GradientCode) -> None:
    objective = coded(code, Logistic())
    assert_same(objective.many(W[:1]), [objective(W[0])])


def test_evaluations_share_the_record_of_their_round() -> None:
    objective = coded(FractionalRepetition(4, 1), Logistic())
    objective(W[0])
    seen = objective.many(W.tolist())
    assert {id(one.record) for one in seen} == {id(seen[0].record)}
    assert (seen[0].record.round, objective(W[0]).record.round) == (1, 2)
    assert np.isnan(seen[0].record.value)
    assert seen[0].record.grad_norm == max(abs(one.gradient).max() for one in seen)
    assert not any(np.may_share_memory(seen[0].gradient, other.gradient) for other in seen[1:])


def test_points_that_are_large_are_divided_among_rounds() -> None:
    n_parameters = MOST_BYTES // 8 // 2 - 1
    rows = csr_array((np.ones(2), ([0, 1], [3, 5])), shape=(2, n_parameters))
    objective = InProcessObjective(Uncoded(1), {0: Block(rows, np.ones(2))}, Squared())
    points = np.zeros((3, n_parameters))
    points[:, 3] = [1.0, 2.0, 4.0]
    seen = objective.many(points)
    assert [one.record.round for one in seen] == [0, 0, 1]
    assert [one.value for one in seen] == [0.5, 1.0, 5.0]
    assert [one.gradient[[3, 5]].tolist() for one in seen] == [
        [0.0, -1.0],
        [1.0, -1.0],
        [3.0, -1.0],
    ]


@given(st.integers(0, 30), st.integers(0, 5), st.integers(0, 300))
def test_batches_are_as_few_as_fit_in_order_and_of_one_size(n: int, p: int, most: int) -> None:
    points = np.arange(float(n * p)).reshape(n, p)
    found = batches(points, most)
    assert_array_equal(np.concatenate([np.empty((0, p)), *found]), points)
    sizes = [len(batch) for batch in found]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    fit = max(most // max(8 * p, 1), 1)
    assert len(found) == -(-n // fit)
    assert not any(np.shares_memory(batch, points) for batch in found)


def test_no_points_are_no_round() -> None:
    objective = coded(Uncoded(4), Logistic())
    assert objective.many(np.empty((0, 5))) == []
    assert objective(W[0]).record.round == 0


@pytest.mark.parametrize("points", [W[0], [], W[None]], ids=["one", "none", "three dimensions"])
def test_points_of_another_shape_are_refused_before_a_round(points: Any) -> None:
    objective = coded(Uncoded(4), Logistic())
    with pytest.raises(ValueError, match=r"W must have shape \(n_points, n_parameters\), .* got"):
        objective.many(points)
    assert objective(W[0]).record.round == 0


def test_points_of_another_size_are_refused_as_one_is() -> None:
    objective = coded(Uncoded(4), Logistic())
    for evaluate in (lambda: objective(W[0, :3]), lambda: objective.many(W[:, :3])):
        with pytest.raises(ValueError, match=r"w must have 4 entries .* got 3 with n_features=4"):
            evaluate()


@every_code
def test_a_simulated_objective_is_that_of_this_process_on_virtual_time(code: GradientCode) -> None:
    late = FixedDelay(3.0, workers=[0])
    virtual = SimulatedObjective(code, blocks_of(code), Logistic(), late)
    seen, here = virtual.many(W), coded(code, Logistic()).many(W)
    alone = SimulatedObjective(code, blocks_of(code), Logistic(), late)(W[0])
    assert seen[0].record.seconds == alone.record.seconds
    for one, other in zip(seen, here, strict=True):
        assert_allclose(one.value, other.value, rtol=1e-13)
        assert_allclose(one.gradient, other.gradient, atol=1e-11)


def test_an_approximate_rule_scales_all_points_up() -> None:
    objective = InProcessObjective(Uncoded(4), blocks_of(Uncoded(4)), half_squares, Fastest(2))
    assert_same(objective.many(W), [objective(w) for w in W])


def test_a_penalty_is_each_points_own() -> None:
    sums = coded(FractionalRepetition(4, 1), half_squares)
    objective = Penalised(sums, scale=0.5, alpha=3.0, n_penalised=4)
    assert_same(objective.many(W), [objective(w) for w in W])


def test_who_evaluates_one_point_at_a_time_says_so() -> None:
    with pytest.raises(TypeError, match=r"has no method many\(W\)"):
        many(lambda w: Evaluation(0.0, w), W)


def test_a_centred_work_tells_its_losss_value_and_gradient() -> None:
    centred = coded(Uncoded(4), Centred(Logistic(), np.full(4, 2.0))).many(W)
    assert_same(centred, coded(Uncoded(4), Logistic()).many(W))


@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0))], ids=repr)
def test_hessians_of_several_points_have_the_bits_of_each(loss: Loss) -> None:
    block = blocks_of(Uncoded(1))[0]
    points = np.random.default_rng(2).normal(size=(3, 5 * loss.n_outputs))
    single, work = of_order(as_work(loss), 2), of_order(as_work(loss), 2, n_points=3)
    several = work.statistic(abreast(points))
    assert isinstance(several, Several)
    total = np.zeros(several.size)
    assert work.add(block, abreast(points), 2.0, total, lambda: False)
    for k, w in enumerate(points):
        alone = np.zeros(several.each.size)
        assert single.add(block, w, 2.0, alone, lambda: False)
        assert_array_equal(several.point(total, k), alone)


@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0))], ids=repr)
def test_a_loss_at_one_point_is_that_loss(loss: Loss) -> None:
    z = np.random.default_rng(0).normal(size=(7, loss.n_outputs))
    z, y = z if loss.n_outputs > 1 else z[:, 0], np.arange(7) % 2.0
    for found, expected in zip(
        LossAtPoints(loss, 1).pointwise(z, y), loss.pointwise(z, y), strict=True
    ):
        assert_array_equal(found.reshape(expected.shape), expected)


def test_no_point_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one point, got n_points=0"):
        of_order(as_work(Logistic()), 1, n_points=0)


@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0)), Huber()], ids=repr)
def test_bits_do_not_depend_on_the_number_of_threads(
    loss: Loss, form: Callable[[Matrix], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_LEAST", 160)
    monkeypatch.setattr(runs, "_VALUES_OF_ENTRY", 1)
    code = DeclusteredRepetition(3, 1, n_leaves=2)
    blocks, work = blocks_of(code, form), of_order(as_work(loss), 1, n_points=3)
    w = abreast(np.random.default_rng(2).normal(size=(3, 5 * loss.n_outputs + loss.n_own)) ** 2)

    n_pieces: list[int] = []

    def computed(crew: Crew) -> Vector:
        def cut(leaf: int) -> Any:
            pieces = pieces_of(code, code.messages[leaf], blocks, work, w)
            n_pieces.append(len(pieces))
            return pieces

        found = compute_message(code, code.first(2)[0], cut, crew=crew)
        assert found is not None
        crew.close()
        return found

    assert_array_equal(computed(Crew(3)), computed(Crew(1)))
    assert max(n_pieces) > 1


def test_work_that_is_no_longer_wanted_ends_between_two_points() -> None:
    seen: list[float] = []

    def function(w: Vector, block: Block) -> tuple[float, Vector]:
        seen.append(w[0])
        return 0.0, w

    work, out = of_order(as_work(function), 1, n_points=3), np.zeros(6)
    point = np.array([1.0, 2.0, 3.0])
    assert not work.add(blocks_of(Uncoded(1))[0], point, 1.0, out, lambda: len(seen) == 2)
    assert seen == [1.0, 2.0]
