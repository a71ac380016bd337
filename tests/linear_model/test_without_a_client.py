"""Dask data and no client: the fit owns a cluster, says so, and closes it."""

from __future__ import annotations

import logging

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression, place
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(80, 3)
LAZY = da.from_array(X, chunks=(30, 3)), da.from_array(Y, chunks=30)


def no_client() -> bool:
    with pytest.raises(ValueError, match="No clients found"):
        Client.current()
    return True


def test_a_fit_owns_a_cluster(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="dask_gradcode")
    model = CodedLogisticRegression(tol=1e-10).fit(*LAZY)
    reference = LogisticRegression(tol=1e-12, solver="newton-cg").fit(X, Y)
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-6)
    assert model.history_.transport == "stream"
    assert any("starting a LocalCluster" in record.message for record in caplog.records)
    assert no_client()


def test_a_placement_owns_one_until_it_is_closed() -> None:
    with place(X, Y) as data:
        assert no_client()
        assert data.client.status == "running"
        first = CodedLogisticRegression().fit(data)
        assert first.code_ == data.code
    assert data.client.status == "closed"
    assert no_client()
