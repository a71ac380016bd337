"""Programs in sessions of their own that can always be ended, whatever state they are in."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import IO, Any

import psutil

__all__ = ["Interrupted", "Interrupts", "Part", "end"]

MARK = "DASK_GRADCODE_PART"
GRACE = 5.0
"""Seconds between asking a program to end (TERM) and ending it (KILL)."""


class Interrupted(BaseException):
    """A signal that asks the launcher to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupts:
    """Notes Ctrl-C, SIGTERM and SIGHUP, to be looked at where it is safe to end.

    Signals that are ignored stay so, as under nohup.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        heard = [each for each in self.SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        self._before = {each: signal.signal(each, self._note) for each in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._signum = self._signum or signum

    def check(self) -> None:
        """Raise Interrupted if one has come."""
        if self._signum is not None:
            raise Interrupted(self._signum)


class Part:
    """One program of a launch.

    It leads a session and process group of its own. What it starts may leave both, as ranks under
    MPICH do, and is known by a mark in its environment.

    Parameters
    ----------
    name : str
        What it is, for people.
    command : sequence of str
        What to run.
    environment : mapping of str to str
        Its environment.
    output : file, optional
        Where its stdout and stderr go, and with it nothing is read from stdin. None: all three are
        the launcher's.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: IO[Any] | None = None,
    ) -> None:
        self.name = name
        self._mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            command,
            # a launch within a launch bears both marks
            env={**environment, MARK: f"{os.environ.get(MARK, '')} {self._mark}"},
            stdin=None if output is None else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def code(self) -> int | None:
        """Its exit code as a shell has it, 128 + the signal that ended it; None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        code = self.process.poll()
        if code is None:
            return "runs"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def wait(self, seconds: float) -> bool:
        """Wait for its end, and say whether it has come."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, signum: int) -> None:
        """Send a signal to its process group."""
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            pass  # all of it has ended

    def members(self) -> list[psutil.Process]:
        """Return its processes on this host that have not ended, orphans included."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return self._mark in process.environ().get(MARK, "")
        except (psutil.Error, OSError):  # it has ended, or is another user's
            return False


def end(*parts: Part, signum: int = signal.SIGTERM, grace: float = GRACE) -> None:
    """Ask programs to end, wait, and end what is left: frozen processes and orphans, too.

    On other hosts ``mpirun`` passes the request on, and ends its ranks when it is gone itself.

    Parameters
    ----------
    *parts : Part
        The programs.
    signum : int, default=SIGTERM
        How to ask.
    grace : float, default=5.0
        Seconds to wait before SIGKILL.
    """
    # Known from before: of one that is just ending the system shows no environment, and so no mark.
    left = _members(parts)
    for part in parts:
        part.send(signum)
    deadline = time.monotonic() + grace
    while any(part.code is None for part in parts) and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + GRACE
    # Again and again, as what is being killed may start others meanwhile. Not psutil's own waiting,
    # which takes exit codes away from Popen.
    while left := {process for process in left | _members(parts) if not _has_ended(process)}:
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        if time.monotonic() > deadline:
            break  # the kernel keeps it, in a device's hands: nobody can end it
        time.sleep(0.02)
    for part in parts:
        part.wait(GRACE)


def _members(parts: Sequence[Part]) -> set[psutil.Process]:
    return {process for part in parts for process in part.members()}


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
