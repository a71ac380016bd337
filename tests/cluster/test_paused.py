"""Workers that Dask's memory manager has paused begin no task: errors say so, with the limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from dask_gradcode import place
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.codes import Uncoded
from dask_gradcode.rounds import InsufficientWorkersError
from helpers import Interfering, assert_same_model, logistic_data, reference, tight, wait_until

pytestmark = pytest.mark.cluster

X, Y = logistic_data(200, 3)
PAUSED = r"paused by Dask's memory manager \(memory limit 700\.00 MiB\)"


def soon() -> dask.config.set:
    """Return a context in which it is given up soon."""
    return dask.config.set({"gradcode.timeouts.recover": "3s"})


@contextmanager
def cluster(pause: float) -> Iterator[Client]:
    """Start workers that pause when they have this share of their memory."""
    with (
        dask.config.set({"distributed.worker.memory.pause": pause}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="700MiB", dashboard_address=":0"
        ) as started,
        Client(started) as client,
    ):
        yield client


def pause_at(client: Client, share: float, n: int = 2) -> None:
    """Have Dask's own memory manager pause, or no longer pause, so many workers."""

    def change(dask_worker: Any) -> None:
        dask_worker.memory_manager.memory_pause_fraction = share

    addresses = sorted(workers_of(client))[:n]
    client.run(change, workers=addresses)
    state = "paused" if share < 0.5 else "running"
    wait_until(lambda: all(workers_of(client)[a]["status"] == state for a in addresses))


def test_placing_on_paused_workers_says_so() -> None:
    with cluster(pause=0.01) as client:
        wait_until(lambda: {w["status"] for w in workers_of(client).values()} == {"paused"})
        with soon(), pytest.raises(InsufficientWorkersError, match=PAUSED):
            place(X, Y)
        pause_at(client, 0.95)
        assert_same_model(tight().fit(X, Y), reference().fit(X, Y))


@pytest.mark.parametrize("transport", ["auto", "stream", "tasks"])
def test_rounds_on_paused_workers_say_so(transport: str) -> None:
    with cluster(pause=0.95) as client, place(X, Y) as data:
        pause_at(client, 0.01)
        with soon(), pytest.raises(InsufficientWorkersError, match=PAUSED):
            tight(transport=transport).fit(data)
        pause_at(client, 0.95)
        assert_same_model(tight(transport=transport).fit(data), reference().fit(X, Y))


def test_rounds_that_need_one_worker_that_is_paused_say_so() -> None:
    """The stream is open to the other one, which can be reached."""
    with cluster(pause=0.95) as client, place(X, Y, code=Uncoded(2)) as data:
        pause_at(client, 0.01, n=1)
        with soon(), pytest.raises(InsufficientWorkersError, match=PAUSED):
            tight().fit(data)
        pause_at(client, 0.95)
        assert_same_model(tight().fit(data), reference().fit(X, Y))


def test_workers_that_are_paused_in_mid_fit_go_on_where_they_have_begun() -> None:
    with cluster(pause=0.95) as client, place(X, Y, code=Uncoded(2)) as data:
        pausing = Interfering(act=lambda: pause_at(client, 0.01))
        model = tight(transport="stream", solver=pausing).fit(data)
        assert_same_model(model, reference().fit(X, Y))


def test_a_round_that_lasts_too_long_names_paused_workers() -> None:
    with cluster(pause=0.95) as client, place(X, Y) as data:
        pause_at(client, 0.01)
        with (
            dask.config.set({"gradcode.timeouts.round": "5s"}),
            pytest.raises(TimeoutError, match=PAUSED),
        ):
            tight(transport="stream").fit(data)


def test_one_paused_worker_is_worked_around() -> None:
    with cluster(pause=0.95) as client:
        pause_at(client, 0.01, n=1)
        assert_same_model(tight(n_workers=2).fit(X, Y), reference().fit(X, Y))
