"""Audits on a real cluster: who lies is found beside the rounds, and these are taken back."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import random as random_sparse

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.optimizers import LBFGS, GradientDescent, Solution
from dask_gradcode.rounds import Deadline, Everybody, TakenBackError
from helpers import (
    frozen,
    local_cluster,
    logistic_data,
    pid_of,
    restart_no_more,
    wait_until,
)

pytestmark = pytest.mark.cluster
every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])
X, Y = logistic_data(400, 3)
W = np.array([0.5, -1.0, 0.25])
SPREAD = DeclusteredRepetition(4, 1, n_leaves=4)
NO_HELP: dict[str, Any] = {"verify": "audit", "plan": Everybody()}
"""A worker that is late is waited for, however busy this machine is: else others may do its work,
and then its lie is in no sum that would have to be taken back."""


def minimised(objective: ClusterObjective, n_parameters: int = 3, **how: Any) -> Solution:
    def run() -> Solution:
        return LBFGS().minimize(objective, np.zeros(n_parameters), tol=1e-6, **how)

    return objective.audited(run, lambda found: found.w)


@every_transport
@pytest.mark.parametrize("kind", KINDS)
def test_who_lies_is_named_and_changes_nothing(
    cluster: Client, transport: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), transport=transport, **NO_HELP) as objective,
        caplog.at_level(logging.WARNING, "dask_gradcode"),
    ):
        expected = minimised(objective)
        assert not objective.found
        first = objective.logs[-1].number + 1
        with inject(cluster, Lies(kind, [2], from_round=first + 2)):
            found = minimised(objective)
        assert_array_equal(found.w, expected.w)
        expelled, back = objective.found
        assert (expelled.role, expelled.rounds[0]) == (2, first + 2)
        assert back.rounds[0] == first + 2
        said = [record.getMessage() for record in caplog.records]
        where = f"role 2 on {data.addresses[2]} is expelled"
        assert sum(where in text for text in said) == 1
        assert any(f"Rounds {first + 2} to {back.round} are taken back" in text for text in said)
        seen = objective(W)
        assert (seen.record.lost, seen.record.exact) == ((2,), True)


def test_in_a_group_whoever_answers_first(cluster: Client) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, Logistic(), verify="audit") as objective,
    ):
        expected = minimised(objective)
        with inject(cluster, Lies("chunk", workers=[1])):
            found = minimised(objective)
        assert_array_equal(found.w, expected.w)
        assert {one.role for one in objective.found} <= {1, None}


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_rows_of_which_each_worker_sees_other_columns(cluster: Client, kind: str) -> None:
    rows = random_sparse(900, 2000, density=0.001, format="csr", rng=np.random.default_rng(0))
    labels = np.arange(900) % 2
    with (
        place(rows, labels, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), **NO_HELP) as objective,
    ):
        assert any(columns is not None for columns in data.columns.each())
        expected = minimised(objective, 2000, max_iter=8)
        assert not objective.found
        with inject(cluster, Lies(kind, workers=[1])):
            found = minimised(objective, 2000, max_iter=8)
        assert_allclose(found.w, expected.w, rtol=1e-6, atol=1e-9)
        assert objective.found[0].role == 1


def test_block_functions_hessians_and_several_points(cluster: Client) -> None:
    def distance(w: Any, block: Any) -> Any:
        return float(((block.X - w) ** 2).sum()), 2 * (w - block.X).sum(axis=0)

    with place(X, Y, code=SPREAD) as data:
        for work, call in (
            (distance, lambda objective: objective(W)),
            (Logistic(), lambda objective: objective.second_order(W)),
            (Logistic(), lambda objective: objective.many([W, 2 * W])[1]),
        ):
            with ClusterObjective(data, work, **NO_HELP) as objective:
                expected = objective.audited(lambda: call(objective), lambda seen: W)  # noqa: B023
                with inject(cluster, Lies("chunk", workers=[3])):
                    seen = objective.audited(lambda: call(objective), lambda seen: W)  # noqa: B023
                assert [one.role for one in objective.found] == [3, None]
                assert_array_equal(seen.gradient, expected.gradient)
                if seen.hessian is not None:
                    assert_array_equal(seen.hessian, expected.hessian)


def test_whoever_calls_the_objective_alone_is_told(cluster: Client) -> None:
    with (
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), **NO_HELP) as objective,
    ):
        expected = objective(W)

        def call_often() -> None:
            wait_until(lambda: objective(W) is None)

        with inject(cluster, Lies("sign", workers=[0])):
            with pytest.raises(TakenBackError, match="taken back: the fit goes on from"):
                call_often()
            seen = objective(W)  # the first: it was right
            assert objective.is_repeating
            assert_array_equal(seen.gradient, expected.gradient)
            seen = objective(2 * W)
        assert seen.record.lost == (0,)


def test_what_does_not_fit_is_refused_before_any_work(cluster: Client) -> None:
    with place(X, Y, code=SPREAD) as data:
        for parameters, match in (
            ({"verify": "audits"}, "verify must be a whole number from 0"),
            ({"verify": "audit", "wait": Deadline(1.0)}, "verify='audit' needs exact sums"),
        ):
            with pytest.raises(ValueError, match=match):
                ClusterObjective(data, Logistic(), **parameters)  # type: ignore[arg-type]
    with (
        place(X, Y, code=CyclicRepetition(4, 1)) as data,
        pytest.raises(ValueError, match="Use code='declustered' or 'fractional'"),
    ):
        ClusterObjective(data, Logistic(), verify="audit")


def test_what_the_objective_has_said_may_be_in_a_file(cluster: Client) -> None:
    with (
        dask.config.set({"gradcode.audit.memory": 0}),
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), **NO_HELP) as objective,
    ):
        expected = minimised(objective)
        first = objective.logs[-1].number + 1
        with inject(cluster, Lies("sign", workers=[1], from_round=first + 3)):
            found = minimised(objective)
        assert_array_equal(found.w, expected.w)
        assert objective.found[-1].rounds[0] == first + 3


@every_transport
def test_who_dies_or_freezes_meanwhile_is_not_expelled(transport: str) -> None:
    with (
        local_cluster(4) as client,
        dask.config.set({"gradcode.timeouts.recover": 2.0, "gradcode.timeouts.frozen": 2.0}),
        place(X, Y, code=SPREAD, client=client) as data,
        ClusterObjective(data, Logistic(), transport=transport, verify="audit") as objective,
    ):
        expected = minimised(objective)
        restart_no_more(client)
        with frozen(pid_of(client, data.addresses[1])):
            assert_array_equal(minimised(objective).w, expected.w)
        assert {one.what for one in objective.found} <= {"unverified"}
        os.kill(pid_of(client, data.addresses[3]), signal.SIGKILL)
        assert_array_equal(minimised(objective).w, expected.w)
        assert {one.what for one in objective.found} <= {"unverified"}


@pytest.mark.parametrize(
    "code", [SPREAD, FractionalRepetition(4, 1)], ids=["declustered", "groups"]
)
def test_roles_that_move_to_other_workers_are_not_expelled_and_the_liar_is(code: Any) -> None:
    rows, labels = logistic_data(4000, 3)
    with (
        local_cluster(5) as client,
        place(rows, labels, code=code, client=client) as data,
        ClusterObjective(data, Logistic(), verify="audit") as objective,
    ):
        victims = [2, 3]

        def callback(n_iter: int, w: Any, seen: Any) -> None:
            if victims and n_iter % 10 == 5 and not objective.is_repeating:
                before = data.addresses[role := victims.pop()]
                pids = {
                    nanny.worker_address: nanny.pid for nanny in client.cluster.workers.values()
                }
                os.kill(pids[before], signal.SIGKILL)
                wait_until(lambda: data.addresses[role] != before or data.lost)

        def run() -> Solution:
            how: dict[str, Any] = {"max_iter": 30, "tol": 0.0, "callback": callback}
            return GradientDescent().minimize(objective, np.zeros(3), **how)

        first = objective.audited(run, lambda found: found.w)
        assert not victims
        assert {one.what for one in objective.found} <= {"unverified"}
        data.wait(60.0)
        with inject(client, Lies("sign", workers=[1])):
            second = objective.audited(run, lambda found: found.w)
        assert_array_equal(first.w, second.w)
        assert {one.role for one in objective.found if one.what == "expelled"} <= {1}
