"""Fits under seeded schedules of kills, freezes and returns: the same result, and nothing left."""

from __future__ import annotations

import gc
import pickle
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from distributed import Client

from chaos import CODES, Fault, data_set, fit_under_fire, schedule
from dask_gradcode import InsufficientWorkersError, place
from dask_gradcode.cluster import Lies
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.rounds import Done, Round, Stuck
from helpers import gradcode_keys, local_cluster, restart_no_more, wait_until

pytestmark = pytest.mark.cluster

X, Y = data_set(4000, 8)
EPS = float(np.finfo(float).eps)
every_way = pytest.mark.parametrize("transport", ["tasks", "stream"])
every_code = pytest.mark.parametrize("code", ["fractional", "cyclic"])


@dataclass(frozen=True)
class Traces:
    """What a fit could leave in this process, where the scheduler and the nannies are too."""

    threads: int
    sockets: int
    processes: int

    @classmethod
    def here(cls) -> Traces:
        gc.collect()
        pools = (
            "Dask-Offload",
            "Dask-Callback",
            "ThreadPoolExecutor",
            "asyncio",
            "IO loop",
        )  # as needed
        me = psutil.Process()
        return cls(
            sum(not thread.name.startswith(pools) for thread in threading.enumerate()),
            len(me.net_connections(kind="unix")),  # each transport has a pair of them
            len(me.children(recursive=True)),
        )


def left_on_workers(client: Client) -> dict[str, Any]:
    """Return what is there of data, tasks, and threads that run this package."""

    def look(dask_worker: Any) -> tuple[int, int, int]:
        stacks = sys._current_frames().values()
        ours = sum("dask_gradcode" in frame.f_code.co_filename for frame in stacks)
        return len(dask_worker.data), len(dask_worker.state.tasks), ours

    return {address: left for address, left in client.run(look).items() if any(left)}


def assert_survived(code_name: str, transport: str, seed: int, n_faults: int, folder: Path) -> None:
    code = CODES[code_name]
    faults = schedule(seed, n_faults, code)
    with local_cluster(code.n_workers) as client:
        before = Traces.here()
        with place(X, Y, code=code) as data:
            outcome = fit_under_fire(client, data, faults, transport, folder / "rounds.logs")
        wait_until(lambda: not gradcode_keys(client))
        wait_until(lambda: not left_on_workers(client))
        wait_until(lambda: Traces.here() == before)
        assert not any(client.processing().values())
    assert [report.fault for report in outcome.reports] == faults
    assert all(report.happened and report.survived for report in outcome.reports), outcome.reports
    history = outcome.fit.history_
    assert all(record.exact for record in history)
    killed = Counter(fault.role for fault in faults if fault.what != "freeze")
    for what in ("lost", "restored"):
        assert killed <= Counter(event.worker for event in history.events if event.what == what)
    rounding = 0.0 if code_name == "fractional" else 100 * outcome.amplification * EPS
    assert outcome.difference <= rounding


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> Path:
    """Where a fit that was not survived leaves its logs: kept until the next run of the test."""
    folder = Path(tempfile.gettempdir()) / "dask_gradcode-chaos" / request.node.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@every_way
@every_code
def test_a_fit_under_fire_ends_with_the_same_result_and_leaves_nothing(
    code: str, transport: str, logs: Path
) -> None:
    # a kill, then a freeze; or both at once
    assert_survived(
        code, transport, seed={"fractional": 2, "cyclic": 4}[code], n_faults=2, folder=logs
    )


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
@every_way
@every_code
@pytest.mark.parametrize("seed", range(10, 13))
def test_a_long_fire(code: str, transport: str, seed: int, logs: Path) -> None:
    assert_survived(code, transport, seed, n_faults=8, folder=logs)


def test_the_rounds_of_a_fit_that_is_not_survived_can_be_run_again(tmp_path: Path) -> None:
    path, code = tmp_path / "rounds.logs", CODES["fractional"]
    both = [Fault(3, "kill", role) for role in (0, 1)]  # all who have their blocks
    with local_cluster(code.n_workers) as client, place(X, Y, code=code) as data:
        restart_no_more(client)
        with (
            dask.config.set({"gradcode.timeouts.recover": 1.0}),
            pytest.raises(InsufficientWorkersError),
        ):
            fit_under_fire(client, data, both, "stream", path)
    *earlier, last = pickle.loads(path.read_bytes())
    again = Round.replay(last)
    assert isinstance(again.outcome, Stuck)
    assert set(again.state.lost) == {0, 1}
    assert str(again.log) == str(last)
    assert "Lost(role=0" in str(last)
    assert all(Round.replay(log).outcome == Done() for log in earlier)


@every_way
def test_liars_among_the_faults_are_named_and_change_nothing(transport: str, logs: Path) -> None:
    """One of three replicas may lie and one may die at the same time."""
    code, lies = FractionalRepetition(6, 2), Lies("chunk", workers=[1], from_round=2)
    faults = [Fault(3, "kill", 4), Fault(5, "freeze", 2, woken_after=5)]
    with local_cluster(code.n_workers) as client, place(X, Y, code=code) as data:
        outcome = fit_under_fire(client, data, faults, transport, logs / "rounds.logs", lies)
    assert all(report.happened and report.survived for report in outcome.reports), outcome.reports
    assert outcome.difference == 0.0
    events = outcome.fit.history_.events
    found = [(e.worker, e.blocks) for e in events if e.what == "expelled"]
    assert found == [(1, (0, 1, 2))]
    assert not [event for event in events if event.what == "unverified"]


@every_code
def test_a_schedule_is_the_seeds_and_hurts_no_more_than_s_at_once(code: str) -> None:
    for seed in range(20):
        faults = schedule(seed, 7, CODES[code])
        assert faults == schedule(seed, 7, CODES[code])
        assert len(faults) == 7
        assert faults != schedule(seed + 1, 7, CODES[code])
        at_once: dict[int, list[int]] = {}
        for fault in faults:
            at_once.setdefault(fault.round, []).append(fault.role)
        assert list(at_once) == sorted(at_once)
        for roles in at_once.values():
            assert len(roles) == len(set(roles)) <= CODES[code].n_stragglers
