"""``examples/mpi/train.py`` while one of its worker ranks is killed and another frozen."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from launched import kill, launched, needs_mpi

pytestmark = [*needs_mpi, pytest.mark.timeout(240)]

TRAIN = Path(__file__).parents[2] / "examples/mpi/train.py"


@pytest.fixture(scope="module")
def undisturbed() -> str:
    with launched(TRAIN, n=6) as launch:
        lines = list(iter(launch.read, ""))
        assert launch.wait() == 0
        assert launch.errors() == ""
    assert ", 0 lost" in lines[-2]  # in the first rounds a role may still be on its way
    assert lines[-1].startswith("coefficients sha256 ")
    return lines[-1]


@pytest.mark.parametrize("nanny", ["--no-nanny", "--nanny"])
def test_a_killed_and_a_frozen_rank_change_no_bit(undisturbed: str, nanny: str) -> None:
    with launched(TRAIN, n=6, options=[nanny]) as launch:
        while not launch.read().startswith("round 3:"):
            pass
        (script,) = launch.with_argument(str(TRAIN))[1:] or launch.with_argument(str(TRAIN))
        script.suspend()  # so that both happen in mid-fit for certain
        workers = worker_processes(launch.members(), nanny == "--nanny")
        assert len(workers) == 6
        kill(workers[1].pid)
        kill(workers[4].pid, signal.SIGSTOP)
        script.resume()
        lines = list(iter(launch.read, ""))
        assert launch.wait() == 0
    assert lines[-1] == undisturbed
    lost = [int(line.rsplit(", ", 1)[1].split()[0]) for line in lines[:-1]]
    assert max(lost) >= 1  # the killed one, until its nanny has another; the frozen one is late


def worker_processes(members: list[psutil.Process], under_nannies: bool) -> list[psutil.Process]:
    """Return the worker processes: the ranks themselves, or the nannies' children."""
    ranks = [p for p in members if "--no-scheduler" in p.cmdline() and p.name() != "sh"]
    ranks = [p for p in ranks if "-n" not in p.cmdline()[:3]]
    if not under_nannies:
        return ranks
    spawned = [c for rank in ranks for c in rank.children()]
    return [c for c in spawned if "spawn_main" in " ".join(c.cmdline())]
