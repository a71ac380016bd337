"""The bits of a payload: the same on any number of threads, for every code, loss and form of X."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from code_lists import FEW
from dask_gradcode.cluster.data.stacked import StackedRows
from dask_gradcode.codes import DeclusteredRepetition, GradientCode, Uncoded
from dask_gradcode.kernels import (
    CHUNK_VALUES,
    add_hessian,
    add_value_and_gradient,
    runs,
    runs_of_rows,
)
from dask_gradcode.losses import Huber, Logistic, Loss, Multinomial, Poisson, Squared
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Vector
from dask_gradcode.work import (
    Block,
    Crew,
    WorkLike,
    as_work,
    compute_message,
    of_order,
    pieces_of,
)
from helpers import name_of

CREWS = [Crew(n) for n in (1, 2, 4)]
LOSSES: list[Loss] = [Logistic(), Multinomial((0.0, 1.0, 2.0)), Squared(), Poisson(), Huber()]


@pytest.fixture(scope="module", autouse=True)
def crews() -> Iterator[None]:
    yield
    for crew in CREWS:
        crew.close()


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 20 rows make a run."""
    monkeypatch.setattr(runs, "_LEAST", 160)
    monkeypatch.setattr(runs, "_VALUES_OF_ENTRY", 1)


def half_squares(w: Vector, block: Block) -> tuple[float, Vector]:
    difference = block.X @ w - block.y
    return 0.5 * float(difference @ difference), block.X.T @ difference


def dense(X: Any) -> Any:
    return X


def stacked(X: Any) -> Any:
    return StackedRows([X[:17], X[17:]])


def sparse(X: Any) -> Any:
    return csr_array(np.where(np.abs(X) > 1.0, X, 0.0))


def blocks_of(code: GradientCode, form: Callable[[Any], Any] = dense) -> dict[int, Block]:
    rng = np.random.default_rng(0)
    blocks = {}
    for index in range(code.n_blocks):
        n = 80 + 7 * index
        X, weight = rng.standard_normal((n, 3)), rng.random(n) if index % 2 else None
        blocks[index] = Block(form(X), rng.integers(0, 3, n).astype(float), weight)
    return blocks


def point(work: WorkLike) -> Vector:
    n = 3 if not isinstance(work, Loss) else work.n_outputs * 4 + work.n_own
    return np.asarray(np.random.default_rng(1).random(n))


def payload(
    code: GradientCode, message: int, blocks: dict[int, Block], work: WorkLike, crew: Crew
) -> Vector:
    w = point(work)

    def cut(leaf: int) -> Any:
        return pieces_of(code, code.messages[leaf], blocks, as_work(work), w)

    found = compute_message(code, message, cut, crew=crew)
    assert found is not None
    return found


@pytest.mark.parametrize("form", [dense, sparse])
@pytest.mark.parametrize("work", [Logistic(), half_squares], ids=name_of)
@pytest.mark.parametrize("code", [*FEW, DeclusteredRepetition(3, 1, n_leaves=4)], ids=repr)
@pytest.mark.usefixtures("short_runs")
def test_bits_do_not_depend_on_the_number_of_threads(
    code: GradientCode, work: WorkLike, form: Callable[[Any], Any]
) -> None:
    blocks = blocks_of(code, form)
    for message in {0, len(code.messages) - 1}:
        alone, *others = [payload(code, message, blocks, work, crew) for crew in CREWS]
        for other in others:
            assert_array_equal(other, alone)


@pytest.mark.parametrize("form", [dense, stacked, sparse])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.usefixtures("short_runs")
def test_the_runs_of_a_block_add_up_to_it(loss: Loss, form: Callable[[Any], Any]) -> None:
    code = Uncoded(2)
    block, w = blocks_of(code, form)[1], point(loss)
    whole = np.zeros(1 + w.size)
    assert add_value_and_gradient(loss, block.X, block.y, block.sample_weight, w, 1.0, whole)
    assert len(pieces_of(code, code.messages[1], {1: block}, as_work(loss), w)) in (4, 8)
    alone, *others = [payload(code, 1, {1: block}, loss, crew) for crew in CREWS]
    assert_allclose(alone, whole, rtol=1e-12)
    for other in others:
        assert_array_equal(other, alone)


