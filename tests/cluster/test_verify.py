"""Workers that send wrong sums, on a real cluster: found, named, expelled, and without effect."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from numpy.testing import assert_array_equal
from scipy.sparse import random as random_sparse

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, Placement, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Balancing, Deadline, Done, Everybody, Round
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


@every_transport
@pytest.mark.parametrize("kind", KINDS)
def test_who_lies_is_named_and_changes_nothing(
    cluster: Client, transport: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lies = Lies(kind, workers=[2], from_round=1)
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, Logistic(), transport=transport) as honest,
        ClusterObjective(data, Logistic(), transport=transport, verify=1) as objective,
        inject(cluster, lies),
        caplog.at_level(logging.WARNING, "dask_gradcode"),
    ):
        expected = honest(W)  # its first round is truthful
        for number in range(3):
            seen = objective(W)
            assert_array_equal(seen.gradient, expected.gradient)
            assert seen.value == expected.value
            assert seen.record.expelled == ((2,) if number == 1 else ())
            assert seen.record.lost == ((2,) if number else ())
        [said] = [record.getMessage() for record in caplog.records if "expelled" in record.message]
        assert f"Round 1, blocks [2, 3]: role 2 on {data.addresses[2]} is expelled" in said


@every_transport
@pytest.mark.filterwarnings(
    "ignore:Round [01], blocks:UserWarning"
)  # if an answer comes after the lies
def test_what_is_not_verified_is_wrong(cluster: Client, transport: str) -> None:
    """Lies have an effect at all: two tell the same one, and nobody contradicts them."""
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, Logistic(), transport=transport) as objective,
    ):
        expected = objective(W).gradient
        with inject(cluster, Lies("sign", workers=[0, 1])):
            assert (objective(W).gradient != expected).all()
        assert_array_equal(objective(W).gradient, expected)


@every_transport
def test_two_of_four_tell_the_same_lie(cluster: Client, transport: str) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, Logistic(), transport=transport, verify=2) as objective,
    ):
        expected = objective(W).gradient
        with inject(cluster, Lies("random", workers=[0, 1], together=True)):
            seen = objective(W)
        assert_array_equal(seen.gradient, expected)


def sparse_rows() -> Any:
    return random_sparse(900, 60, density=0.05, format="csr", rng=np.random.default_rng(0))


def wide_rows() -> Any:
    return np.random.default_rng(0).normal(size=(24_000, 100))  # several pieces and chunks


@pytest.mark.parametrize("rows", [sparse_rows, wide_rows])
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_rows_and_many_pieces(cluster: Client, kind: str, rows: Any) -> None:
    features = rows()
    n_rows, n_features = features.shape
    w = np.random.default_rng(1).normal(size=n_features)
    with (
        place(features, np.arange(n_rows) % 2, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, Logistic(), verify=1) as objective,
    ):
        expected = objective(w).gradient
        with inject(cluster, Lies(kind, workers=[1])):
            seen = objective(w)
        assert seen.record.expelled == (1,)
        assert_array_equal(seen.gradient, expected)


def test_block_functions_hessians_and_several_points(cluster: Client) -> None:
    def distance(w: Any, block: Any) -> Any:
        return float(((block.X - w) ** 2).sum()), 2 * (w - block.X).sum(axis=0)

    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        for work, call in (
            (distance, lambda objective: objective(W)),
            (Logistic(), lambda objective: objective.second_order(W)),
            (Logistic(), lambda objective: objective.many([W, 2 * W])[1]),
        ):
            with ClusterObjective(data, work, verify=1) as objective:
                expected = call(objective)
                with inject(cluster, Lies("chunk", workers=[3])):
                    seen = call(objective)
                assert seen.record.expelled == (3,)
                assert_array_equal(seen.gradient, expected.gradient)
                if seen.hessian is not None:
                    assert_array_equal(seen.hessian, expected.hessian)


def test_what_does_not_fit_is_refused_before_any_work(cluster: Client) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        for parameters, match in (
            ({"verify": 2}, "verify=2 needs 3 workers that can send each message"),
            ({"verify": -1}, "verify must be a whole number from 0"),
            ({"verify": 1, "wait": Deadline(1.0)}, "verify=1 needs exact sums"),
            ({"verify": 1, "plan": Balancing()}, "Leave the plan out, or use Everybody"),
        ):
            with pytest.raises(ValueError, match=match):
                ClusterObjective(data, Logistic(), **parameters)  # type: ignore[arg-type]
        ClusterObjective(data, Logistic(), verify=1, plan=Everybody()).close()
    with (
        place(X, Y, code=CyclicRepetition(4, 1)) as data,
        pytest.raises(ValueError, match="Use code='fractional' with n_stragglers=1 or more"),
    ):
        ClusterObjective(data, Logistic(), verify=1)


def corrupt(client: Client, data: Placement, role: int) -> None:
    """Change a number in the memory of a worker, as a cosmic ray would."""
    key = data.shards[role].key

    def change(dask_worker: Any) -> None:
        block = next(iter(dask_worker.data[key].blocks.values()))
        rows = np.array(block.X)
        rows[3, 1] += 0.5
        object.__setattr__(block, "X", rows)

    client.run(change, workers=[data.addresses[role]])


@every_transport
@pytest.mark.parametrize("role", [0, 1])
def test_rows_that_change_in_memory_are_found(cluster: Client, transport: str, role: int) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, Logistic(), transport=transport, verify=1) as objective,
    ):
        expected = objective(W)
        corrupt(cluster, data, role)
        seen = objective(W)
        assert seen.record.expelled == (role,)
        assert_array_equal(seen.gradient, expected.gradient)
        # a fit that begins now cannot tell whose rows are right; three replicas could
        with pytest.raises(RuntimeError, match=r"the copies of block 0 differ: role 0 on .* and"):
            ClusterObjective(data, Logistic(), transport=transport, verify=1)


def test_of_three_copies_two_tell_which_is_right(cluster: Client) -> None:
    with place(X[:300], Y[:300], code=FractionalRepetition(3, 2)) as data:
        with ClusterObjective(data, Logistic(), verify=1) as objective:
            expected = objective(W).gradient
        corrupt(cluster, data, 1)
        with ClusterObjective(data, Logistic(), verify=1) as objective:
            assert_array_equal(objective(W).gradient, expected)
            objective.drain(1.0)  # the third answer may come late
            assert [*objective.hearings[0].verdict.wrong] == [1]


def check_replays(objective: ClusterObjective) -> None:
    """Rounds that are run again from their logs decide as they did."""
    for log in objective.logs:
        again = Round.replay(log)
        assert again.outcome == Done()
        assert [step.orders for step in again.log.steps] == [step.orders for step in log.steps]


@every_transport
def test_a_sum_that_nobody_can_confirm_is_unverified(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is frozen or killed: the one that sends the sum, or the one that confirms it."""
    with (
        local_cluster(2) as client,
        dask.config.set({"gradcode.timeouts.recover": 1.0}),
        place(X, Y, code=FractionalRepetition(2, 1), client=client) as data,
        ClusterObjective(data, Logistic(), transport=transport, verify=1) as objective,
    ):
        expected = objective(W)
        restart_no_more(client)
        for role in (1, 0):
            caplog.clear()
            with frozen(pid_of(client, data.addresses[role])):
                seen = objective(W)
                assert seen.record.unverified == (0, 1)
                assert_array_equal(seen.gradient, expected.gradient)
                said = f"blocks [0, 1] is taken unverified: role {role} has not confirmed it"
                assert said in caplog.text
                caplog.clear()
                assert objective(W).record.unverified == (0, 1)
                assert not caplog.text  # the next round does not wait for it
                check_replays(objective)
            wait_until(lambda: not objective(W).record.unverified)  # it is awake, and confirms
        os.kill(pid_of(client, data.addresses[0]), signal.SIGKILL)
        seen = objective(W)
        assert seen.record.unverified == (0, 1)
        assert_array_equal(seen.gradient, expected.gradient)
        check_replays(objective)
        assert not objective.hearings


