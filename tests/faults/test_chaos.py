"""Fits under seeded schedules of kills, freezes and returns: the same result, and nothing left."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pytest
from distributed import Client

from chaos import CODES, data_set, fit_under_fire, schedule
from dask_gradcode import place
from helpers import gradcode_keys, local_cluster, wait_until

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
        pools = ("Dask-Offload", "ThreadPoolExecutor", "asyncio", "IO loop")  # they grow as needed
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


def assert_survived(code_name: str, transport: str, seed: int, n_faults: int) -> None:
    code = CODES[code_name]
    faults = schedule(seed, n_faults, code)
    with local_cluster(code.n_workers) as client:
        before = Traces.here()
        with place(X, Y, code=code) as data:
            outcome = fit_under_fire(client, data, faults, transport)
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


@every_way
@every_code
def test_a_fit_under_fire_ends_with_the_same_result_and_leaves_nothing(
    code: str, transport: str
) -> None:
    # a kill, then a freeze; or both at once
    assert_survived(code, transport, seed={"fractional": 2, "cyclic": 4}[code], n_faults=2)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
@every_way
@every_code
@pytest.mark.parametrize("seed", range(10, 13))
def test_a_long_fire(code: str, transport: str, seed: int) -> None:
    assert_survived(code, transport, seed, n_faults=8)


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
