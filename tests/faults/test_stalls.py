"""What is only slow is waited for: all workers stopped at once, long imports, a lock held."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_array_equal

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import FractionalRepetition, Uncoded
from helpers import Interfering, in_process_coef, local_cluster, logistic_data, pid_of, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(400, 3)
CODE = FractionalRepetition(4, 1)
LONGER = 7.0
"""Seconds beyond which a silent worker counts as frozen, and then as lost, with these settings."""
HASTY = {"gradcode.timeouts.frozen": "5s", "gradcode.timeouts.recover": "1s"}


@pytest.fixture(autouse=True)
def no_false_alarm(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, logger="dask_gradcode")
    with dask.config.set(HASTY):
        yield
    alarms = [r.getMessage() for r in caplog.records if r.name == "dask_gradcode"]
    assert not [text for text in alarms if "heartbeat" in text or "is lost" in text]


def heartbeats(client: Client) -> list[float]:
    """Return when the scheduler has heard each worker last."""
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return [worker["last_seen"] for worker in workers.values()]


@contextmanager
def later(act: Callable[[], None], once: Callable[[], bool]) -> Iterator[None]:
    """Do something in a thread once something is so, or the context ends."""
    over = threading.Event()

    def wait() -> None:
        while not once() and not over.wait(0.05):
            pass
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def all_stopped_for_long(client: Client) -> Iterator[Callable[[], None]]:
    """Yield a function that stops all workers, which then go on once all were silent for long."""
    pids = [pid_of(client, address) for address in client.scheduler_info(-1)["workers"]]
    stopped = threading.Event()

    def stop() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        stopped.set()

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def silent() -> bool:  # the scheduler runs in this process, and has its clock
        return stopped.is_set() and time.time() - max(heartbeats(client)) > LONGER

    with later(go_on, silent):
        yield stop
    assert stopped.is_set()


def test_all_workers_stopped_during_a_round_are_waited_for() -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=CODE) as data,
        all_stopped_for_long(client) as stop,
    ):
        model = tight(solver=Interfering(act=stop)).fit(data)
    expected = in_process_coef(X, Y, CODE, tol=1e-10)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)


@pytest.mark.parametrize("known", [False, True])
def test_all_workers_stopped_during_placing_are_waited_for(known: bool) -> None:
    """They have never answered anything, or they have."""
    with local_cluster(4) as client:
        if known:
            place(X, Y, code=CODE).close()
        with all_stopped_for_long(client) as stop:
            stop()
            data = place(X, Y, code=CODE)
        with data:
            model = tight().fit(data)
    expected = in_process_coef(X, Y, CODE, tol=1e-10)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)


def test_heartbeats_go_on_while_workers_import_this_package(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    def import_slowly() -> None:
        import importlib.abc
        import os
        import sys
        import time

        class Slow(importlib.abc.MetaPathFinder):
            def find_spec(self, name: str, path: Any, target: Any = None) -> None:
                while name == "dask_gradcode" and not os.path.exists(gate):
                    time.sleep(0.01)

        assert "dask_gradcode" not in sys.modules
        sys.meta_path.insert(0, Slow())

    with local_cluster(2) as client:
        client.run(import_slowly)
        begun = time.time()
        with later(Path(gate).touch, lambda: min(heartbeats(client)) > begun + LONGER):
            data = place(X, Y, code=Uncoded(2))
            assert Path(gate).exists()  # all were heard until then
        with data:
            model = tight().fit(data)
    expected = in_process_coef(X, Y, Uncoded(2), tol=1e-10)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)


@pytest.mark.parametrize("transport", ["stream", "tasks"])
def test_a_block_function_whose_module_takes_long_to_import_is_waited_for(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, name = tmp_path / "gate", f"slow_to_import_{transport}"
    (tmp_path / f"{name}.py").write_text(
        "import os, time\n"
        f"while not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.01)\n"
        "def rows(w, block):\n"
        "    return float(block.n_rows), w\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    gate.touch()
    rows = __import__(name).rows  # this process need not wait
    gate.unlink()
    with local_cluster(2) as client, place(X, Y, code=Uncoded(2)) as data:
        client.run(sys.path.insert, 0, str(tmp_path))
        begun = time.time()
        with (
            later(gate.touch, lambda: min(heartbeats(client)) > begun + LONGER),
            ClusterObjective(data, rows, transport=transport) as objective,
        ):
            assert objective(np.zeros(2)).value == len(Y)
            assert gate.exists()


def test_a_block_function_that_holds_pythons_lock_is_waited_for() -> None:
    first = X[0, 0]

    def rows(w: Any, block: Any) -> Any:
        if block.X[0, 0] == first:  # the other worker is heard meanwhile
            ctypes.PyDLL(None).sleep(10)  # which, unlike time.sleep, keeps the lock
        return float(block.n_rows), w

    with (
        local_cluster(2) as client,
        place(X, Y, code=Uncoded(2), client=client) as data,
        ClusterObjective(data, rows) as objective,
    ):
        assert objective(np.zeros(2)).value == len(Y)
