"""Replicas lie on different hosts: a host's workers may all be gone at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
import pytest
from distributed import Client, Nanny, Scheduler, SpecCluster

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.cluster.placement.codes import choose_code
from dask_gradcode.codes import DeclusteredRepetition, GradientCode
from helpers import count_rows, frozen, logistic_data, pid_of

X, Y = logistic_data(400, 3)


@pytest.mark.parametrize(
    ("n_hosts", "n_workers", "n_stragglers", "spread"),
    [
        (1, 8, 1, 4),
        (2, 4, 1, 2),
        (2, 6, 1, 2),
        (2, 8, 1, 4),
        (2, 20, 1, 4),
        (3, 6, 1, 4),
        (3, 9, 1, 4),
        (4, 8, 1, 4),
        (5, 10, 1, 4),
        (8, 8, 1, 4),
        (2, 8, 2, 4),
        (3, 9, 2, 4),
        (4, 12, 3, 4),
    ],
)
def test_the_largest_spread_is_taken_by_which_no_host_holds_a_block_alone(
    n_hosts: int, n_workers: int, n_stragglers: int, spread: int
) -> None:
    hosts = [*islice(cycle(map(str, range(n_hosts))), n_workers)]
    code = choose_code("declustered", None, n_stragglers, None, hosts)
    assert code == DeclusteredRepetition(n_workers, n_stragglers, spread)
    for holders in code.holders:
        assert n_hosts == 1 or len({hosts[i] for i in holders}) > 1


def test_where_it_cannot_be_fewest_blocks_are_alone() -> None:
    hosts = ["a", "b", "a", "b", "a", "b", "a", "a"]  # of the last three two

    def n_alone(code: GradientCode) -> int:
        return sum(len({hosts[i] for i in who}) == 1 for who in code.holders)

    code = choose_code("declustered", 8, 1, None, hosts)
    assert n_alone(code) == min(n_alone(DeclusteredRepetition(8, 1, k)) for k in (1, 2, 4)) == 16


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Four workers, two on each of two hosts."""
    workers = {
        f"worker-{i}": {"cls": Nanny, "options": {"host": f"127.0.0.{2 + i // 2}", "nthreads": 1}}
        for i in range(4)
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0"}}
    with SpecCluster(workers, scheduler) as cluster, Client(cluster) as connected:
        connected.wait_for_workers(4)
        yield connected


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="one loopback address")
@pytest.mark.parametrize("code", ["declustered", "fractional"])
def test_a_whole_host_may_freeze(client: Client, code: str) -> None:
    with place(X, Y, code=code) as data, ClusterObjective(data, count_rows) as objective:
        data.wait()
        assert objective(np.zeros(3)).value == 400
        here = [a for a in data.addresses.values() if "127.0.0.2" in a]
        assert len(here) == 2
        with frozen(*(pid_of(client, address) for address in here)):
            for _ in range(3):
                seen = objective(np.zeros(3))
                assert seen.value == 400
                assert seen.record.exact
