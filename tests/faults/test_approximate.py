"""Approximate codes on real workers: rounds bring the sum that the code says they bring."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import GraphRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.rounds import Fastest
from helpers import frozen, local_cluster, logistic_data, pid_of

pytestmark = pytest.mark.cluster


def test_without_the_three_holders_of_a_block_the_others_count_as_the_graph_says() -> None:
    code, n_rows = GraphRepetition(6, 3), 240
    X, y = logistic_data(n_rows, 3)
    silent = [role for role in range(6) if 0 in code.messages[role].blocks]
    decoding = code.decode(code.available(set(range(6)) - set(silent)))
    assert decoding.error > 0.0
    counted = np.repeat(decoding.weights @ code.encoding_matrix, n_rows // code.n_blocks)
    counted *= n_rows / counted.sum()  # scaled up to all rows
    w = np.array([0.3, -0.2, 0.1])
    expected = X.T @ (counted * (expit(X @ w) - y))
    inexact = CodedLogisticRegression(
        solver=GradientDescent(step=0.5), tol=0.0, max_iter=5, wait=Fastest(3)
    )
    with local_cluster(6) as client, place(X, y, code=code, client=client) as data:
        data.wait(60)
        pids = [pid_of(client, data.addresses[role]) for role in silent]
        for transport in ("stream", "tasks"):
            with (
                frozen(*pids),
                ClusterObjective(data, Logistic(), wait=Fastest(3), transport=transport) as summed,
            ):
                seen = summed(w)
                assert_allclose(seen.gradient, expected, rtol=1e-12)
                assert seen.value == pytest.approx(
                    counted @ np.logaddexp(0.0, X @ w) - counted @ (y * (X @ w))
                )
                assert seen.record.error == pytest.approx(decoding.error)
                inexact.set_params(transport=transport)
                with pytest.warns(ConvergenceWarning):
                    inexact.fit(data)
                assert_allclose([record.error for record in inexact.history_], decoding.error)
