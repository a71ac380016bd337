"""Roles that are lost in mid-fit are placed anew, while rounds go on and sums stay exact."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, get_worker
from numpy.testing import assert_array_equal

from dask_gradcode import CodedLogisticRegression, InsufficientWorkersError, place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import (
    Interfering,
    count_rows,
    frozen,
    gradcode_keys,
    in_process_coef,
    local_cluster,
    logistic_data,
    pid_of,
    restart_no_more,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(4000, 8)
PAIRS = FractionalRepetition(4, 1)
W = np.zeros(8)
every_transport = pytest.mark.parametrize("transport", ["tasks", "stream"])


@pytest.fixture(scope="module")
def nursed() -> Iterator[Client]:
    """Four workers that are started again by their nannies."""
    with local_cluster(4) as client:
        yield client


@pytest.fixture
def cluster(nursed: Client) -> Client:
    """The same, all of them there."""
    nursed.wait_for_workers(4, timeout=60)
    return nursed


def kill(client: Client, data: Placement, *roles: int) -> None:
    """Kill the workers of some roles; return once that is known."""
    before = {role: data.addresses[role] for role in roles}
    pids = [pid_of(client, address) for address in before.values()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(r in data.lost or data.addresses[r] != before[r] for r in roles))


def workers(client: Client) -> list[str]:
    """Return the addresses of all workers."""
    return list(client.scheduler_info(n_workers=-1)["workers"])


def rounds_until(objective: ClusterObjective, is_so: Callable[[], Any]) -> None:
    """Run rounds, each of which must be exact, until something is so."""

    def look() -> Any:
        assert objective(W).value == pytest.approx(len(Y), rel=1e-12)
        return is_so()

    wait_until(look, 60.0)


def fit(data: Placement, transport: str, act: Callable[[], Any]) -> CodedLogisticRegression:
    solver = Interfering(act=act)
    model = CodedLogisticRegression(solver=solver, tol=1e-8, max_iter=500, transport=transport)
    return model.fit(data)


# ---------------------------------------------------------------- death and return


@every_transport
@pytest.mark.parametrize("code", [PAIRS, CyclicRepetition(4, 1)], ids=repr)
def test_deaths_one_by_one_are_survived_and_each_newcomer_is_used(
    cluster: Client, code: GradientCode, transport: str
) -> None:
    with (
        place(X, Y, code=code) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        for role in (0, 1, 0):  # of one group: each time the other one must have its rows
            before = data.addresses[role]
            kill(cluster, data, role)
            rounds_until(objective, lambda: not data.lost)
            assert data.addresses[role] != before
            rounds_until(objective, lambda role=role: objective(W).record.used[role])
    wait_until(lambda: not gradcode_keys(cluster))


def test_the_log_says_who_was_lost_and_when_s_may_be_lost_again(
    cluster: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with place(X, Y, code=PAIRS) as data:
        data.wait(timeout=30)
        before = data.addresses[2]
        kill(cluster, data, 2)
        data.wait(timeout=30)
        after = data.addresses[2]
    lost, placed = (caplog.text.index(f"Role 2 is {what}") for what in ("lost", "placed on"))
    assert before in caplog.text[lost:placed]
    assert after in caplog.text[placed:]
    assert "tolerated again: 1 silent worker(s)" in caplog.text[placed:]


def test_a_worker_that_died_before_the_placement_is_waited_for(cluster: Client) -> None:
    address = workers(cluster)[0]
    os.kill(pid_of(cluster, address), signal.SIGKILL)
    wait_until(lambda: address not in workers(cluster))
    with (
        dask.config.set({"gradcode.timeouts.workers": "60s"}),
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows) as objective,
    ):
        assert objective(W).value == len(Y)


@every_transport
@pytest.mark.parametrize("source", ["in memory", "dask"])
def test_blocks_of_which_no_replica_is_left_are_computed_again(
    cluster: Client, source: str, transport: str
) -> None:
    """And a fit that has had to wait goes on from where it was."""
    X_, Y_ = (X, Y) if source == "in memory" else (da.from_array(X, 700), da.from_array(Y, 900))
    with place(X_, Y_, code=PAIRS) as data:
        model = fit(data, transport, lambda: kill(cluster, data, 0, 1))
    expected = in_process_coef(X, Y, PAIRS, tol=1e-8)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)
    changes = [(event.worker, event.what) for event in model.history_.events]
    assert {(0, "lost"), (1, "lost")} < set(changes) <= {*changes, (0, "restored"), (1, "restored")}
    wait_until(lambda: not gradcode_keys(cluster))


def test_the_wait_for_workers_that_never_come_is_bounded() -> None:
    with (
        local_cluster(4) as cluster,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows) as objective,
    ):
        restart_no_more(cluster)
        dead = dict(data.addresses)
        kill(cluster, data, 0)
        assert objective(W).value == len(Y)
        kill(cluster, data, 1)
        with (
            dask.config.set({"gradcode.timeouts.recover": "1s"}),
            pytest.raises(InsufficientWorkersError) as caught,
        ):
            objective(W)
        for role in (0, 1):
            assert f"role {role}: {dead[role]}: it left the cluster" in str(caught.value)


@every_transport
def test_two_fits_on_one_placement_survive_a_death(cluster: Client, transport: str) -> None:
    gate = threading.Barrier(2)
    with place(X, Y, code=PAIRS) as data:

        def act() -> None:
            if gate.wait(60) == 0:
                kill(cluster, data, 2)

        found: list[Vector] = []

        def run() -> None:
            model = fit(data, transport, act)
            found.append(np.append(model.coef_, model.intercept_))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with ClusterObjective(data, count_rows, transport=transport) as objective:
            rounds_until(objective, lambda: not data.lost)
    expected = in_process_coef(X, Y, PAIRS, tol=1e-8)
    assert [one.tobytes() for one in found] == [expected.tobytes()] * 2
    wait_until(lambda: not gradcode_keys(cluster))


# ---------------------------------------------------------------- spares, and clusters that change


@every_transport
def test_a_spare_takes_over_from_a_frozen_worker(transport: str) -> None:
    with local_cluster(5) as client, place(X, Y, code=PAIRS) as data:
        data.wait(timeout=30)  # else another may take the spare
        spare = set(workers(client)) - set(data.addresses.values())
        pid = pid_of(client, data.addresses[2])
        with ClusterObjective(data, count_rows, transport=transport) as objective:
            with frozen(pid):
                rounds_until(objective, lambda: {data.addresses[2]} == spare and not data.lost)
                rounds_until(objective, lambda: objective(W).record.used[2])
            records: list[RoundRecord] = []

            def all_have_answered() -> bool:
                records.append(objective(W).record)
                objective.drain()  # who was not needed may answer later
                return any(np.isfinite(record.arrived_at).all() for record in records)

            rounds_until(objective, all_have_answered)


@every_transport
def test_a_round_that_waits_for_frozen_workers_ends_by_a_spare(transport: str) -> None:
    with (
        local_cluster(5) as client,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        data.wait(timeout=30)
        assert objective(W).value == len(Y)
        with (
            dask.config.set({"gradcode.timeouts.round": "45s"}),  # else it waits as for slow ones
            frozen(*(pid_of(client, data.addresses[role]) for role in (0, 1))),
        ):
            rounds_until(objective, lambda: data.roles.recovered)


@every_transport
def test_a_role_comes_from_elsewhere_when_the_worker_dies_that_it_is_copied_from(
    transport: str,
) -> None:
    with (
        local_cluster(5) as client,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        data.wait(timeout=30)
        restart_no_more(client)
        before, source = data.addresses[0], pid_of(client, data.addresses[1])
        os.kill(source, signal.SIGSTOP)  # or copying would be over too soon
        kill(client, data, 0)
        wait_until(lambda: data.roles.tend() or data.addresses[0] != before)
        os.kill(source, signal.SIGKILL)
        wait_until(lambda: 1 in data.lost)
        with dask.config.set({"gradcode.timeouts.recover": "20s"}):
            seen = objective(W)
        assert (seen.value, seen.record.lost) == (len(Y), (1,))


@every_transport
@pytest.mark.parametrize("how", ["retire", "close"])
def test_a_worker_that_leaves_in_good_order_is_replaced(how: str, transport: str) -> None:
    with (
        local_cluster(5) as client,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        objective(W)
        before = data.addresses[1]
        if how == "retire":
            leaving = threading.Thread(target=client.retire_workers, args=([before],))
        else:
            leaving = threading.Thread(target=close_worker, args=(client, before))
        leaving.start()
        rounds_until(objective, lambda: data.addresses[1] != before and not data.lost)
        rounds_until(objective, lambda: objective(W).record.used[1])
        leaving.join()


def close_worker(client: Client, address: str) -> None:
    async def close(dask_worker: Any) -> None:
        dask_worker.loop.add_callback(dask_worker.close_gracefully)

    client.run(close, workers=[address])


@every_transport
def test_a_cluster_may_grow_and_shrink(transport: str) -> None:
    with (
        local_cluster(4) as cluster,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        for n_workers in (6, 4):
            cluster.cluster.scale(n_workers)
            rounds_until(
                objective,
                lambda n=n_workers: len(cluster.scheduler_info(n_workers=-1)["workers"]) == n,
            )
        rounds_until(objective, lambda: not data.lost)


def test_an_adaptive_cluster_starts_with_nobody_and_keeps_who_is_needed() -> None:
    """Those that hold the data are not taken for idle, however often the cluster looks."""
    with local_cluster(0) as client, dask.config.set({"gradcode.timeouts.workers": "60s"}):
        client.cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=1)
        with (
            place(X, Y) as data,
            ClusterObjective(data, count_rows, transport="stream") as objective,
        ):
            address = data.addresses[0]
            for _ in range(3):
                seen = client.submit(len, "work for one more worker", pure=False).result()
                assert (seen, objective(W).value) == (24, len(Y))
            assert data.addresses[0] == address


# ---------------------------------------------------------------- workers that send what is wrong


@every_transport
def test_a_worker_that_lies_is_named(cluster: Client, transport: str) -> None:
    with place(X, Y, code=PAIRS) as data:
        liar = data.addresses[1]

        def work(w: Vector, block: Block) -> tuple[float, Vector]:
            return float(block.n_rows), w + (1e-3 if get_worker().address == liar else 0.0)

        with (
            ClusterObjective(data, work, transport=transport) as objective,
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            rounds_until(objective, lambda: caught)
    (warning,) = caught
    text = str(warning.message)
    assert warning.category is UserWarning
    assert "they sent different sums of the same rows" in text
    assert "blocks [0, 1]" in text
    assert all(f"role {role} on {data.addresses[role]}" in text for role in (0, 1))


@every_transport
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_worker_that_sends_what_is_not_finite_is_done_without(
    cluster: Client, bad: float, transport: str
) -> None:
    with place(X, Y, code=CyclicRepetition(4, 1)) as data:
        liar = data.addresses[3]

        def work(w: Vector, block: Block) -> tuple[float, Vector]:
            return float(block.n_rows), w * (bad if get_worker().address == liar else 1.0)

        with ClusterObjective(data, work, transport=transport) as objective:
            rounds_until(objective, lambda: objective(W + 1).record.lost == (3,))


def test_a_sum_that_is_not_finite_is_the_sum(cluster: Client) -> None:
    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        return np.inf, w

    with place(X, Y, code=PAIRS) as data, ClusterObjective(data, work) as objective:
        assert objective(W).value == np.inf
