"""Workers that do not round alike are named in the log: bits then depend on who computes what."""

from __future__ import annotations

import logging
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose
from threadpoolctl import threadpool_info

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition
from helpers import logistic_data, wait_until

KERNELS = {"Haswell", "Nehalem"}  # of OpenBLAS, which all processors of these ten years can run
HERE = {one.get("architecture") for one in threadpool_info() if one["internal_api"] == "openblas"}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not HERE & {"Haswell", "SkylakeX", "Zen"}, reason="needs OpenBLAS on x86"),
]


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Four workers of two kinds."""
    first, second = sorted(KERNELS)
    monkeypatch.setenv("OPENBLAS_CORETYPE", first)
    with (
        # not forked from a process that has loaded its kernels
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        monkeypatch.setenv("OPENBLAS_CORETYPE", second)
        cluster.scale(4)
        client.wait_for_workers(4)
        yield client


def test_workers_that_do_not_round_alike_are_named_and_the_fit_ends_right(
    mixed: Client, caplog: pytest.LogCaptureFixture
) -> None:
    X, y = logistic_data(4000, 60)
    with (
        caplog.at_level(logging.WARNING, "dask_gradcode"),
        place(X, y, code=FractionalRepetition(4, 1), client=mixed) as data,
    ):
        fitted = CodedLogisticRegression(tol=1e-6).fit(data)
        wait_until(lambda: "round alike" in caplog.text)
    told = next(record.message for record in caplog.records if "round alike" in record.message)
    assert all(f"({kernel})" in told for kernel in KERNELS)
    assert any(address in told for address in data.addresses.values())
    alone = CodedLogisticRegression(code=FractionalRepetition(4, 1), tol=1e-6)
    assert_allclose(fitted.coef_, alone.fit(X, y).coef_, rtol=1e-4, atol=1e-6)


def test_workers_that_round_alike_are_not_worth_a_word(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "dask_gradcode"),
        place(np.eye(4), np.arange(4.0), client=client) as data,
    ):
        data.wait(60)
    assert "round alike" not in caplog.text
