"""A launch as a test sees it: a process to talk to, signals for its ranks, and what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from dask_gradcode.launch.mpi import HYDRA, OPEN_MPI, which_mpi

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts.py"
MPIRUN = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
MPI = which_mpi(MPIRUN) if MPIRUN else None
MARK = "DASK_GRADCODE_TEST"

needs_mpi = [
    pytest.mark.mpi,
    pytest.mark.skipif(
        MPI not in (OPEN_MPI, HYDRA),
        reason="needs mpirun of Open MPI or MPICH: ci/test-mpi installs both and runs this",
    ),
]

ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Launched:
    """A running launch."""

    def __init__(self, command: Sequence[str], directory: Path, **environment: str) -> None:
        self._mark = uuid.uuid4().hex
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=directory,
            start_new_session=True,
            env={**os.environ, **ROOT, **environment, MARK: self._mark},
        )

    def ask(self, line: str) -> Any:
        """Tell the script to do something, and return its answer."""
        self.tell(line)
        return self.hear()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        line = self.read()
        assert line, self.errors()
        return json.loads(line)

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def wait(self) -> int:
        """Return the exit code. Its time is bounded by the test's."""
        return self.process.wait()

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def members(self) -> list[psutil.Process]:
        """Return all processes of the launch that have not ended, wherever they have moved."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def left(self, patience: float) -> list[psutil.Process]:
        """Return what has not ended within some seconds, a bound and not a wait."""
        deadline = time.monotonic() + patience
        while (left := self.members()) and time.monotonic() < deadline:
            psutil.wait_procs(left, timeout=0.1)
        return left

    def with_argument(self, argument: str) -> list[psutil.Process]:
        """Return its Python processes that have an argument on their command line."""
        found = []
        for process in self.members():
            with suppress(psutil.NoSuchProcess):  # it has ended since, or is a zombie
                line = process.cmdline()
                if argument in line and "python" in Path(line[0]).name:
                    found.append(process)
        return found

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(MARK) == self._mark
        except psutil.Error:
            return False

    def close(self) -> None:
        for process in self.members():
            process.kill()
        self.process.wait()
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.stdout.close()  # type: ignore[union-attr]
        self._errors.close()


@contextmanager
def launched(
    script: str | Path, *arguments: str, options: Sequence[str] = (), n: int = 3, **environment: str
) -> Iterator[Launched]:
    """Launch a script by ``dask-gradcode mpirun``, and check that it leaves nothing."""
    command = [sys.executable, "-m", "dask_gradcode.launch", "mpirun", "-n", str(n)]
    command += ["--timeout", "100", *options, str(script), *arguments]
    with _checked(command, **environment) as launch:
        yield launch


@contextmanager
def by_mpirun(
    script: Path, *arguments: str, n: int = 4, options: Sequence[str] = ()
) -> Iterator[Launched]:
    """Start a script on every rank by mpirun itself, and check that it leaves nothing."""
    assert MPI is not None
    assert MPIRUN is not None
    crowd = [*MPI.options, *MPI.crowd]
    command = [MPIRUN, "-n", str(n), *crowd, *options, sys.executable, str(script), *arguments]
    # This mpirun is not ours. MPICH's returns from an abort while its proxies still kill the ranks
    # (up to 0.3 s were seen), and neither waits for what its ranks have started.
    with _checked(command, patience=20.0) as launch:
        yield launch


@contextmanager
def _checked(
    command: Sequence[str], patience: float = 0.0, **environment: str
) -> Iterator[Launched]:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        launch = Launched(command, directory, TMPDIR=temporary, **environment)
        try:
            yield launch
            assert launch.process.poll() is not None, "the test has not waited for the end"
            left = launch.left(patience)
            assert not left, [str(process) for process in left]
            assert not list(directory.glob("dask-gradcode-*")), "a private directory is left"
        finally:
            launch.close()


def kill(pid: int, signum: int = signal.SIGKILL) -> None:
    """Send a signal, and wait until the process is dead if it is a deadly one."""
    process = psutil.Process(pid)
    process.send_signal(signum)
    if signum != signal.SIGSTOP:
        psutil.wait_procs([process], timeout=60)


def until(look: Callable[[], bool]) -> None:
    """Look until something is so; the test's own time-out is the bound."""
    while not look():
        pass
