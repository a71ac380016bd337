"""Chunks that are computed once more, where whoever was to compute them goes."""

from __future__ import annotations

import os
import signal

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client, Event
from numpy.testing import assert_array_equal

from dask_gradcode.cluster.data.source import Source
from dask_gradcode.typing import Matrix
from helpers import local_cluster, pid_of

pytestmark = pytest.mark.cluster

ROWS = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize("lazy", [False, True], ids=["in memory", "dask"])
def test_a_chunk_begun_again_is_computed_elsewhere_when_all_its_workers_have_gone(
    lazy: bool,
) -> None:
    def gated(block: Matrix) -> Matrix:
        Event("gate").wait()
        return block

    with local_cluster(2) as client:
        going, staying = client.scheduler_info()["workers"]
        X, y = ROWS, np.arange(6.0)
        if lazy:
            X = da.from_array(ROWS, chunks=(3, 2)).map_blocks(gated, meta=ROWS[:0])
            y = da.from_array(y, chunks=3)
        source = Source(client, X, y, None, 2, lambda middle: staying)
        again = source.again("X", 0, [going])
        os.kill(pid_of(client, going), signal.SIGKILL)
        Event("gate", client=client).set()
        # the suite's time-out is the bound: it used to wait for the worker's address for ever
        assert_array_equal(again.result(), ROWS[:3])
        again.release()
        source.release()
        Event("gate", client=client).clear()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_many_small_chunks_are_taken_together(client: Client, sparse: bool) -> None:
    rows = np.arange(3200.0).reshape(1600, 2)
    X = da.from_array(rows, chunks=(8, 2))
    if sparse:
        X = X.map_blocks(scipy.sparse.csr_array, dtype=float, meta=X._meta)
    y = da.from_array(np.arange(1600.0), chunks=20)
    source = Source(client, X, y, y, 2, lambda middle: None)
    assert len(source.futures["X"]) == 29
    assert source.expected("X", 1).what == "Chunks 7 to 13 of X"
    found = client.gather(list(source.futures["X"].values()))
    assert_array_equal(np.vstack([part.toarray() if sparse else part for part in found]), rows)
    for name in ("y", "sample_weight"):
        parts = client.gather(list(source.futures[name].values()))
        assert_array_equal(np.concatenate(parts), np.arange(1600.0))
    again = source.again("X", 1)
    assert_array_equal(again.result().toarray() if sparse else again.result(), rows[56:112])
    source.release()
