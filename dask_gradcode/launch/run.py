"""A launch from its first process to its last: the cluster, the script, the exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from dask_gradcode.launch.commands import Cluster
from dask_gradcode.launch.mpi import advice_for_root
from dask_gradcode.launch.supervisor import Interrupted, Interrupts, Part, end

__all__ = ["NO_CLUSTER", "ClusterError", "run"]

NO_CLUSTER = 125
"""Exit code where it is the launch that failed, not the script (as timeout and docker have it)."""

LOOK_EVERY = 0.2
"""Seconds between two looks at what runs."""

FAREWELL = 45.0
"""Seconds that a script has to end by itself after its cluster has died: Dask's client tries for 30
to reach a scheduler again before it raises."""


class ClusterError(RuntimeError):
    """The cluster did not come up, or died."""


def run(
    cluster: Cluster, script: Sequence[str], *, scheduler_file: str | None, timeout: float
) -> int:
    """Start a cluster, run a script on it, end all of it, and return the exit code.

    Parameters
    ----------
    cluster : Cluster
        What to start.
    script : sequence of str
        Path of the script and its arguments.
    scheduler_file : str, optional
        Where the scheduler writes its address. None: in a private directory.
    timeout : float
        Seconds in which scheduler and workers must be there.

    Returns
    -------
    int
        The script's exit code, 128 + the signal that ended it or that was sent to the launcher.

    Raises
    ------
    ClusterError
        If the cluster did not come up in time, or died and took the script with it.
    FileExistsError, FileNotFoundError
        If the scheduler file is there already, or the directory in which it is to be is not.
    """
    with Interrupts() as interrupts, ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="dask-gradcode-"))  # 0700
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        file = directory / "scheduler.json"
        if scheduler_file is not None:
            file = _free(scheduler_file)
            stack.callback(file.unlink, missing_ok=True)
        # appended to, as reading moves the place at which all that share the file write
        log = stack.enter_context(open(directory / "log", "a+b"))
        return _Launch(cluster, log, interrupts).run(script, file, timeout)


def _free(scheduler_file: str) -> Path:
    """Return where the scheduler is to write its address, or raise if it cannot."""
    file = Path(scheduler_file).expanduser().absolute()  # a shell leaves --option=~/file as it is
    if file.exists():
        raise FileExistsError(
            f"{file} is there already: another launch uses it, or one has left it. "
            "Remove it, or name another --scheduler-file."
        )
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f"{file} cannot be written: there is no directory {file.parent}. "
            "Make it, or name another --scheduler-file."
        )
    return file


class _Launch:
    def __init__(self, cluster: Cluster, log: IO[bytes], interrupts: Interrupts) -> None:
        self._cluster, self._log, self._interrupts = cluster, log, interrupts
        self._parts: list[Part] = []

    def run(self, script: Sequence[str], file: Path, timeout: float) -> int:
        program: Part | None = None
        try:
            address = self._start(file, timeout)
            program = self._add(
                "the script",
                [sys.executable, *script],
                {**os.environ, "DASK_SCHEDULER_ADDRESS": address},
                None,
            )
            self._watch(program)
            code = program.code
            assert code is not None
            return code
        except Interrupted as interrupted:
            if program is not None:  # the cluster stays until the script has had its say
                end(program, signum=interrupted.signum)
            return 128 + interrupted.signum
        finally:
            end(*self._parts)

    def _add(
        self, name: str, command: Sequence[str], environment: dict[str, str], output: Any
    ) -> Part:
        part = Part(name, command, environment, output)
        self._parts.append(part)
        return part

    # ---- coming up

    def _start(self, file: Path, timeout: float) -> str:
        """Start scheduler and workers and return the scheduler's address when all are there."""
        deadline = time.monotonic() + timeout
        output = sys.stderr if self._cluster.verbose else self._log
        environment = {**os.environ, **self._cluster.settings()}
        self._add("the scheduler", self._cluster.scheduler(str(file)), environment, output)
        within = f"within {timeout:g} s (--timeout)"
        address: str = self._until(
            lambda: _address(file), deadline, lambda: f"the scheduler has not come {within}"
        )
        self._add(
            "mpirun of the workers",
            self._cluster.workers(),
            self._cluster.environment(address),
            output,
        )
        counted = _Counter(address)
        n_workers = self._cluster.n_workers
        self._until(
            lambda: counted.look() >= n_workers,
            deadline,
            lambda: f"{counted.n_workers} of {n_workers} workers have come {within}",
        )
        return address

    def _until(
        self, attempt: Callable[[], Any], deadline: float, complaint: Callable[[], str]
    ) -> Any:
        """Try until something comes of it; raise if that is too late, or cannot be any more."""
        while not (result := attempt()):
            self._interrupts.check()
            for part in self._parts:
                if part.code is not None:
                    raise self._error(f"{part.name} {part.fate} before the cluster was there")
            if time.monotonic() > deadline:
                raise self._error(complaint())
            time.sleep(LOOK_EVERY)
        return result

    def _error(self, text: str) -> ClusterError:
        advice = advice_for_root(self._cluster.mpi)
        return ClusterError("\n".join(filter(None, [f"{text}.{self._words()}", advice])))

    def _words(self, n_first: int = 10, n_last: int = 20) -> str:
        """Return what mpirun and Dask said first and last, unless the user has seen it.

        What is wrong often stands first, before what follows from it for each rank.
        """
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        left_out = len(lines) - n_first - n_last
        if left_out > 0:
            lines[n_first:-n_last] = [f"... {left_out} lines are left out ..."]
        return "\n  ".join(["\nmpirun and Dask said:", *lines]) if lines else ""

    # ---- running

    def _watch(self, script: Part) -> None:
        """Wait for the script's end. After the death of its cluster it is not waited for long."""
        died: float | None = None
        while True:
            has_ended = script.wait(LOOK_EVERY)
            self._interrupts.check()
            dead = self._dead()
            if died is None and dead and (script.code or not has_ended):
                died = time.monotonic()
                left = "" if has_ended else f" The script has {FAREWELL:g} s to end by itself."
                print(
                    f"dask-gradcode: {dead.name} {dead.fate}.{left}{self._words()}",
                    file=sys.stderr,
                    flush=True,
                )
            if has_ended:
                return
            if died is not None and dead and time.monotonic() - died > FAREWELL:
                raise ClusterError(
                    f"The script was ended: it went on for {FAREWELL:g} s after "
                    f"{dead.name} {dead.fate}."
                )

    def _dead(self) -> Part | None:
        """Return what has ended by itself of scheduler and workers, if one of them has."""
        scheduler, workers = self._parts[:2]
        if scheduler.code:
            return scheduler
        # Both at once and without an error is what Client.shutdown() does.
        return workers if workers.code and scheduler.code is None else None


class _Counter:
    """Counts the workers that have come to a scheduler."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.n_workers = 0

    def look(self) -> int:
        from distributed import Client

        try:
            with Client(
                self._address, set_as_default=False, timeout=5, name="dask-gradcode"
            ) as client:
                self.n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        except OSError:  # not yet, or no more
            pass
        return self.n_workers


def _address(file: Path) -> str | None:
    """Return the scheduler's address once its file is written."""
    try:
        address: str = json.loads(file.read_text())["address"]
    except (FileNotFoundError, ValueError):
        return None
    return address
