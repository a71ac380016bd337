"""Slices are asked for in mid-round: on real workers, with the bits of whole sums."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, random_array

from dask_gradcode import CodedLogisticRegression, estimate, place
from dask_gradcode.cluster import ClusterObjective, Throttle, inject
from dask_gradcode.codes import FractionalRepetition, GradientCode, SlicedRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.stragglers import FixedDelay, NeverAnswers, Slowdown, StragglerModel
from dask_gradcode.typing import Evaluation, Vector
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

CODE = SlicedRepetition(6, 2)
MIXED = SlicedRepetition(6, 1, n_slices=2)
X, Y = logistic_data(1200, 11)
# no worker has all columns, and groups have others
SPARSE = csr_array(random_array((1200, 900), density=0.002, rng=np.random.default_rng(0)))
every_transport = pytest.mark.parametrize("transport", ["tasks", "stream"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with local_cluster(6) as client:
        yield client


def sent_by(code: GradientCode, record: RoundRecord) -> dict[int, Fraction]:
    """How much of a payload each role has sent."""
    sent: Counter[int] = Counter()
    for answer in record.answers:
        sent[answer.role] += Fraction(1, code.messages[answer.message].slices.n_slices)
    return dict(sent)


def seen_by(
    client: Client, code: GradientCode, rows: Any, model: StragglerModel, transport: str
) -> list[Evaluation]:
    points = np.random.default_rng(1).normal(size=(4, rows.shape[1]))
    with (
        place(rows, Y, code=code, client=client) as data,
        inject(client, model),
        ClusterObjective(data, Logistic(), transport=transport) as objective,
    ):
        assert data.code == code
        return [*map(objective, points), *objective.many(points[:2])]


@every_transport
@pytest.mark.parametrize("rows", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "model",
    [
        StragglerModel(),
        FixedDelay(0.05, n_random=2),
        NeverAnswers(workers=[1, 2, 3]),
        Slowdown(20.0, probability=0.3, seed=1),
    ],
    ids=["nobody", "random", "never", "slow-at-random"],
)
def test_the_bits_are_those_of_whole_sums_whoever_is_late(
    cluster: Client, transport: str, rows: Any, model: StragglerModel
) -> None:
    whole = seen_by(cluster, FractionalRepetition(6, 2), rows, StragglerModel(), transport)
    for right, seen in zip(whole, seen_by(cluster, CODE, rows, model, transport), strict=True):
        assert seen.value == right.value
        assert_array_equal(seen.gradient, right.gradient)
    for right, seen in zip(
        whole, seen_by(cluster, MIXED, rows, FixedDelay(0.02, n_random=1), transport), strict=True
    ):
        assert_allclose(seen.value, right.value, rtol=1e-13)
        assert_allclose(seen.gradient, right.gradient, atol=1e-12)


@every_transport
def test_each_ready_worker_sends_what_the_late_ones_make_necessary(
    cluster: Client, transport: str
) -> None:
    with (
        place(X, Y, code=CODE, client=cluster) as data,
        ClusterObjective(data, Logistic(), transport=transport) as objective,
    ):
        w = np.zeros(X.shape[1])  # a payload of 12 numbers
        for late, parts in (([], (3, 3)), ([1], (2, 3)), ([1, 5], (2, 2)), ([0, 1, 5], (1, 2))):
            with inject(cluster, NeverAnswers(workers=late)):

                def is_shared(late: list[int] = late, parts: tuple[int, int] = parts) -> bool:
                    sent = sent_by(CODE, objective(w).record)
                    return sent == {
                        i: Fraction(1, parts[i // 3]) for i in range(6) if i not in late
                    }

                # a worker of this machine may be late without being told to
                wait_until(is_shared)


@every_transport
def test_hessians_come_in_slices_too(cluster: Client, transport: str) -> None:
    found = []
    for code in (FractionalRepetition(6, 2), CODE):
        with (
            place(X, Y, code=code, client=cluster) as data,
            inject(cluster, NeverAnswers(workers=[4])),
            ClusterObjective(data, Logistic(), transport=transport) as objective,
        ):
            found.append(objective.second_order(np.ones(X.shape[1])).hessian)
    assert_array_equal(*found)


@every_transport
def test_slices_that_are_shorter_than_none_are_sent_all_the_same(
    cluster: Client, transport: str
) -> None:
    rows, y = np.ones((60, 1)), np.arange(60) % 2
    for code in (CODE, SlicedRepetition(6, 0, n_slices=6)):
        with (
            place(rows, y, code=code, client=cluster) as data,
            ClusterObjective(data, count_rows, transport=transport) as objective,
        ):
            seen = objective(np.zeros(1))
            assert_allclose([seen.value, *seen.gradient], [60.0, 0.0], atol=1e-12)


@every_transport
def test_an_error_of_the_work_is_that_of_every_slice(cluster: Client, transport: str) -> None:
    def fails(w: Vector, block: Block) -> tuple[float, Vector]:
        raise ZeroDivisionError("a bad row")

    with (
        place(X, Y, code=CODE, client=cluster) as data,
        ClusterObjective(data, fails, transport=transport) as objective,
        pytest.raises(ZeroDivisionError, match="a bad row"),
    ):
        objective(np.zeros(X.shape[1]))


@every_transport
def test_a_sum_is_computed_once_and_nothing_of_it_stays(cluster: Client, transport: str) -> None:
    def counted(w: Vector, block: Block) -> tuple[float, Vector]:
        worker = get_worker()
        worker.log_event("computed", [worker.address, float(w[0]), float(block.X[0, 0])])
        return float(block.n_rows), w

    cluster.run_on_scheduler(lambda dask_scheduler: dask_scheduler._broker.truncate("computed"))
    with (
        place(X, Y, code=CODE, client=cluster) as data,
        inject(cluster, NeverAnswers(workers=[1])),
        ClusterObjective(data, counted, transport=transport) as objective,
    ):
        for number in range(4):
            assert objective(np.full(X.shape[1], float(number))).value == len(Y)
        # in each round a worker of each group has computed its three blocks, and others may have
        wait_until(lambda: len(cluster.get_events("computed") or ()) >= 4 * 6)
        computed = [tuple(said) for _, said in cluster.get_events("computed")]
        assert len({*computed}) == len(computed)
    wait_until(lambda: not gradcode_keys(cluster))


@every_transport
def test_a_worker_that_freezes_in_mid_round_is_done_without(
    cluster: Client, transport: str
) -> None:
    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event(f"gate-{get_worker().address}").wait()
        return count_rows(w, block)

    with (
        place(X, Y, code=CODE, client=cluster) as data,
        ClusterObjective(data, gated, transport=transport) as objective,
    ):
        gates = [Event(f"gate-{a}", client=cluster) for a in data.addresses.values()]
        for role in (0, 2, 3, 4, 5):
            gates[role].set()
        seen = objective(np.zeros(X.shape[1]))  # role 1 computes, for good
        assert seen.value == len(Y)
        used = {answer.role for answer in seen.record.answers if answer.used}
        assert used
        assert 1 not in used
        with frozen(pid_of(cluster, data.addresses[1]), pid_of(cluster, data.addresses[3])):
            for _ in range(3):
                assert objective(np.zeros(X.shape[1])).value == len(Y)
        for gate in gates:
            gate.set()
        wait_until(lambda: objective(np.zeros(X.shape[1])).record.used.all())
        for gate in gates:
            gate.clear()


@every_transport
@pytest.mark.parametrize("code", [CODE, MIXED], ids=repr)
def test_a_death_while_computing_is_done_without(
    code: GradientCode, transport: str, tmp_path: Path
) -> None:
    marks = str(tmp_path)

    def deadly(w: Vector, block: Block) -> tuple[float, Vector]:
        try:  # the first two that come to it, one after the other
            with open(f"{marks}/{int(w[0])}", "x"):
                pass
        except FileExistsError:
            return float(block.n_rows), np.full(w.size, block.X.sum())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it is dead")

    with local_cluster(6) as client:
        restart_no_more(client)
        with (
            dask.config.set({"gradcode.timeouts.share": "0.5s"}),
            place(X, Y, code=code, client=client) as data,
            ClusterObjective(data, deadly, transport=transport) as objective,
        ):
            data.wait(timeout=60)
            for number in range(code.n_stragglers):
                w = np.full(X.shape[1], float(number))
                seen = objective(w)
                assert_allclose(seen.value, len(Y), rtol=1e-12)
                assert_allclose(seen.gradient, X.sum(), rtol=1e-9)
                assert (tmp_path / str(number)).exists()
                data.wait(timeout=60)  # a role that shares a worker now


def test_the_name_stands_for_the_code_before_and_after_placing(cluster: Client) -> None:
    assert estimate(X, Y, code="sliced", n_stragglers=2, client=cluster).code == CODE
    with place(X, Y, code="sliced", n_stragglers=2, client=cluster) as data:
        assert data.code == CODE


@every_transport
@pytest.mark.parametrize("code", ["sliced", CODE, MIXED], ids=repr)
def test_a_death_in_mid_fit_changes_nothing(code: str | GradientCode, transport: str) -> None:
    with local_cluster(6) as client:
        restart_no_more(client)
        with place(X, Y, code=code, client=client) as data:
            data.wait(timeout=60)
            pid = pid_of(client, data.addresses[1])
            solver = Interfering(round=2, act=lambda: os.kill(pid, signal.SIGKILL))
            model = CodedLogisticRegression(transport=transport, solver=solver, tol=1e-3).fit(data)
            found = [*model.coef_[0], *model.intercept_]
            right = in_process_coef(X, Y, data.code, tol=1e-3)
            if data.code.mixes:
                assert_allclose(found, right, rtol=1e-9)
            else:
                assert_array_equal(found, right)


@every_transport
def test_slow_uplinks_change_no_bit_and_end_with_the_context(
    cluster: Client, transport: str
) -> None:
    def long(w: Vector, block: Block) -> tuple[float, Vector]:
        return float(block.n_rows), np.arange(w.size) * block.X.sum()

    w = np.zeros(20_000)
    with (
        place(X, Y, code=CODE, client=cluster) as data,
        ClusterObjective(data, long, transport=transport) as objective,
    ):
        right = objective(w)
        with inject(cluster, Throttle(bytes_per_second=1e6)), inject(cluster, Throttle(2e6)):
            for _ in range(2):
                assert_array_equal(objective(w).gradient, right.gradient)
        with inject(cluster, Throttle(bytes_per_second=1.0)):
            pass  # it is over before anything has been sent
        assert_array_equal(objective(w).gradient, right.gradient)
