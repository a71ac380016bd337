"""Roles that see few columns get and send those only, and no bit of the sum changes."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise, product
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, random_array

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.cluster.data.columns import WORTH_CUTTING, Columns, compact
from dask_gradcode.cluster.transport.passage import Passage
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, SlicedRepetition
from dask_gradcode.losses import Huber, Layout, Logistic, Loss, Multinomial
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.payloads import Statistic
from dask_gradcode.several import Several, abreast
from dask_gradcode.typing import Part, Vector
from dask_gradcode.work import Block, as_work

RNG = np.random.default_rng(0)


def sparse(n_rows: int, n_features: int, per_row: int) -> csr_array:
    density = per_row / n_features
    return csr_array(random_array((n_rows, n_features), density=density, format="csr", rng=RNG))


@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 3))
def test_compact_blocks_are_the_same_blocks(n_features: int, n_blocks: int, per_row: int) -> None:
    blocks = [sparse(3, n_features, min(per_row, n_features)) for _ in range(n_blocks)]
    before = [block.toarray() for block in blocks]
    found, columns = compact(blocks)
    if columns is None:
        columns = np.arange(n_features)
    else:
        assert 0 < columns.size <= WORTH_CUTTING * n_features
    for block, whole, given_ in zip(found, before, blocks, strict=True):
        widened = np.zeros_like(whole)
        widened[:, columns] = block.toarray()
        assert_array_equal(widened, whole)
        assert_array_equal(given_.toarray(), whole)  # the source is left alone


def test_w_is_cut_once_for_roles_with_the_same_columns() -> None:
    some, same, others = (np.array(c, dtype=np.int32) for c in ([1, 3], [1, 3], [0, 4]))
    columns = Columns(5, {0: some, 1: same, 2: others, 3: None})
    cut = columns.cut(np.arange(7.0))
    assert [cut(role).tolist() for role in range(4)] == [
        [1.0, 3.0, 5.0, 6.0],
        [1.0, 3.0, 5.0, 6.0],
        [0.0, 4.0, 5.0, 6.0],
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    ]
    assert cut(0) is cut(1)
    payload = np.array([9.0, 1.0, 3.0, 5.0, 6.0])
    part = columns.whole(1, payload, Statistic(7))
    assert isinstance(part, Part)
    assert (part.entries.tolist(), part.size) == ([0, 2, 4, 6, 7], 8)
    assert columns.whole(3, payload, Statistic(7)) is payload


def test_several_outputs_of_a_column_travel_together() -> None:
    some = np.array([1, 3], dtype=np.int32)
    columns = Columns(4, {0: some, 1: None}).of(2)
    w = np.arange(10.0)  # four columns of two coefficients, then two intercepts
    cut = columns.cut(w)
    assert cut(0).tolist() == [2.0, 3.0, 6.0, 7.0, 8.0, 9.0]
    assert cut(1).tolist() == w.tolist()
    assert cut(1) is not w  # the caller may change that while a worker does not read
    part = columns.whole(0, np.append(-1.0, cut(0)), Statistic(10))
    assert isinstance(part, Part)
    assert (part.entries - 1).tolist() == [-1, 2, 3, 6, 7, 8, 9]
    assert_array_equal(w[part.entries[1:] - 1], part.values[1:])


def test_several_points_are_cut_alike_and_find_their_places_again() -> None:
    some = np.array([1, 3], dtype=np.int32)
    columns = Columns(4, {0: some, 1: None}).of(2)
    points = np.arange(10.0) + 100.0 * np.arange(3.0)[:, None]
    cut = columns.cut(abreast(points), n_points=3)
    alone = [columns.cut(w)(0) for w in points]
    assert_array_equal(cut(0), abreast(np.array(alone)))
    assert_array_equal(cut(1), abreast(points))
    several = Several(Statistic(10), 3)
    payload = np.append([-1.0, -2.0, -3.0], cut(0))
    part = columns.whole(0, payload, several)
    assert isinstance(part, Part)
    assert part.entries.dtype == np.int32
    whole = np.zeros(part.size)
    whole[part.entries] = part.values
    for k, w in enumerate(points):
        of_one = columns.whole(0, np.append(-1.0 - k, alone[k]), Statistic(10))
        assert isinstance(of_one, Part)
        expected = np.zeros(of_one.size)
        expected[of_one.entries] = of_one.values
        assert_array_equal(several.point(whole, k), expected)
        assert set(expected[1:]) - {0.0} == set(w[[2, 3, 6, 7, 8, 9]])


def test_places_are_kept_of_single_points_and_of_the_newest_number_of_several() -> None:
    columns = Columns(4, {0: np.array([1, 3], dtype=np.int32)})

    def places(n_points: int) -> Vector:
        statistic = Statistic(4) if n_points == 1 else Several(Statistic(4), n_points)
        part = columns.whole(0, np.zeros(3 * n_points), statistic)
        assert isinstance(part, Part)
        return part.entries

    single, first = places(1), places(3)
    assert places(3) is first
    second = places(2)
    assert places(2) is second
    assert places(1) is single
    assert places(3) is not first


@pytest.mark.cluster
@pytest.mark.parametrize("transport", ["tasks", "stream"])
@pytest.mark.parametrize("code", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=repr)
@pytest.mark.parametrize("intercept", [0, 1])
@pytest.mark.parametrize("loss", [Logistic(), Multinomial((0.0, 1.0, 2.0)), Huber()], ids=repr)
def test_the_sum_has_the_same_bits_as_without_cutting(
    client: Client, code: Any, transport: str, intercept: int, loss: Loss
) -> None:
    X, y = sparse(400, 3000, 5), np.arange(400) % (2 + (loss.n_outputs > 2))
    w = RNG.normal(size=Layout(3000, loss.n_outputs, loss.n_own, bool(intercept)).size)
    with place(X, y, code=code) as data:
        borders = np.cumsum([0, *data.block_rows]).astype(int)
        rows = [slice(start, stop) for start, stop in pairwise(borders)]
        blocks = {i: Block(X[rows], y[rows]) for i, rows in enumerate(rows)}
        expected = InProcessObjective(code, blocks, loss)(w)
        cut = data.columns.of(loss.n_outputs).cut(w)
        assert all(0 < len(cut(role)) < 1500 * loss.n_outputs for role in range(4))
        with ClusterObjective(data, loss, transport=transport) as objective:
            for _ in range(3):  # whoever is fastest
                seen = objective(w)
                if isinstance(code, FractionalRepetition):
                    assert seen.value == expected.value
                    assert seen.gradient.tobytes() == expected.gradient.tobytes()
                else:
                    np.testing.assert_allclose(seen.gradient, expected.gradient, atol=1e-12)


def stuck(loss: Loss, address: str, gate: str) -> Loss:
    """Return a loss that one worker does not compute until the test opens a gate."""

    class Stuck(type(loss)):  # type: ignore[misc]
        def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
            if get_worker().address == address:
                Event(gate).wait()
            return super().pointwise(z, y)

    return Stuck(*astuple(loss))


@pytest.mark.cluster
def test_several_points_have_the_bits_of_this_process_while_a_worker_never_answers(
    client: Client,
) -> None:
    code, losses = FractionalRepetition(4, 1), (Logistic(), Multinomial((0.0, 1.0, 2.0)), Huber())
    X, y = sparse(400, 3000, 5), np.arange(400) % 3
    with place(X, y, code=code) as data:
        borders = np.cumsum([0, *data.block_rows]).astype(int)
        blocks = {i: Block(X[a:b], 1.0 * y[a:b]) for i, (a, b) in enumerate(pairwise(borders))}
        for loss, transport in product(losses, ("tasks", "stream")):
            points = RNG.random((3, Layout(3000, loss.n_outputs, loss.n_own, True).size))
            here, gate = InProcessObjective(code, blocks, loss), f"{loss}-{transport}"
            late = stuck(loss, data.addresses[2], gate)
            with ClusterObjective(data, late, transport=transport) as objective:
                for W in (points, points[:2], points[1:]):
                    seen, expected = objective.many(W), here.many(W)
                    assert np.isnan(seen[0].record.arrived_at[2])
                    for one, other in zip(seen, expected, strict=True):
                        assert one.value == other.value
                        assert one.gradient.tobytes() == other.gradient.tobytes()
                Event(gate, client=client).set()


@pytest.mark.cluster
def test_block_functions_and_replicas_see_all_columns(client: Client) -> None:
    X, y = sparse(40, 500, 2), np.arange(40) % 2

    def column_sums(w: Vector, block: Block) -> tuple[float, Vector]:
        return float(block.X.shape[1]), block.X.sum(axis=0)

    with place(da.from_array(X.toarray(), chunks=(7, 500)).map_blocks(csr_array), y) as data:
        assert data.columns.cut(np.zeros(500))(0).size < 500
        with ClusterObjective(data, column_sums) as objective:
            seen = objective(np.zeros(500))
        assert seen.value == 4 * 500
        np.testing.assert_allclose(seen.gradient, X.sum(axis=0))
        first, second = np.cumsum(data.block_rows[:2]).astype(int)
        assert_array_equal(data.replica(0, 1).compute().toarray(), X[first:second].toarray())


@pytest.mark.cluster
def test_dense_rows_are_never_cut(client: Client) -> None:
    with place(np.eye(8), np.arange(8) % 2) as data:
        assert data.columns.cut(np.zeros(8))(0).size == 8


@pytest.mark.cluster
def test_the_ones_of_one_hot_rows_are_on_no_worker_but_for_block_functions(client: Client) -> None:
    n_rows, y = 4000, np.arange(4000) % 2
    indices = (RNG.integers(40, size=(n_rows, 5)) + 40 * np.arange(5)).astype(np.int32).ravel()
    indptr = np.arange(0, indices.size + 1, 5, dtype=np.int32)
    X = csr_array((np.ones(indices.size), indices, indptr), shape=(n_rows, 200))

    def doubled(w: Vector, block: Block) -> tuple[float, Vector]:
        block.X.data *= 1.0  # of its own
        return float(block.X.sum()), 2.0 * (block.X.T @ np.ones(block.n_rows))

    def kept(dask_worker: Any) -> list[int]:
        shards = [one for one in dask_worker.data.values() if hasattr(one, "blocks")]
        return [block.nbytes for shard in shards for block in shard.blocks.values()]

    w = RNG.normal(size=200)
    code = FractionalRepetition(4, 1)
    with place(X, y, code=code) as data:
        data.wait(60)
        held = [nbytes for found in client.run(kept).values() for nbytes in found]
        assert len(held) == 8
        assert sum(held) < 2 * (5 * 4 + 4 + 8) * n_rows + 8 * 64  # indices, indptr and y, twice
        for transport in ("stream", "tasks"):
            with ClusterObjective(data, Logistic(), transport=transport) as objective:
                found = objective(w)
            blocks = {
                block: Block(X[start:stop], y[start:stop].astype(float))
                for block, (start, stop) in enumerate(
                    pairwise([0, *np.cumsum(data.block_rows).astype(int)])
                )
            }
            expected = InProcessObjective(code, blocks, Logistic())(w)
            assert found.value == expected.value
            assert_array_equal(found.gradient, expected.gradient)
        with ClusterObjective(data, doubled) as objective:
            assert_array_equal(objective(w).gradient, 2.0 * X.sum(axis=0))


@pytest.mark.parametrize("columns", [None, Columns(4, {0: np.array([1, 3], dtype=np.int32)})])
def test_a_late_answer_is_taken_as_its_own_round_has_payloads(columns: Columns | None) -> None:
    code, passage = SlicedRepetition(2, 1), Passage(as_work(Logistic()), columns)
    passage.begin(7, np.zeros(4), 1)
    passage.begin(8, np.zeros(4), 2)
    for number, size in ((7, Statistic(4).size), (8, Statistic(4, order=2).size)):
        seen = Statistic(4 if columns is None else 2, order=number - 6)
        sent = code.messages[1].slices.of(np.arange(float(seen.size)))
        payload = passage.received(number, 0, sent, code.messages[1].slices)
        assert isinstance(payload, Part)
        assert payload.size == size
    unknown = np.zeros(2)  # of a round that nobody remembers
    assert passage.received(3, 0, unknown, code.messages[1].slices) is unknown
