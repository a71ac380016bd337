"""What a launch consists of: the commands of scheduler and workers, and their environments."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from dask_gradcode.launch.interfaces import loopback
from dask_gradcode.launch.mpi import Mpi, allocation

__all__ = ["Cluster"]

RANK = "dask_gradcode.launch.rank"
QUIET = {"DASK_LOGGING__DISTRIBUTED": "warning"}
NO_PAGES = {  # Dask opens this port in any case, on the one interface; let it serve nothing
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A scheduler on this host, and workers where ``mpirun`` puts them.

    Parameters
    ----------
    mpirun : str
        Path of ``mpirun``.
    mpi : Mpi
        What kind it is.
    n_workers : int
        Number of worker ranks.
    hostfile : str, optional
        A file of hosts. None: the batch system's hosts; where there is none, this host.
    interface : str, optional
        The network interface on which Dask listens. None: the one by which a host reaches others,
        or the loopback where all is on this host.
    protocol : str, optional
        ``"tcp"`` or ``"tls"``, with the files that Dask's own settings name.
    nthreads : int
        Threads of each worker, all of which compute.
    memory_limit : str
        As of ``dask worker``.
    nanny : bool
        Whether a process beside each worker starts it anew when it dies.
    dashboard_address : str, optional
        Where Dask serves its dashboard. None: nowhere.
    verbose : bool
        Whether Dask says what it usually says.
    """

    mpirun: str
    mpi: Mpi
    n_workers: int
    hostfile: str | None = None
    interface: str | None = None
    protocol: str | None = None
    nthreads: int = 1
    memory_limit: str = "auto"
    nanny: bool = True
    dashboard_address: str | None = None
    verbose: bool = False

    @property
    def here_only(self) -> bool:
        """Whether all of it is on this host."""
        return self.hostfile is None and allocation() is None

    def scheduler(self, scheduler_file: str) -> list[str]:
        """Return the command of the scheduler, on this host, where the script is, too."""
        program = [
            *self._rank(1, "NoWorker"),
            *("--inclusive-workers", "--scheduler-file", scheduler_file),
            *("--scheduler-port", "0"),  # any: another launch may have 8786
        ]
        if self.dashboard_address is None:
            program += ["--no-dashboard"]
        else:
            program += ["--dashboard", "--dashboard-address", self.dashboard_address]
        # its mpirun ends with it, and with no other host
        return self.mpi.command(self.mpirun, 1, program, survives=False, local=True)

    def workers(self) -> list[str]:
        """Return the command of the workers; where the scheduler is, their environment says.

        So it is on no command line, where others could read it, and no file need be shared.
        """
        program = [
            *self._rank(self.n_workers, "nanny" if self.nanny else "worker"),
            *("--no-scheduler", "--nthreads", str(self.nthreads)),
            *("--memory-limit", self.memory_limit),
        ]
        return self.mpi.command(
            self.mpirun,
            self.n_workers,
            program,
            hostfile=self.hostfile,
            crowded=self.here_only,
            exported=sorted(name for name in self.environment("") if name.startswith("DASK_")),
        )

    def _rank(self, n_ranks: int, worker_class: str) -> list[str]:
        command = [sys.executable, "-m", RANK, str(n_ranks)]
        command += ["--worker-class", f"{RANK}.{worker_class}"]
        interface = self.interface or (loopback() if self.here_only else None)
        if interface is not None:
            command += ["--interface", interface]
        if self.protocol is not None:
            command += ["--protocol", self.protocol]
        return command

    def settings(self) -> Mapping[str, str]:
        """Return what scheduler and workers have in their environment; the user's own wins."""
        ours: dict[str, str] = {}
        if not self.verbose:
            ours |= QUIET
        if self.dashboard_address is None:
            ours |= NO_PAGES
        return {name: value for name, value in ours.items() if name not in os.environ}

    def environment(self, scheduler_address: str) -> dict[str, str]:
        """Return the environment of the workers."""
        return {**os.environ, **self.settings(), "DASK_SCHEDULER_ADDRESS": scheduler_address}
