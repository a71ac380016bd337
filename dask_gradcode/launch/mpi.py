"""Which MPI is here, and how its ``mpirun`` is told what the launcher needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "HYDRA",
    "KNOWN",
    "OPEN_MPI",
    "UNKNOWN",
    "Mpi",
    "advice_for_root",
    "allocation",
    "find_mpirun",
    "which_mpi",
]


@dataclass(frozen=True)
class Mpi:
    """One kind of ``mpirun``.

    Parameters
    ----------
    name : str
        Its name, for people.
    banner : str
        What ``mpirun --version`` says where it is this one.
    options : tuple of str
        Options that it needs in any case.
    survive : tuple of str
        Options under which the death of a rank ends no other rank.
    crowd : tuple of str
        Options that allow more ranks than cores.
    local : tuple of str
        Options that keep all ranks, and daemons of MPI, on this host, whatever a batch system says.
    hostfile : str
        The option that names a file of hosts.
    export : str
        The option that hands a variable of the environment to ranks on other hosts; empty where
        all are handed over.
    shield : tuple of str
        What each rank runs under, for the same end.
    """

    name: str
    banner: str
    options: tuple[str, ...] = ()
    survive: tuple[str, ...] = ()
    crowd: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    hostfile: str = "--hostfile"
    export: str = ""
    shield: tuple[str, ...] = ()

    def command(
        self,
        mpirun: str,
        n_ranks: int,
        program: Sequence[str],
        *,
        survives: bool = True,
        local: bool = False,
        hostfile: str | None = None,
        crowded: bool = False,
        exported: Iterable[str] = (),
    ) -> list[str]:
        """Return the command that starts a program on some ranks.

        Parameters
        ----------
        mpirun : str
            Path of ``mpirun``.
        n_ranks : int
            How many.
        program : sequence of str
            What each rank runs.
        survives : bool, default=True
            Whether the job goes on after the death of a rank.
        local : bool, default=False
            Whether all of it stays on this host, daemons included.
        hostfile : str, optional
            A file of hosts.
        crowded : bool, default=False
            Whether more ranks than cores are allowed.
        exported : iterable of str
            Variables of the environment that ranks on other hosts need.

        Returns
        -------
        list of str
            The command.

        Examples
        --------
        >>> HYDRA.command("mpirun", 2, ["date"], hostfile="hosts")[:6]
        ['mpirun', '-n', '2', '-disable-auto-cleanup', '-f', 'hosts']
        """
        command = [mpirun, "-n", str(n_ranks), *self.options]
        if survives:
            command += self.survive
            program = [*self.shield, *program]
        if local:
            command += self.local
        if hostfile is not None:
            command += [self.hostfile, hostfile]
        if crowded:
            command += self.crowd
        if self.export:
            for name in exported:
                command += [self.export, name]
        return [*command, *program]


OPEN_MPI = Mpi(
    name="Open MPI",
    banner="Open MPI",
    # a rank is a Dask worker with threads of its own: bound to one core they would share it
    options=("--bind-to", "none"),
    survive=("--continuous",),
    crowd=("--map-by", "slot:OVERSUBSCRIBE"),
    local=("--host", "localhost"),
    export="-x",
)

HYDRA = Mpi(
    name="MPICH (Hydra)",
    banner="HYDRA",
    survive=("-disable-auto-cleanup",),
    local=("-launcher", "fork", "-hosts", "localhost"),
    hostfile="-f",
    # Even so, Hydra ends the job at the second rank that dies by a signal, and tells all others
    # of each death by SIGUSR1, which ends any that do not expect it. Under a shell that ignores
    # SIGUSR1 and turns death by a signal into an exit code it ends none.
    shield=("sh", "-c", 'trap "" USR1; "$@" || exit 1', "rank"),
)

UNKNOWN = Mpi(name="an MPI that dask-gradcode does not know", banner="")

KNOWN = (OPEN_MPI, HYDRA)

_ALLOCATIONS = (
    "SLURM_JOB_ID",
    "PBS_NODEFILE",
    "LSB_DJOB_HOSTFILE",
    "PE_HOSTFILE",
    "COBALT_NODEFILE",
    "FLUX_JOB_ID",
)


def allocation() -> str | None:
    """Return the variable by which a batch system says that it has hosts for us, or None."""
    return next((name for name in _ALLOCATIONS if name in os.environ), None)


def find_mpirun(given: str | None = None) -> str:
    """Return the path of ``mpirun``.

    The one beside this Python comes first: there mpi4py finds its library, too.

    Parameters
    ----------
    given : str, optional
        A path or a name that overrides the search.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    here = Path(sys.executable).parent
    path = shutil.which(given or "mpirun", path=None if given else str(here))
    path = path or shutil.which(given or "mpirun")
    if path is None:
        where = f"{given!r} is not a program" if given else f"neither {here} nor PATH has mpirun"
        raise FileNotFoundError(
            f"There is no MPI here: {where}. Install one into this environment,\n"
            f"    {sys.executable} -m pip install 'dask-gradcode[mpi]'\n"
            "or load the one of your cluster (module load openmpi)."
        )
    return path


def which_mpi(mpirun: str) -> Mpi:
    """Return what kind of ``mpirun`` this is, ``UNKNOWN`` if it is none of ``KNOWN``."""
    try:
        said = subprocess.run(
            [mpirun, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return next((mpi for mpi in KNOWN if mpi.banner in said), UNKNOWN)


_ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")


def advice_for_root(mpi: Mpi) -> str:
    """Return what root has to set for this ``mpirun`` to start anything; empty where nothing."""
    unset = [name for name in _ROOT if os.environ.get(name) != "1"]
    if mpi is not OPEN_MPI or os.geteuid() != 0 or not unset:
        return ""
    return (
        "You are root, for whom Open MPI starts nothing unless it is told twice. Launch as another "
        f"user or, in a container say, first\n    export {' '.join(f'{n}=1' for n in unset)}"
    )
