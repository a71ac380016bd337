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
    assert sum(" has process id " in line for line in lines) == 6
    assert ", 0 lost" in lines[-2]  # in the first rounds a role may still be on its way
    assert lines[-1].startswith("coefficients sha256 ")
    return lines[-1]


def test_a_killed_and_a_frozen_rank_change_no_bit(undisturbed: str) -> None:
    with launched(TRAIN, n=6, options=["--no-nanny"]) as launch:
        while not launch.read().startswith("round 3:"):
            pass
        (script,) = launch.with_argument(str(TRAIN))[1:] or launch.with_argument(str(TRAIN))
        script.suspend()  # so that both happen in mid-fit for certain
        workers = worker_processes(launch.members())
        assert len(workers) == 6
        kill(workers[1].pid)
        kill(workers[4].pid, signal.SIGSTOP)
        script.resume()
        lines = list(iter(launch.read, ""))
        assert launch.wait() == 0
    assert lines[-1] == undisturbed
    assert most_lost(lines) >= 1  # the killed one; the frozen one is late


def test_the_example_kills_and_freezes_workers_under_nannies_by_itself(undisturbed: str) -> None:
    with launched(TRAIN, "--disturb", n=6) as launch:
        lines = list(iter(launch.read, ""))
        assert launch.wait() == 0
    assert lines[-1] == undisturbed
    assert any(" has been frozen, process " in line for line in lines)
    assert most_lost(lines) >= 1  # until its nanny has another


def most_lost(lines: list[str]) -> int:
    rounds = [line for line in lines if line.startswith("round ")]
    return max(int(line.rsplit(", ", 1)[1].split()[0]) for line in rounds)


def worker_processes(members: list[psutil.Process]) -> list[psutil.Process]:
    """Return the ranks that are workers."""
    ranks = [p for p in members if "--no-scheduler" in p.cmdline() and p.name() != "sh"]
    return [p for p in ranks if "-n" not in p.cmdline()[:3]]
