"""Deaths while data is checked and placed: no task is left alone for good, whoever has gone."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, Event, LocalCluster

from chaos_placing import plan, run
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.cluster.client import silence
from dask_gradcode.rounds import InsufficientWorkersError
from helpers import (
    count_rows,
    gradcode_keys,
    local_cluster,
    pid_of,
    restart_no_more,
    tight,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = np.arange(400.0).reshape(200, 2), np.arange(200) % 2


@contextmanager
def promised(recover: str) -> Iterator[None]:
    """Have fits wait for workers so long."""
    names = ("recover", "workers")
    with dask.config.set({f"gradcode.timeouts.{name}": recover for name in names}):
        yield


def gated_data() -> tuple[Any, Any]:
    """Return data of which no chunk is computed until the gate is open."""

    def gated(chunk: Any) -> Any:
        Event("begun").set()
        Event("gate").wait()
        return chunk

    lazy = da.from_array(X, chunks=(50, 2)).map_blocks(gated, meta=X[:0])
    return lazy, da.from_array(Y, chunks=50)


@contextmanager
def meanwhile(act: Any) -> Iterator[None]:
    """Do something in a thread; it must have been done at the end."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def rows_summed(client: Client, X_: Any, y_: Any) -> float:
    with place(X_, y_, n_stragglers=1) as data, ClusterObjective(data, count_rows) as objective:
        value = objective(np.zeros(1)).value
    wait_until(lambda: not gradcode_keys(client))
    return value


def gone(client: Client, addresses: Any) -> None:
    wait_until(lambda: not set(addresses) & set(client.scheduler_info(-1)["workers"]))


@pytest.mark.parametrize("n_first", [1, 2], ids=["one after the other", "both at once"])
def test_workers_all_of_which_die_while_chunks_are_computed(n_first: int) -> None:
    with local_cluster(2) as client, promised("120s"):
        begun, gate = Event("begun", client=client), Event("gate", client=client)
        pids = client.run(os.getpid)

        def kill() -> None:
            begun.wait()
            addresses = sorted(pids)
            for some in (addresses[:n_first], addresses[n_first:]):
                for address in some:
                    os.kill(pids[address], signal.SIGKILL)
                gone(client, some)
            gate.set()

        with meanwhile(kill):
            assert rows_summed(client, *gated_data()) == 200.0
        assert not set(client.run(os.getpid).values()) & set(pids.values())


def assert_ends_as_promised(seed: int) -> None:
    outcome = run(plan(seed))
    assert outcome.end in ("fit", "error"), (outcome.plan, outcome.why, outcome.states)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_seeded_deaths_end_in_a_fit_or_in_the_promised_error(seed: int) -> None:
    assert_ends_as_promised(seed)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_seeded_deaths(seed: int) -> None:
    assert_ends_as_promised(seed)


def test_a_cluster_that_is_scaled_to_nobody_and_up_again() -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        promised("120s"),
    ):
        begun, gate = Event("begun", client=client), Event("gate", client=client)
        before = list(client.scheduler_info(-1)["workers"])

        def scale() -> None:
            begun.wait()
            cluster.scale(0)
            gone(client, before)
            gate.set()
            cluster.scale(2)

        with meanwhile(scale):
            assert rows_summed(client, *gated_data()) == 200.0


def test_workers_that_never_come_again_are_a_bounded_wait() -> None:
    with local_cluster(2) as client, promised("2s"):
        restart_no_more(client)
        begun, pids = Event("begun", client=client), client.run(os.getpid)

        def kill() -> None:
            begun.wait()
            for pid in pids.values():
                os.kill(pid, signal.SIGKILL)

        with meanwhile(kill), pytest.raises(InsufficientWorkersError, match="Checking the data"):
            place(*gated_data(), n_stragglers=1)
        wait_until(lambda: not gradcode_keys(client))


def test_a_restart_while_a_role_is_placed_is_said_and_ends_the_placing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with local_cluster(3) as client:
        victim = sorted(client.scheduler_info()["workers"])[1]
        os.kill(pid_of(client, victim), signal.SIGSTOP)  # its nanny ends it at the restart
        data = place(X, Y, n_stragglers=1)
        assert data.lost
        client.restart(timeout=100)
        caplog.clear()
        for _ in range(100):  # as rounds and waits do
            data.roles.tend()
        assert len(caplog.records) <= 2 * data.code.n_workers
        for use in (data.wait, lambda: tight(max_iter=1).fit(data)):
            with pytest.raises(RuntimeError, match=r"client\.restart\(\).*Place it anew"):
                use()
        data.close()


def test_waiting_for_a_placement_names_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    with local_cluster(2) as client:
        restart_no_more(client)
        with place(X, Y, n_stragglers=1) as data:
            data.wait(timeout="1 minute")
            os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
            wait_until(lambda: 1 in data.lost)
            with pytest.raises(TimeoutError, match=f"1 of 2 .*\n  role 1: {data.addresses[1]}"):
                data.wait(timeout=0)
            client.cluster.scale(3)
            data.wait(timeout=60)
            assert not data.lost
        with pytest.raises(RuntimeError, match="closed"):
            data.wait()


def test_what_is_waited_for_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "REMIND_EVERY", 0.5)
    with local_cluster(2) as client:
        gate = Event("gate", client=client)
        said = threading.Event()

        class Saying(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "Checking the data: nothing has come" in record.getMessage():
                    said.set()

        handler = Saying()
        logging.getLogger("dask_gradcode").addHandler(handler)

        def open_gate() -> None:
            said.wait()
            gate.set()

        try:
            with meanwhile(open_gate):
                assert rows_summed(client, *gated_data()) == 200.0
        finally:
            logging.getLogger("dask_gradcode").removeHandler(handler)
    assert "Waiting for chunk" in caplog.text
