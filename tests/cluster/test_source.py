"""Chunks that are computed once more, where whoever was to compute them goes."""

from __future__ import annotations

import os
import signal

import dask.array as da
import numpy as np
import pytest
from distributed import Event
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
