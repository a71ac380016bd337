"""Clusters that change: who leaves hands over first, who joins takes its part, and sums stay."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, WorkerPlugin

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement, drain, inject
from dask_gradcode.cluster.placement import slowness
from dask_gradcode.cluster.worker import released
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.stragglers import FixedDelay
from helpers import local_cluster, logistic_data, pid_of, restart_no_more, wait_until

pytestmark = pytest.mark.cluster

X, Y = logistic_data(4000, 8)
W = np.linspace(-1.0, 1.0, 8)
PAIRS = FractionalRepetition(4, 1)
SPREAD = DeclusteredRepetition(4, 1, n_leaves=4)


class Rounds:
    """Rounds at one point, the sums of which must all have the same bits."""

    def __init__(self, objective: ClusterObjective) -> None:
        self._objective = objective
        self._first = objective(W)
        self.records: list[RoundRecord] = []

    def until(self, is_so: Callable[[], Any]) -> None:
        """Run rounds until something is so, and then some more."""
        wait_until(lambda: self._run() and is_so())
        for _ in range(5):
            self._run()

    def _run(self) -> bool:
        seen = self._objective(W)
        assert seen.value == self._first.value
        assert seen.gradient.tobytes() == self._first.gradient.tobytes()
        self.records.append(seen.record)
        return True

    def used(self, role: int) -> bool:
        return bool(self.records[-1].used[role])

    def relocated(self) -> list[int]:
        return [role for record in self.records for role in record.relocated]

    def moved(self) -> set[int]:
        """Return who was relocated, or lost for a moment and restored."""
        restored = [role for record in self.records for role in record.restored]
        return {*self.relocated(), *restored}

    def lost(self) -> set[int]:
        return {role for record in self.records for role in record.lost}


def retire(client: Client, addresses: list[str]) -> threading.Thread:
    """Begin to retire workers."""
    thread = threading.Thread(target=client.retire_workers, args=(addresses,))
    thread.start()
    return thread


def on_others(data: Placement, addresses: list[str]) -> Callable[[], bool]:
    return lambda: not data.lost and not set(addresses) & set(data.addresses.values())


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_a_drained_worker_is_not_missed_when_it_leaves(transport: str) -> None:
    with (
        local_cluster(5) as client,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, Logistic(), transport=transport) as objective,
    ):
        data.wait(timeout=60)
        (spare,) = client.scheduler_info(n_workers=-1)["workers"].keys() - data.addresses.values()
        rounds, leaves = Rounds(objective), data.addresses[1]
        drain(client, leaves, "2 minutes")
        assert list(data.roles.leaving) == [1]
        rounds.until(on_others(data, [leaves]))
        assert data.addresses[1] == spare
        rounds.until(rounds.relocated)  # until then the one before has served on
        rounds.until(lambda: rounds.used(1))
        assert rounds.relocated() == [1]
        data.wait(timeout=60)
        leaving = retire(client, [leaves])
        rounds.until(lambda: not leaving.is_alive())
        assert not rounds.lost()
        assert not data.roles.recovered


def test_two_that_are_retired_at_once_are_served_until_others_have_their_roles() -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        data.wait(timeout=60)
        rounds = Rounds(objective)
        both = [data.addresses[0], data.addresses[1]]  # they share blocks: more than s at once
        leaving = retire(client, both)
        rounds.until(on_others(data, both))
        rounds.until(lambda: not leaving.is_alive())
        rounds.until(lambda: all(map(rounds.used, range(4))))
        assert not rounds.lost()
        assert sorted(Counter(data.addresses.values()).values()) == [2, 2]


def test_roles_share_workers_while_these_are_few_and_go_to_those_who_join() -> None:
    with (
        dask.config.set({"gradcode.timeouts.share": "0.5s"}),
        local_cluster(4) as client,
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        data.wait(timeout=60)
        restart_no_more(client)
        rounds = Rounds(objective)
        for role in (0, 1):  # more than s, one after the other, and nobody comes in their places
            dies = data.addresses[role]
            os.kill(pid_of(client, dies), signal.SIGKILL)
            rounds.until(on_others(data, [dies]))
        assert sorted(Counter(data.addresses.values()).values()) == [2, 2]
        n_before = len(rounds.records)
        client.cluster.scale(6)  # two that are dead, by its count, and four
        rounds.until(lambda: len(set(data.addresses.values())) == 4)
        rounds.until(lambda: all(map(rounds.used, range(4))))
        assert not any(record.lost for record in rounds.records[n_before:])


def test_a_role_leaves_a_slow_worker_for_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowness, "EVERY", 0.0)
    with (
        local_cluster(3) as client,
        place(X, Y, code=Uncoded(2)) as data,
        inject(client, FixedDelay(0.1, workers=[1])),
        ClusterObjective(data, Logistic()) as objective,
    ):
        data.wait(timeout=60)
        (free,) = client.scheduler_info(n_workers=-1)["workers"].keys() - data.addresses.values()
        rounds = Rounds(objective)
        rounds.until(rounds.relocated)
        assert rounds.relocated() == [1]
        assert data.addresses[1] == free
        assert not rounds.lost()


def test_who_is_scaled_away_hands_its_role_over() -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=SPREAD) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        data.wait(timeout=60)
        rounds, before = Rounds(objective), dict(data.addresses)
        client.cluster.scale(3)
        rounds.until(lambda: len(set(data.addresses.values())) == 3 and not data.lost)
        rounds.until(rounds.moved)  # until then the one before has served on
        rounds.until(lambda: all(map(rounds.used, range(4))))
        (gone,) = (role for role, address in data.addresses.items() if address != before[role])
        # on a busy machine it may be lost for a moment: its worker serves on for three seconds
        assert rounds.moved() == {gone}
        assert rounds.lost() <= {gone}


@pytest.mark.parametrize(("retires", "n_looks"), [(False, 3), (True, 3), (False, 10**9)])
def test_a_worker_that_closes_serves_until_all_have_gone_elsewhere_or_time_is_up(
    retires: bool, n_looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released, "STOPPED", 5.0 if n_looks == 3 else 0.05)
    plugin, looks, told = released.Released(), itertools.count(1), list[str]()
    plugin._is_retiring = retires
    plugin._used["task"] = lambda: next(looks) < n_looks
    plugin._calls["task"] = lambda: told.append("closes")
    asyncio.run(plugin.teardown(None))
    assert told == ["closes"]
    assert (next(looks) == n_looks + 1) == (n_looks == 3)


@pytest.mark.parametrize("code", [PAIRS, SPREAD])
def test_some_of_the_workers_are_enough_to_begin_and_who_joins_takes_a_role(
    code: GradientCode,
) -> None:
    few = 3 if code is PAIRS else 4
    code = code if code is PAIRS else DeclusteredRepetition(6, 1, n_leaves=4)
    with dask.config.set({"gradcode.timeouts.workers": "0s"}), local_cluster(few) as client:
        with pytest.warns(
            UserWarning, match=rf"There are {few} workers .* 1 worker\(s\) may be silent"
        ):
            data = place(X, Y, code=code)
        with data, ClusterObjective(data, Logistic()) as objective:
            data.wait(timeout=60)
            counted = Counter(data.addresses.values())
            assert len(counted) == few
            assert max(counted.values()) == 2
            rounds = Rounds(objective)
            restart_no_more(client)
            dies = data.addresses[code.n_workers - 1]  # it plays two
            roles = {role for role, address in data.addresses.items() if address == dies}
            assert len(roles) == 2
            os.kill(pid_of(client, dies), signal.SIGKILL)
            rounds.until(lambda: roles <= rounds.lost())
            client.cluster.scale(code.n_workers + 1)  # one is dead, by its count
            rounds.until(lambda: len(set(data.addresses.values())) == code.n_workers)
            rounds.until(lambda: not data.lost and not rounds.records[-1].lost)


def test_an_adaptive_cluster_keeps_who_is_served_by_and_may_grow() -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=PAIRS) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        data.wait(timeout=60)
        rounds, before = Rounds(objective), dict(data.addresses)
        client.cluster.adapt(minimum=1, maximum=6, interval="100ms", wait_count=1)
        for _ in range(3):
            done = client.submit(len, "work for others", pure=False)
            rounds.until(done.done)
        assert data.addresses == before
        assert not rounds.lost()


def test_a_worker_may_announce_its_own_end() -> None:
    class Watch(WorkerPlugin):
        """Stands for one that asks the cloud."""

        name = "watch"

        def setup(self, worker: Any) -> None:
            from dask_gradcode.cluster import drain as drain_there

            drain_there(worker, worker.address, 60)

    with (
        local_cluster(3) as client,
        place(X, Y, n_workers=2, n_stragglers=1) as data,
        ClusterObjective(data, Logistic()) as objective,
    ):
        data.wait(timeout=60)
        rounds, leaves = Rounds(objective), data.addresses[0]

        async def install(dask_worker: Any) -> None:
            await dask_worker.plugin_add(plugin=Watch())

        client.run(install, workers=[leaves])
        rounds.until(on_others(data, [leaves]))
        assert not rounds.lost()


@pytest.mark.parametrize(
    ("workers", "seconds", "what"),
    [
        (["tcp://10.0.0.1:1"], 120, "There are no such workers"),
        ([], 0, "positive and finite"),
        ([], float("inf"), "positive and finite"),
        ([], "soon", "positive and finite, or a text"),
    ],
)
def test_what_cannot_be_drained_is_said(workers: list[str], seconds: Any, what: str) -> None:
    with (
        Client(processes=False, n_workers=1, dashboard_address=":0") as client,
        pytest.raises(ValueError, match=what),
    ):
        drain(client, workers, seconds)
