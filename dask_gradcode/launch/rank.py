"""What ``mpirun`` starts on each rank: dask-mpi's own command, after a look around.

    python -m dask_gradcode.launch.rank N_RANKS [options of dask-mpi]

It makes sure that the ranks see each other and that Dask listens on one interface only, and lets
go of MPI once all ranks are up: from then on MPI has no port open and no say in how a rank ends.
Being a module with a main guard it may be imported again by the processes that nannies start.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import psutil
from distributed import Nanny, Worker

from dask_gradcode.launch.interfaces import any_port, outward_interface

__all__ = ["NoWorker", "main", "nanny", "worker"]


def main(arguments: list[str]) -> None:
    """Become a rank of dask-mpi."""
    n_ranks, *options = arguments
    os.umask(0o077)  # all that is written here, the scheduler file too, is its owner's
    _close_inherited_ports()
    from mpi4py import MPI

    if MPI.COMM_WORLD.size != int(n_ranks):
        library = MPI.Get_library_version().splitlines()[0]
        sys.exit(
            f"mpirun has started {n_ranks} ranks, but each is alone: mpi4py has loaded another "
            f"MPI, {library}. Use the mpirun of that one (--mpirun PATH), or set MPI4PY_LIBMPI "
            "to the library of this one."
        )
    if "--interface" not in options:
        options += ["--interface", outward_interface()]
    if "--no-dashboard" in options:
        options += ["--dashboard-address", any_port(options[options.index("--interface") + 1])]
    from dask_mpi.cli import main as dask_mpi

    dask_mpi(options, prog_name="dask-mpi")


def nanny(**options: Any) -> Nanny:
    """Return a nanny, after the ranks have let go of MPI."""
    _let_go()
    return Nanny(**options)


def worker(**options: Any) -> Worker:
    """Return a worker without a nanny, after the ranks have let go of MPI."""
    _let_go()
    return Worker(**options)


class NoWorker:
    """Nobody: dask-mpi starts no scheduler on a rank of its own without a worker beside it."""

    def __init__(self, **options: Any) -> None:
        _let_go()

    async def __aenter__(self) -> NoWorker:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def finished(self) -> None:
        pass


def _close_inherited_ports() -> None:
    """Close the ports that ``mpirun`` listens on and lets its ranks inherit, as Hydra does."""
    for connection in psutil.Process().net_connections("inet"):
        if connection.status == psutil.CONN_LISTEN:
            os.close(connection.fd)


def _let_go() -> None:
    from mpi4py import MPI

    MPI.Finalize()


if __name__ == "__main__":
    main(sys.argv[1:])
