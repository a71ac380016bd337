"""Wrong sums of a cyclic code on a real cluster: found by what others sent, without effect."""

from __future__ import annotations

import logging
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose
from scipy.sparse import random as random_sparse

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Balancing, Deadline, Everybody, WrongSumsError
from helpers import frozen, local_cluster, logistic_data, pid_of, wait_until
from helpers import restart_no_more as no_more_restarts

pytestmark = pytest.mark.cluster
every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])
X, Y = logistic_data(400, 3)
W = np.array([0.5, -1.0, 0.25])


def with_syndrome(data: Any, **parameters: Any) -> ClusterObjective:
    return ClusterObjective(data, Logistic(), verify="syndrome", **parameters)


def rounds_until_expelled(objective: ClusterObjective, w: Any, liars: set[int]) -> list[Any]:
    """Run rounds until all liars have been among the first to answer, and return what was seen."""
    seen: list[Any] = []

    def all_are_expelled() -> bool:
        seen.append(objective(w))
        return {role for one in seen for role in one.record.expelled} == liars

    wait_until(all_are_expelled)
    return seen


@every_transport
@pytest.mark.parametrize("kind", KINDS)
def test_who_lies_is_named_and_changes_nothing(
    cluster: Client, transport: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lies = Lies(kind, workers=[2], from_round=1)
    with (
        place(X, Y, code=CyclicRepetition(4, 2)) as data,
        ClusterObjective(data, Logistic(), transport=transport) as honest,
        with_syndrome(data, transport=transport) as objective,
        inject(cluster, lies),
        caplog.at_level(logging.WARNING, "dask_gradcode"),
    ):
        expected = honest(W)  # its first round is truthful
        objective(W)
        for seen in rounds_until_expelled(objective, W, {2}):
            assert_allclose(seen.gradient, expected.gradient, rtol=1e-9)
            assert_allclose(seen.value, expected.value, rtol=1e-9)
            assert seen.record.unverified == ()
        assert objective(W).record.lost == (2,)
        [said] = [record.getMessage() for record in caplog.records if "expelled" in record.message]
        assert f"blocks [0, 2, 3]: role 2 on {data.addresses[2]} is expelled" in said


@every_transport
@pytest.mark.parametrize("kind", KINDS)
def test_where_it_cannot_be_told_who_lies_nothing_is_used(
    cluster: Client, transport: str, kind: str
) -> None:
    with (
        place(X, Y, code=CyclicRepetition(4, 1)) as data,
        with_syndrome(data, transport=transport) as objective,
    ):
        expected = objective(W)
        with (
            inject(cluster, Lies(kind, workers=[1])),
            pytest.raises(WrongSumsError, match=r"Round 1: .* came from role 0 on tcp://"),
        ):
            objective(W)
        assert_allclose(objective(W).gradient, expected.gradient, rtol=1e-12)


def sparse_rows() -> Any:
    return random_sparse(900, 60, density=0.05, format="csr", rng=np.random.default_rng(0))


def wide_rows() -> Any:
    return np.random.default_rng(0).normal(size=(24_000, 100))  # several pieces and chunks


@pytest.mark.parametrize("rows", [sparse_rows, wide_rows])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sparse_rows_many_pieces_and_single_precision(
    cluster: Client, rows: Any, dtype: Any
) -> None:
    features = rows().astype(dtype)
    n_rows, n_features = features.shape
    w = np.random.default_rng(1).normal(size=n_features)
    with (
        place(features, np.arange(n_rows) % 2, code=CyclicRepetition(4, 3)) as data,
        with_syndrome(data) as objective,
    ):
        expected = objective(w).gradient
        objective.drain(1.0)
        for factor in (1.0, 0.1, 1e-3, 0.0):
            assert not objective(factor * w).record.expelled
        with inject(cluster, Lies("random", workers=[0, 1])):
            for seen in rounds_until_expelled(objective, w, {0, 1}):
                assert_allclose(seen.gradient, expected, rtol=1e-4, atol=1e-3 * n_rows**0.5)


def test_block_functions_hessians_and_several_points(cluster: Client) -> None:
    def distance(w: Any, block: Any) -> Any:
        return float(((block.X - w) ** 2).sum()), 2 * (w - block.X).sum(axis=0)

    with place(X, Y, code=CyclicRepetition(4, 3)) as data:
        for work, call in (
            (distance, lambda objective: objective(W)),
            (Logistic(), lambda objective: objective.second_order(W)),
            (Logistic(), lambda objective: objective.many([W, 2 * W])[1]),
        ):
            with ClusterObjective(data, work, verify="syndrome") as objective:
                expected = call(objective)
                with inject(cluster, Lies("chunk", workers=[3])):
                    seen = [call(objective) for _ in range(10)]
                assert {role for one in seen for role in one.record.expelled} <= {3}
                for one in seen:
                    assert_allclose(one.gradient, expected.gradient, rtol=1e-9)
                    if one.hessian is not None:
                        assert_allclose(one.hessian, expected.hessian, rtol=1e-9)


def test_what_does_not_fit_is_refused_before_any_work(cluster: Client) -> None:
    with place(X, Y, code=CyclicRepetition(4, 1)) as data:
        for parameters, match in (
            ({"verify": "syndrom"}, "verify must be a whole number from 0.* or 'syndrome'"),
            ({"verify": "syndrome", "wait": Deadline(1.0)}, "verify='syndrome' needs exact sums"),
            ({"verify": "syndrome", "plan": Balancing()}, "Leave the plan out, or use Everybody"),
            ({"verify": 1}, "or verify=0; verify='syndrome' is for cyclic codes"),
        ):
            with pytest.raises(ValueError, match=match):
                ClusterObjective(data, Logistic(), **parameters)
        ClusterObjective(data, Logistic(), verify="syndrome", plan=Everybody()).close()
    for code in (CyclicRepetition(4, 0), FractionalRepetition(4, 1)):
        with (
            place(X, Y, code=code) as data,
            pytest.raises(ValueError, match="Use code='cyclic' with n_stragglers=2 or more"),
        ):
            with_syndrome(data)


@every_transport
def test_a_sum_that_nobody_can_check_is_unverified(transport: str) -> None:
    with (
        local_cluster(3) as client,
        dask.config.set({"gradcode.timeouts.recover": 1.0}),
        place(X, Y, code=CyclicRepetition(3, 1), client=client) as data,
        with_syndrome(data, transport=transport) as objective,
    ):
        expected = objective(W)
        no_more_restarts(client)
        with frozen(pid_of(client, data.addresses[1])):
            for _ in range(2):
                seen = objective(W)
                assert seen.record.unverified == (0, 1, 2)
                assert_allclose(seen.gradient, expected.gradient, rtol=1e-9)
        wait_until(lambda: not objective(W).record.unverified)  # it is awake
