"""Which commands a launch consists of, and what is said when it cannot be. No MPI needed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dask_gradcode.launch.cli import main
from dask_gradcode.launch.mpi import (
    HYDRA,
    OPEN_MPI,
    UNKNOWN,
    Mpi,
    allocation,
    find_mpirun,
    which_mpi,
)
from dask_gradcode.launch.supervisor import Interrupted, Interrupts, Part, end

SAYS = {
    OPEN_MPI: "mpirun (Open MPI) 5.0.11",
    HYDRA: "HYDRA build details:",
    UNKNOWN: "Marvellous MPI 1.0",
}


def mpirun_that_says(text: str, directory: Path) -> str:
    path = directory / "mpirun"
    path.write_text(f"#!/bin/sh\necho {shlex.quote(text)}\n")
    path.chmod(0o755)
    return str(path)


def dry_run(*options: str, script: str = __file__) -> Result:
    return CliRunner().invoke(
        main, ["mpirun", "-n", "6", "--dry-run", *options, script, "--data", "x"]
    )


@pytest.mark.parametrize("mpi", SAYS, ids=lambda mpi: mpi.name)
def test_an_mpi_is_known_by_its_version_text(mpi: object, tmp_path: Path) -> None:
    assert which_mpi(mpirun_that_says(SAYS[mpi], tmp_path)) is mpi


@pytest.mark.parametrize("mpi", SAYS, ids=lambda mpi: mpi.name)
def test_a_dry_run_shows_three_commands_and_starts_none(mpi: object, tmp_path: Path) -> None:
    path = mpirun_that_says(SAYS[mpi], tmp_path)
    result = dry_run("--mpirun", path, "--dashboard-address", "127.0.0.1:8787", "--nthreads", "2")
    assert result.exit_code == 0, result.output
    commands = [
        shlex.split(line)
        for line in result.stdout.splitlines()
        if not line.startswith(("#", "export"))
    ]
    scheduler, workers, script = commands
    assert scheduler[:3] == [path, "-n", "1"]
    assert workers[:3] == [path, "-n", "6"]
    assert script == [sys.executable, __file__, "--data", "x"]
    assert all(option in workers for option in (*mpi.survive, *mpi.crowd, *mpi.shield))
    assert ("is not promised" in result.stderr) == (mpi is UNKNOWN)
    assert workers[workers.index("--nthreads") + 1] == "2"
    assert scheduler[scheduler.index("--dashboard-address") + 1] == "127.0.0.1:8787"
    assert "--no-dashboard" not in scheduler


def test_on_one_host_it_is_the_loopback_and_no_dashboard(tmp_path: Path) -> None:
    result = dry_run("--mpirun", mpirun_that_says(SAYS[HYDRA], tmp_path))
    assert result.stdout.count("--interface lo") == 2
    assert "--no-dashboard" in result.stdout


def test_with_other_hosts_each_takes_its_own_interface_or_the_given_one(tmp_path: Path) -> None:
    path, hosts = mpirun_that_says(SAYS[OPEN_MPI], tmp_path), tmp_path / "hosts"
    hosts.write_text("localhost\n")
    result = dry_run("--mpirun", path, "--hostfile", str(hosts))
    assert f"--hostfile {hosts}" in result.stdout
    assert "--interface" not in result.stdout
    assert "OVERSUBSCRIBE" not in result.stdout
    given = dry_run("--mpirun", path, "--hostfile", str(hosts), "--interface", "eth7")
    assert given.stdout.count("--interface eth7") == 2


def test_a_batch_system_brings_its_own_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert allocation() == "SLURM_JOB_ID"
    result = dry_run("--mpirun", mpirun_that_says(SAYS[OPEN_MPI], tmp_path))
    assert "--interface" not in result.stdout
    assert "OVERSUBSCRIBE" not in result.stdout


def test_settings_of_dask_reach_ranks_on_other_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", "ca.pem")
    monkeypatch.setenv("DASK_LOGGING__DISTRIBUTED", "info")
    result = dry_run("--mpirun", mpirun_that_says(SAYS[OPEN_MPI], tmp_path))
    assert "-x DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in result.stdout
    assert "-x DASK_SCHEDULER_ADDRESS" in result.stdout
    assert "export DASK_LOGGING__DISTRIBUTED" not in result.stdout  # the user's own wins


def test_no_mpirun_is_an_error_with_the_line_that_installs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(FileNotFoundError, match=r"pip install 'dask-gradcode\[mpi\]'"):
        find_mpirun()
    with pytest.raises(FileNotFoundError, match="'nonsense' is not a program"):
        find_mpirun("nonsense")
    result = dry_run()
    assert result.exit_code == 125
    assert "There is no MPI here" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "6", "not-there.py"], "'not-there.py' does not exist"),
        (["-n", "0", __file__], "0 is not in the range x>=1"),
        ([__file__], "Missing option '-n'"),
        (["-n", "2", "--hostfile", "nowhere", __file__], "'nowhere' does not exist"),
    ],
)
def test_bad_usage_is_said_before_anything_starts(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["mpirun", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def launch(*options: str) -> Result:
    return CliRunner().invoke(main, ["mpirun", "-n", "2", *options, __file__])


def test_a_scheduler_file_that_cannot_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mpirun_that_says(SAYS[HYDRA], tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (tmp_path / "not-there" / "s.json", "~/not-there/s.json"):
        result = launch("--mpirun", path, "--scheduler-file", str(given))
        assert result.exit_code == 125
        assert f"there is no directory {tmp_path / 'not-there'}." in result.stderr
    (tmp_path / "s.json").write_text("{}")
    result = launch("--mpirun", path, "--scheduler-file", "~/s.json")
    assert f"{tmp_path / 's.json'} is there already" in result.stderr


@pytest.mark.parametrize(
    ("mpi", "user", "confirmed", "advised"),
    [
        (OPEN_MPI, 0, False, True),
        (OPEN_MPI, 0, True, False),
        (OPEN_MPI, 1000, False, False),
        (HYDRA, 0, False, False),
    ],
)
def test_root_is_told_what_to_set_when_open_mpi_starts_nothing(
    mpi: Mpi,
    user: int,
    confirmed: bool,
    advised: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
        if confirmed:
            monkeypatch.setenv(name, "1")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    result = launch("--mpirun", mpirun_that_says(SAYS[mpi], tmp_path))  # and does nothing
    assert result.exit_code == 125
    assert "before the cluster was there" in result.stderr
    assert (f"export {names[0]}=1 {names[1]}=1" in result.stderr) == advised


def test_mpiruns_first_and_last_lines_are_kept(tmp_path: Path) -> None:
    path = mpirun_that_says(
        f"{SAYS[HYDRA]}\n" + "\n".join(f"line {i}" for i in range(99)), tmp_path
    )
    errors = launch("--mpirun", path).stderr
    said = errors[errors.index("mpirun and Dask said:") :].splitlines()
    assert said[1:4] == [f"  {SAYS[HYDRA]}", "  line 0", "  line 1"]
    assert [line for line in said if "..." in line] == ["  ... 70 lines are left out ..."]
    assert "  line 98" in said[-2:]
    assert len(said) <= 33


def test_both_commands_are_installed() -> None:
    for command in (["dask-gradcode"], [sys.executable, "-m", "dask_gradcode.launch"]):
        command[0] = str(Path(sys.executable).parent / Path(command[0]).name)
        out = subprocess.run([*command, "mpirun", "--help"], capture_output=True, text=True)
        assert out.returncode == 0
        assert "Usage: dask-gradcode mpirun [OPTIONS] SCRIPT [ARGUMENTS]..." in out.stdout


def test_end_reaches_who_ignores_it_is_frozen_or_has_left_the_session() -> None:
    stubborn = (
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo; kill -STOP $$' & "
        "echo; while :; do sleep 1; done"
    )
    part = Part("a stubborn program", ["sh", "-c", stubborn], {"PATH": "/bin:/usr/bin"})
    while len(part.members()) < 3:
        pass
    end(part, grace=0.1)
    assert part.members() == []
    assert part.code == 137
    assert part.fate == "was ended by SIGKILL"


def test_signals_are_raised_where_they_are_looked_for_and_ignored_ones_are_not() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.check()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(Interrupted) as caught:
                interrupts.check()
        assert caught.value.signum == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
