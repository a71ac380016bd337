"""``dask-gradcode mpirun`` with real ranks, which are killed, frozen, and told to segfault."""

from __future__ import annotations

import os
import platform
import signal
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from dask_gradcode.launch.interfaces import loopback
from dask_gradcode.launch.mpi import OPEN_MPI
from launched import MPI, SCRIPTS, Launched, kill, launched, needs_mpi, until

pytestmark = [*needs_mpi, pytest.mark.timeout(240)]


def test_killed_segfaulted_and_frozen_ranks_cost_only_themselves() -> None:
    with launched(SCRIPTS, "obey", n=5, options=["--no-nanny"]) as launch:
        pids = launch.ask("pids")
        assert len(pids) == 5
        kill(pids[0])
        kill(pids[1])
        kill(pids[2], signal.SIGSEGV)
        until(lambda: launch.ask("count") == 2)
        assert launch.ask("sum") == 45
        kill(pids[3], signal.SIGSTOP)
        launch.tell("exit 7")
        assert launch.wait() == 7
        assert launch.read() == ""
        assert launch.errors() == ""


def test_the_script_has_standard_input_output_and_its_errors() -> None:
    with launched(SCRIPTS, "obey", n=1) as launch:
        assert launch.ask("sum") == 45
        launch.tell("raise")
        assert launch.wait() == 1
        errors = launch.errors().splitlines()
        assert errors[0].startswith("Traceback")
        assert errors[-1] == "ValueError: a bug of the user's"


def test_two_launches_share_a_host() -> None:
    with launched(SCRIPTS, "obey", n=1) as first, launched(SCRIPTS, "obey", n=1) as second:
        assert first.ask("address") != second.ask("address")
        for launch in (first, second):
            assert launch.ask("sum") == 45
            launch.tell("exit 0")
            assert launch.wait() == 0


