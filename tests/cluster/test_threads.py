"""Workers with several threads: all compute, the bits are the same, and Dask gets its turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from distributed import Client, LocalCluster, get_worker
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement, inject
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, GradientCode
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.stragglers import Slowdown
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import wait_until

pytestmark = pytest.mark.cluster

every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])
SMALL = np.arange(12.0).reshape(6, 2)
ZEROS = np.zeros(2)


@pytest.fixture(scope="module")
def two() -> Iterator[Client]:
    """Two worker processes of two threads."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def small(two: Client) -> Iterator[Placement]:
    """Two blocks, of which every message is the sum."""
    with place(SMALL, np.zeros(6), code=FractionalRepetition(2, 1), client=two) as data:
        yield data


def blocks_of(data: Placement, X: Any, y: Any) -> dict[int, Block]:
    borders = np.cumsum([0, *data.block_rows]).astype(int)
    return {i: Block(X[a:b], y[a:b]) for i, (a, b) in enumerate(pairwise(borders))}


# What is made in a function travels by value: no worker need find this file.
def that_meets(where: str) -> Callable[[Vector, Block], tuple[float, Vector]]:
    def function(w: Vector, block: Block) -> tuple[float, Vector]:
        getattr(sys, where)[0].wait(200)
        assert get_worker().address
        return float(block.n_rows), block.X.sum(axis=0)

    return function


def that_waits(where: str) -> Callable[[Vector, Block], tuple[float, Vector]]:
    def function(w: Vector, block: Block) -> tuple[float, Vector]:
        meeting, gate = getattr(sys, where)
        meeting.wait(200)
        gate.wait(200)
        return float(block.n_rows), block.X.sum(axis=0)

    return function


@contextmanager
def meeting_of(client: Client, n: int) -> Iterator[str]:
    """Have n meet on each worker; yield where, which is another place than for earlier rounds.

    Who still waits at the end is let go: a worker whose message is dropped while one thread is
    there has no other for it to meet, and a thread less for the next round.
    """
    where = f"meeting-{uuid4().hex}"

    def begin() -> None:
        setattr(sys, where, (threading.Barrier(n), threading.Event()))

    def end() -> None:
        meeting, gate = getattr(sys, where)
        meeting.abort()
        gate.set()

    client.run(begin)
    try:
        yield where
    finally:
        client.run(end)


def helpers(client: Client) -> list[list[str]]:
    """Return the names of the threads that help, by worker."""

    def here() -> list[str]:
        return [one.name for one in threading.enumerate() if "gradcode-helper" in one.name]

    return list(client.run(here).values())


@every_transport
@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("code", [FractionalRepetition(2, 1), DeclusteredRepetition(2, 1)])
def test_rounds_give_the_bits_of_this_process(
    two: Client, code: GradientCode, form: Any, transport: str
) -> None:
    rng = np.random.default_rng(0)
    X, w = form(rng.standard_normal((140_000, 17))), rng.standard_normal(17)
    y = (rng.random(140_000) < 0.5).astype(float)
    with place(X, y, code=code, client=two) as data:
        here = InProcessObjective(code, blocks_of(data, X, y), Logistic())(w)
        with ClusterObjective(data, Logistic(), transport=transport) as objective:
            for _ in range(2):
                seen = objective(w)
                assert seen.value == here.value
                assert_array_equal(seen.gradient, here.gradient)


@every_transport
def test_blocks_of_a_message_are_computed_at_once_and_know_their_worker(
    two: Client, small: Placement, transport: str
) -> None:
    with (
        meeting_of(two, 2) as where,  # who computes a block waits for who computes the other
        ClusterObjective(small, that_meets(where), transport=transport) as objective,
    ):
        seen = objective(ZEROS)
    assert seen.value == 6.0
    assert_array_equal(seen.gradient, SMALL.sum(axis=0))


def test_leaves_of_a_message_are_computed_at_once(two: Client) -> None:
    code = DeclusteredRepetition(2, 1, n_leaves=2)
    with (
        meeting_of(two, 2) as where,
        place(SMALL, np.zeros(6), code=code, client=two) as data,
        ClusterObjective(data, that_meets(where)) as objective,
    ):
        assert objective(ZEROS).value == 6.0


def test_a_task_of_another_gets_its_turn_while_all_threads_compute(
    two: Client, small: Placement
) -> None:
    found: list[float] = []
    with (
        meeting_of(two, 3) as where,  # both threads and, here, a look from outside
        ClusterObjective(small, that_waits(where)) as objective,
    ):
        round_ = threading.Thread(target=lambda: found.append(objective(ZEROS).value))
        round_.start()

        def look() -> None:
            getattr(sys, where)[0].wait(200)

        for address in small.addresses:
            two.submit(look, workers=[address], pure=False).result(200)
        assert not found
        two.run(lambda: getattr(sys, where)[1].set())
        round_.join()
    assert found == [6.0]


def test_injected_slowdowns_keep_the_bits(two: Client) -> None:
    rng = np.random.default_rng(0)
    X, w, y = rng.standard_normal((80_000, 20)), rng.standard_normal(20), np.zeros(80_000)
    with (
        place(X, y, code=FractionalRepetition(2, 1), client=two) as data,
        inject(two, Slowdown(4.0, workers=[0, 1])),
        ClusterObjective(data, Logistic()) as objective,
    ):
        here = InProcessObjective(data.code, blocks_of(data, X, y), Logistic())(w)
        assert_array_equal(objective(w).gradient, here.gradient)


def test_the_threads_are_shared_and_end_with_the_last_placement(
    two: Client, small: Placement
) -> None:
    with place(SMALL, np.zeros(6), code=FractionalRepetition(2, 1), client=two) as other:
        for data in (small, other):
            with (
                meeting_of(two, 2) as where,
                ClusterObjective(data, that_meets(where)) as objective,
            ):
                objective(ZEROS)
        assert helpers(two) == [["gradcode-helper-0"]] * 2
    small.close()
    wait_until(lambda: not any(helpers(two)))