@pytest.mark.parametrize("form", [dense, stacked, sparse])
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.has_curvature], ids=repr)
@pytest.mark.usefixtures("short_runs")
def test_a_hessian_has_the_same_bits_too_and_leaves_those_of_the_gradient(
    loss: Loss, form: Callable[[Any], Any]
) -> None:
    code, work, w = Uncoded(2), of_order(as_work(loss), 2), point(loss)
    block, statistic = blocks_of(code, form)[1], Statistic.at(w, order=2)
    whole = np.zeros(statistic.size)
    assert add_hessian(loss, block.X, block.y, block.sample_weight, w, 1.0, whole)

    def of_both(crew: Crew) -> Vector:
        pieces = pieces_of(code, code.messages[1], {1: block}, work, w)
        assert len(pieces) in (4, 8)
        found = compute_message(code, 1, lambda leaf: pieces, crew=crew)
        assert found is not None
        return found

    alone, *others = map(of_both, CREWS)
    assert_allclose(statistic.hessian(alone), statistic.hessian(whole), rtol=1e-12, atol=1e-12)
    assert_array_equal(alone[: 1 + w.size], payload(code, 1, {1: block}, loss, CREWS[0]))
    for other in others:
        assert_array_equal(other, alone)


@pytest.mark.parametrize("form", [dense, sparse])
def test_blocks_of_a_usual_size_are_divided_too(form: Callable[[Any], Any]) -> None:
    code, rng = Uncoded(1), np.random.default_rng(0)
    X = form(rng.standard_normal((140_000, 20)))
    blocks, w = {0: Block(X, (rng.random(140_000) < 0.5).astype(float))}, rng.standard_normal(20)

    def cut(leaf: int) -> Any:
        return pieces_of(code, code.messages[leaf], blocks, as_work(Logistic()), w)

    assert len(cut(0)) in (2, 4)
    alone, *others = [compute_message(code, 0, cut, crew=crew) for crew in CREWS]
    for other in others:
        assert_array_equal(other, alone)
    seen = InProcessObjective(code, blocks, Logistic())(w)
    assert_array_equal([seen.value, *seen.gradient], alone)


@pytest.mark.usefixtures("short_runs")
def test_each_block_of_a_function_is_one_call_and_an_error_names_the_block() -> None:
    code = FEW[4]  # cyclic: three blocks a message
    blocks, calls = blocks_of(code), list[Block]()
    message = code.messages[3]

    def function(w: Vector, block: Block) -> tuple[float, Vector]:
        calls.append(block)
        if block is blocks[message.blocks[1]]:
            raise ZeroDivisionError("no rows to my taste")
        return 0.0, w

    with closing(Crew(4)) as crew, pytest.raises(ZeroDivisionError) as caught:
        payload(code, 3, blocks, function, crew)
    assert caught.value.__notes__ == [f"while computing block {message.blocks[1]}"]
    assert all(any(call is block for block in blocks.values()) for call in calls)
    assert len({id(call) for call in calls}) == len(calls)


# ---- how rows are divided


def n_runs(n_rows: int, n_columns: int, n_outputs: int = 1) -> int:
    X = np.broadcast_to(0.0, (n_rows, n_columns))
    return len(runs_of_rows(X, n_outputs, n_outputs * n_columns))


@pytest.mark.parametrize("n_rows", [0, 1, 5, 41_943, 41_944, 83_887, 1_000_003])
def test_runs_are_all_rows_in_order_and_their_number_a_power_of_two(n_rows: int) -> None:
    found = runs_of_rows(np.broadcast_to(0.0, (n_rows, 50)), 1, 51)
    assert [row for run in found for row in (run.start, run.stop)][1:-1] == [
        run.stop for run in found[:-1] for _ in range(2)
    ]
    assert (found[0].start, found[-1].stop) == (0, n_rows)
    lengths = [run.stop - run.start for run in found]
    assert max(lengths) - min(lengths) <= 1
    assert len(found) in (1, 2, 4, 8)


def test_a_run_has_two_chunks_at_least_and_there_are_eight_at_most() -> None:
    rows = 2 * CHUNK_VALUES // 64  # of a run
    assert [n_runs(n * rows - 1, 64) for n in (2, 4, 8)] == [1, 2, 4]
    assert [n_runs(n * rows, 64) for n in (2, 4, 8, 100)] == [2, 4, 8, 8]


def test_wide_rows_are_divided_less_where_adding_up_would_cost_more_than_the_twentieth() -> None:
    # a dense block of r rows, as many arrays as wide: 40 r for each array but the first
    assert [n_runs(r, 100_000) for r in (39, 40, 119, 120, 279, 280)] == [1, 2, 2, 4, 4, 8]


def test_what_is_stored_counts_in_sparse_rows_and_the_loss_where_little_is() -> None:
    n_rows = 4 * 2 * CHUNK_VALUES // 8
    narrow = csr_array((n_rows, 10))
    assert len(runs_of_rows(narrow, 1, 11)) == 4
    assert len(runs_of_rows(narrow, 2, 21)) == 8
    assert len(runs_of_rows(csr_array((n_rows, 50_000)), 1, 50_001)) == 2