def test_the_scheduler_needs_no_other_host_of_a_batch_job(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    for starter in ("srun", "ssh"):  # by which mpirun would start its daemons on other hosts
        path = tmp_path / starter
        path.write_text(f"#!/bin/sh\n[ $1 = --version ] || echo $@ >> {asked}\nexit 1\n")
        path.chmod(0o755)
    job = {f"SLURM_{name}": "7" for name in ("JOB_ID", "JOBID")}
    job |= {
        f"SLURM_{name}": f"{platform.node()},elsewhere" for name in ("NODELIST", "JOB_NODELIST")
    }
    job |= {"SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_TASKS_PER_NODE": "1(x2)"}
    job["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    with launched(SCRIPTS, "obey", options=["--timeout", "20"], **job) as launch:
        assert launch.wait() == 125
        # the scheduler has come; it is the workers that cannot be started here
        assert "the scheduler" not in launch.errors().splitlines()[0]
    assert asked.exists()


def test_a_worker_under_a_nanny_comes_back() -> None:
    with launched(SCRIPTS, "obey", n=2) as launch:
        before = set(launch.ask("pids"))
        kill(min(before))
        until(lambda: set(launch.ask("pids")) - before != set() and launch.ask("count") == 2)
        launch.tell("exit 0")
        assert launch.wait() == 0


def test_files_and_ports_are_private() -> None:
    with launched(SCRIPTS, "obey", n=2) as launch:
        assert launch.ask("count") == 2
        (scheduler,) = launch.with_argument("--scheduler-file")
        command = scheduler.cmdline()
        file = Path(command[command.index("--scheduler-file") + 1])
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        address = launch.ask("address")
        for process in launch.members():
            assert not any(address in argument for argument in process.cmdline())
        here = {a.address for a in psutil.net_if_addrs()[loopback()]}
        assert listening(launch) <= here
        launch.tell("exit 0")
        assert launch.wait() == 0
        assert not file.exists()


def listening(launch: Launched) -> set[str]:
    """Return the addresses on which Python processes of a launch listen: Dask's, and MPI's."""
    found = set()
    for process in launch.members():
        if "python" in Path(process.cmdline()[0]).name:
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(connection.laddr.ip)
    assert found
    return found


def test_a_hostfile_is_taken_and_dask_listens_on_one_interface(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=2\n" if MPI is OPEN_MPI else "localhost:2\n")
    with launched(SCRIPTS, "obey", n=2, options=["--hostfile", str(hosts)]) as launch:
        assert launch.ask("count") == 2
        host = launch.ask("address").split("://")[1].rsplit(":", 1)[0]
        assert listening(launch) == {host}
        launch.tell("exit 3")
        assert launch.wait() == 3


def test_tls_takes_the_files_of_dasks_settings(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    tls = {"CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {f"{role}__KEY": key, f"{role}__CERT": certificate}
    settings = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in tls.items()}
    settings["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "True"
    with launched(SCRIPTS, "obey", n=2, options=["--protocol", "tls"], **settings) as launch:
        assert launch.ask("address").startswith("tls://127.0.0.1:")
        assert launch.ask("sum") == 45
        launch.tell("exit 0")
        assert launch.wait() == 0


def test_the_death_of_the_scheduler_is_said_and_the_script_ends() -> None:
    soon = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
    with launched(SCRIPTS, "obey", n=2, **soon) as launch:
        assert launch.ask("count") == 2
        (scheduler,) = launch.with_argument("--scheduler-file")
        kill(scheduler.pid)
        launch.tell("sum")
        assert launch.wait() not in (0, None)
        assert "dask-gradcode: the scheduler" in launch.errors()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_launcher_ends_everything(signum: int, code: int) -> None:
    with launched(SCRIPTS, "wait", n=2, options=["--no-nanny"]) as launch:
        kill(launch.hear()[0], signal.SIGSTOP)
        os.kill(launch.process.pid, signum)
        assert launch.wait() == code
        if signum == signal.SIGINT:  # the script has seen KeyboardInterrupt
            assert launch.hear() == "tidied up"


def test_a_signal_while_the_cluster_comes_up_ends_everything() -> None:
    with launched(SCRIPTS, "wait", n=2) as launch:
        until(lambda: len(launch.with_argument("--scheduler-file")) == 1)
        os.kill(launch.process.pid, signal.SIGTERM)
        assert launch.wait() == 143
        assert launch.read() == ""


def test_too_few_workers_are_counted() -> None:
    options = ["--timeout", "0.01"]
    with launched(SCRIPTS, "obey", n=2, options=options) as launch:
        assert launch.wait() == 125
        assert "the scheduler has not come within 0.01 s (--timeout)" in launch.errors()


def test_workers_that_cannot_start_are_an_error_that_says_why() -> None:
    with launched(SCRIPTS, "obey", n=2, options=["--memory-limit", "plenty"]) as launch:
        assert launch.wait() == 125
        assert "mpirun and Dask said:" in launch.errors()
        assert "plenty" in launch.errors()
        assert launch.read() == ""


def test_an_unknown_interface_is_an_error_that_lists_those_there_are() -> None:
    with launched(SCRIPTS, "obey", n=2, options=["--interface", "eth99"]) as launch:
        assert launch.wait() == 125
        assert "'eth99' is not a valid network interface" in launch.errors()
        assert f"'{loopback()}'" in launch.errors()


def test_a_scheduler_file_of_another_launch_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    with launched(SCRIPTS, "obey", options=["--scheduler-file", str(file)]) as launch:
        assert launch.wait() == 125
        assert "is there already" in launch.errors()
    assert file.read_text() == "{}"


def test_verbose_lets_dask_speak_on_standard_error() -> None:
    with launched(SCRIPTS, "obey", n=1, options=["--verbose"]) as launch:
        launch.tell("exit 0")
        assert launch.wait() == 0
        assert launch.read() == ""
        assert "Scheduler at:" in launch.errors()
