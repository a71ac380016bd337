"""Settings and clusters that the tests share."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import dask
import hypothesis
import pytest
from distributed import Client, LocalCluster
from distributed.utils import get_mp_context

from helpers import gradcode_keys, wait_until

# The same examples in every run: a red test can be run again.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A shell that starts the tests in the background has them ignore Ctrl-C, and tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers fork from a process that has imported what they need: a cluster starts ten times as fast.
dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
get_mp_context()  # which has Dask set its own list
multiprocessing.get_context("forkserver").set_forkserver_preload(
    ["distributed", "dask.array", "dask.dataframe", "scipy.stats", "sklearn.linear_model"]
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Four worker processes, for tests that harm none of them."""
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture
def cluster(client: Client) -> Iterator[Client]:
    """The same, for a test that is to leave nothing on them."""
    yield client
    wait_until(lambda: not gradcode_keys(client))
