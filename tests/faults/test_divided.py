"""What one worker leaves undone is computed by others: on real workers, with the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Event
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, random_array

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective, Placement, inject
from dask_gradcode.codes import DeclusteredRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.rounds import Round, RoundRecord, Yield, Yielded
from dask_gradcode.stragglers import FixedDelay, Slowdown, StragglerModel
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Block
from helpers import (
    Interfering,
    count_rows,
    frozen,
    in_process_coef,
    local_cluster,
    logistic_data,
    pid_of,
    restart_no_more,
    wait_until,
)

pytestmark = pytest.mark.cluster

CODE = DeclusteredRepetition(4, 1, spread=2, n_leaves=4)
X, Y = logistic_data(4000, 8)
SPARSE = csr_array(random_array((4000, 300), density=0.02, rng=np.random.default_rng(0)))
W = np.zeros(8)
every_transport = pytest.mark.parametrize("transport", ["tasks", "stream"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with local_cluster(4) as client:
        yield client


def computed(record: RoundRecord, role: int) -> set[int]:
    """Return the blocks of which a role's sums were used."""
    messages = [answer.message for answer in record.answers if answer.used and answer.role == role]
    return {block for message in messages for block in CODE.messages[message].blocks}


def in_this_process(rows: Any, data: Placement) -> InProcessObjective:
    blocks = {
        i: Block(rows[start:stop], Y[start:stop].astype(float))
        for i, (start, stop) in enumerate(
            pairwise(np.cumsum([0, *data.block_rows.astype(int)]).tolist())
        )
    }
    return InProcessObjective(CODE, blocks, Logistic())


@every_transport
@pytest.mark.parametrize("rows", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "model",
    [
        StragglerModel(),
        FixedDelay(0.05, n_random=1),
        FixedDelay(0.05, workers=[2]),
        Slowdown(20.0, workers=[1]),
        Slowdown(20.0, probability=0.3, seed=1),
    ],
    ids=["nobody", "random", "late", "slow", "slow-at-random"],
)
def test_the_bits_are_those_of_this_process_whoever_is_late(
    cluster: Client, transport: str, rows: Any, model: StragglerModel
) -> None:
    points = np.random.default_rng(1).normal(size=(12, rows.shape[1]))
    with (
        place(rows, Y, code=CODE, client=cluster) as data,
        inject(cluster, model),
        ClusterObjective(data, Logistic(), transport=transport) as objective,
    ):
        expected = in_this_process(rows, data)
        for w in points:
            seen, right = objective(w), expected(w)
            assert seen.value == right.value
            assert_array_equal(seen.gradient, right.gradient)


@every_transport
def test_a_frozen_worker_is_done_without_and_used_again_when_it_wakes(
    cluster: Client, transport: str
) -> None:
    with (
        place(X, Y, code=CODE, client=cluster) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        data.wait(timeout=60)
        assert objective(W).value == len(Y)
        with frozen(pid_of(cluster, data.addresses[2])):
            for _ in range(12):
                seen = objective(W)
                assert seen.value == len(Y)
                assert not computed(seen.record, 2)
        wait_until(lambda: computed(objective(W).record, 2))


def stuck_in(block: int, gate: str, log: Path) -> Any:
    """Return work that waits for an event in one block, on the first worker that comes to it.

    Who that is stands in the log. It is the block's owner, unless that was late before.
    """

    def work(w: Vector, found: Block) -> tuple[float, Vector]:
        if found.X[0, 0] == block:
            try:
                with open(log, "x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                pass
            else:
                Event(gate).wait()
        return float(found.n_rows), found.X[0]

    return work


def numbered() -> tuple[Matrix, Any]:
    """Return rows that say in which of 16 blocks they are."""
    return np.repeat(np.arange(16.0), 5)[:, np.newaxis], np.arange(80) % 2


@every_transport
def test_a_worker_that_is_stuck_in_a_block_is_helped(
    cluster: Client, transport: str, tmp_path: Path
) -> None:
    rows, y = numbered()
    gate = Event(f"gate-{transport}", client=cluster)
    work = stuck_in(6, gate.name, tmp_path / "log")
    with (
        place(rows, y, code=CODE, client=cluster) as data,
        ClusterObjective(data, work, transport=transport) as objective,
    ):
        data.wait(timeout=60)
        seen = objective(np.zeros(1))
        assert (seen.value, seen.gradient[0]) == (80.0, sum(range(16)))
        (stuck,) = (
            role
            for role, address in data.addresses.items()
            if pid_of(cluster, address) == int((tmp_path / "log").read_text())
        )
        assert 6 not in computed(seen.record, stuck)
        log = objective.logs[0]
        assert Yield(stuck) in [order for step in log.steps for order in step.orders]
        assert [step.orders for step in Round.replay(log).log.steps] == [
            step.orders for step in log.steps
        ]
        gate.set()
        wait_until(lambda: computed(objective(np.zeros(1)).record, stuck))


def test_a_slow_worker_yields_what_it_has_finished(cluster: Client) -> None:
    slow = Slowdown(30.0, workers=[1])
    with (
        place(SPARSE, Y, code=CODE, client=cluster) as data,
        inject(cluster, slow),
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        w = np.zeros(SPARSE.shape[1])
        assert objective(w).value == pytest.approx(len(Y) * np.log(2.0))

        def has_yielded() -> bool:
            objective(w)
            return any(isinstance(step.event, Yielded) for step in objective.logs[-1].steps)

        wait_until(has_yielded)


@every_transport
def test_a_death_in_mid_fit_changes_no_bit(transport: str) -> None:
    with local_cluster(5) as client:
        restart_no_more(client)
        with place(X, Y, code=CODE, client=client) as data:
            data.wait(timeout=60)
            pid = pid_of(client, data.addresses[1])
            solver = Interfering(round=2, act=lambda: os.kill(pid, signal.SIGKILL))
            model = CodedLogisticRegression(transport=transport, solver=solver, tol=1e-3).fit(data)
            found = [*model.coef_[0], *model.intercept_]
            assert_array_equal(found, in_process_coef(X, Y, CODE, tol=1e-3))
            data.wait(timeout=60)
            assert not data.lost
            with ClusterObjective(data, count_rows, transport=transport) as objective:
                assert objective(W).value == len(Y)
