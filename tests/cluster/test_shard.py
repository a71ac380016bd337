"""Shards are built from pieces of chunks, without a cluster: every block has its rows, as given."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from dask.sizeof import sizeof
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, issparse

from code_lists import EVERY
from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.cuts import runs
from dask_gradcode.cluster.data.shard import Parcel, ShardPlan, build_shard, pack_rows
from dask_gradcode.codes import GradientCode
from dask_gradcode.targets import Targets, describe_targets
from dask_gradcode.work import Block


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@given(
    chunks=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 53), max_size=4),
    weighted=st.booleans(),
)
def test_every_block_of_a_run_has_its_rows(
    kind: Any, chunks: list[int], cuts: list[int], weighted: bool
) -> None:
    n_rows = sum(chunks)
    borders = sorted({0, n_rows, *(cut for cut in cuts if cut < n_rows)})
    X = np.random.default_rng(0).integers(0, 3, size=(n_rows, 4)).astype(float)
    y, weight = np.arange(n_rows) % 5.0, np.arange(n_rows) + 1.0
    given = [Parcel(kind(part)) for part in np.split(X, np.cumsum(chunks)[:-1])]
    places = {7: range(len(chunks))}
    last = len(chunks)
    plan = ShardPlan(
        role=0,
        borders={7: borders},
        X=places,
        y={7: [last]},
        sample_weight={7: [last + 1]} if weighted else {},
        targets=Targets.merge([describe_targets(y, None, "me")]),
    )
    shard = build_shard(plan, *given, y, weight)
    assert list(shard.blocks) == list(range(7, 7 + len(borders) - 1))
    for (start, stop), (index, block) in zip(pairwise(borders), shard.whole.items(), strict=True):
        rows = block.X.toarray() if issparse(block.X) else block.X
        assert_array_equal(rows, X[start:stop])
        assert_array_equal(block.y, y[start:stop])
        assert block.X.shape[0] == shard.blocks[index].n_rows == stop - start
        if weighted:
            assert_array_equal(block.sample_weight, weight[start:stop])
        else:
            assert block.sample_weight is None


@pytest.mark.parametrize("code", EVERY, ids=repr)
def test_runs_are_the_longest_of_blocks_with_the_same_holders(code: GradientCode) -> None:
    found = runs(code)
    assert [block for run in found for block in run] == list(range(code.n_blocks))
    holders = [{code.holders[block] for block in run} for run in found]
    assert all(len(of_run) == 1 for of_run in holders)
    assert all(one != other for one, other in pairwise(holders))


def test_a_block_that_lies_in_several_chunks_is_not_copied_together() -> None:
    parts = [np.ones((4, 2)), np.zeros((4, 2))]
    targets = Targets.merge([describe_targets(np.ones(8), None, "me")])
    plan = ShardPlan(0, {0: [0, 2, 6, 8]}, {0: [0, 1]}, {0: [2]}, {}, targets)
    shard = build_shard(plan, *map(Parcel, parts), np.ones(8))
    assert np.shares_memory(shard.blocks[0].X, parts[0])
    assert np.shares_memory(shard.blocks[1].X[:2], parts[0])
    assert np.shares_memory(shard.blocks[1].X[2:4], parts[1])
    assert np.shares_memory(shard.blocks[2].X, parts[1])


def test_parcels_are_as_large_as_what_they_hold() -> None:
    dense, sparse = np.ones((50, 4)), csr_array(2 * np.eye(50))
    arrays = sparse.data.nbytes + sparse.indices.nbytes + sparse.indptr.nbytes
    y = np.zeros(50)
    assert sizeof(Parcel(sparse)) == arrays
    assert sizeof(Parcel(dense)) == dense.nbytes
    assert sizeof(Parcel(Block(sparse, y))) == arrays + y.nbytes
    assert sizeof(Parcel(Block(dense, y, y))) == dense.nbytes + 2 * y.nbytes


def test_indices_are_short_where_that_is_enough() -> None:
    indices, indptr = np.arange(50), np.arange(51)
    X = csr_array((np.arange(50.0), indices, indptr), shape=(50, 50))
    assert X.indices.dtype == np.int64
    y = np.arange(50) % 2
    targets = Targets.merge([describe_targets(y, None, "me")])
    plan = ShardPlan(0, {0: [0, 50]}, {0: [0]}, {0: [1]}, {}, targets)
    (block,) = build_shard(plan, Parcel(X), y).blocks.values()
    assert block.X.indices.dtype == block.X.indptr.dtype == np.int32
    assert_array_equal(block.X.toarray(), X.toarray())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
@pytest.mark.parametrize("stop", [300, 1000])
def test_stored_values_that_are_all_one_do_not_travel(dtype: Any, stop: int) -> None:
    X = csr_array(np.kron(np.eye(10), np.ones((100, 20))).astype(dtype))
    sent = pickle.dumps(pack_rows(Expected("X", (1000, 200)), X, 0, stop), protocol=5)
    some = X[:stop]
    assert len(sent) < some.indices.nbytes + some.indptr.nbytes + 2000
    came = pickle.loads(sent).content
    assert came.dtype == dtype
    assert_array_equal(came.toarray(), some.toarray())
    X.data[-1] = 2
    came = pickle.loads(pickle.dumps(pack_rows(Expected("X", (1000, 200)), X, 0, stop))).content
    assert_array_equal(came.toarray(), X[:stop].toarray())
