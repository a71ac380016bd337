"""A cluster whose workers do not round alike."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest
from distributed import Client, LocalCluster


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Four workers of which two round otherwise: they have another kernel of OpenBLAS."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with (
        # not forked from a process that has loaded its kernels
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
        cluster.scale(4)
        client.wait_for_workers(4)
        yield client