@every_transport
def test_who_lives_and_does_not_confirm_is_waited_for_so_long(
    cluster: Client, transport: str
) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        stuck = data.addresses[1]

        def gated(w: Any, block: Any) -> Any:
            if get_worker().address == stuck:
                Event("confirm").wait()
            return float(block.n_rows), w

        with (
            dask.config.set({"gradcode.timeouts.round": 2.0}),
            ClusterObjective(data, gated, transport=transport, verify=1) as objective,
        ):
            with pytest.raises(TimeoutError, match="is not done, and nothing has come for"):
                objective(W)
            Event("confirm", client=cluster).set()
            assert objective(W).record.unverified == ()
            Event("confirm", client=cluster).clear()


def test_liars_deaths_and_freezes_in_rounds_that_are_run_again() -> None:
    with (
        local_cluster(6) as client,
        place(X, Y, code=FractionalRepetition(6, 2), client=client) as data,
        ClusterObjective(data, Logistic(), verify=1) as objective,
    ):
        expected = objective(W).gradient
        with inject(client, Lies("chunk", workers=[0, 5], from_round=3)):
            for role, what in ((1, signal.SIGSTOP), (4, signal.SIGKILL)):
                pid = pid_of(client, data.addresses[role])
                os.kill(pid, what)
                for _ in range(30):
                    assert_array_equal(objective(W).gradient, expected)
                check_replays(objective)
                if what == signal.SIGSTOP:
                    os.kill(pid, signal.SIGCONT)
        assert sorted(role for h in objective.hearings for role in h.verdict.wrong) == [0, 5]
        wait_until(lambda: 4 not in objective(W).record.lost)  # roles are tended to in rounds
        assert_array_equal(objective(W).gradient, expected)
        check_replays(objective)
