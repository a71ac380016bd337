"""The command line: ``dask-gradcode mpirun -n WORKERS script.py``."""

from __future__ import annotations

import shlex
import sys

import click

from dask_gradcode.launch.commands import Cluster
from dask_gradcode.launch.mpi import UNKNOWN, find_mpirun, which_mpi
from dask_gradcode.launch.run import NO_CLUSTER, ClusterError, run

__all__ = ["main"]


@click.group()
@click.version_option(package_name="dask-gradcode")
def main() -> None:
    """Train by gradient coding on clusters that lose machines."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-n", "n_workers", type=click.IntRange(1), required=True, help="Number of worker ranks."
)
@click.option(
    "--hostfile",
    type=click.Path(exists=True, dir_okay=False),
    help="Hosts, as this mpirun reads them.  [default: the batch system's, else this host]",
)
@click.option(
    "--interface",
    help="Network interface that Dask listens on, such as eth0.  [default: loopback on this host "
    "alone, else the one by which each host reaches others]",
)
@click.option(
    "--protocol",
    type=click.Choice(["tcp", "tls"]),
    help="tls takes the files that Dask's settings name (distributed.comm.tls).",
)
@click.option("--nthreads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--memory-limit", default="auto", show_default=True, help="Of each worker, as of `dask worker`."
)
@click.option(
    "--nanny/--no-nanny",
    default=True,
    show_default=True,
    help="Start a dead worker process anew.",
)
@click.option(
    "--scheduler-file",
    type=click.Path(),
    help="Where the scheduler writes its address.  [default: in a private directory]",
)
@click.option(
    "--dashboard-address", metavar="HOST:PORT", help="Serve Dask's dashboard.  [default: do not]"
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds in which all workers must be there.",
)
@click.option("--mpirun", help="Which mpirun to use.  [default: beside this Python, else on PATH]")
@click.option("--dry-run", is_flag=True, help="Print the commands and do nothing.")
@click.option("--verbose", is_flag=True, help="Let mpirun and Dask say what they do, on stderr.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mpirun(
    n_workers: int,
    hostfile: str | None,
    interface: str | None,
    protocol: str | None,
    nthreads: int,
    memory_limit: str,
    nanny: bool,
    scheduler_file: str | None,
    dashboard_address: str | None,
    timeout: float,
    mpirun: str | None,
    dry_run: bool,
    verbose: bool,
    script: str,
    arguments: tuple[str, ...],
) -> None:
    """Run SCRIPT on a Dask cluster over MPI that survives the death of its ranks.

    The script finds the cluster by distributed.Client(). Its exit code is this command's; 125 says
    that the cluster failed.
    """
    try:
        path = find_mpirun(mpirun)
        mpi = which_mpi(path)
        cluster = Cluster(
            mpirun=path,
            mpi=mpi,
            n_workers=n_workers,
            hostfile=hostfile,
            interface=interface,
            protocol=protocol,
            nthreads=nthreads,
            memory_limit=memory_limit,
            nanny=nanny,
            dashboard_address=dashboard_address,
            verbose=verbose,
        )
        if mpi is UNKNOWN:
            click.echo(
                f"dask-gradcode: {path} is of {mpi.name}. It is not promised that the job goes on "
                "after the death of a rank, nor that ranks on other hosts end with it.",
                err=True,
            )
        if dry_run:
            _show(cluster, scheduler_file, [script, *arguments])
            return
        code = run(cluster, [script, *arguments], scheduler_file=scheduler_file, timeout=timeout)
    except (ClusterError, OSError) as error:
        click.echo(f"dask-gradcode: {error}", err=True)
        code = NO_CLUSTER
    sys.exit(code)


def _show(cluster: Cluster, scheduler_file: str | None, script: list[str]) -> None:
    click.echo(f"# {cluster.mpi.name}: {cluster.mpirun}")
    for name, value in cluster.settings().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    for title, command in (
        ("scheduler", cluster.scheduler(scheduler_file or "PRIVATE/scheduler.json")),
        ("workers, with DASK_SCHEDULER_ADDRESS from that file", cluster.workers()),
        ("script, with the same", [sys.executable, *script]),
    ):
        click.echo(f"# {title}\n{shlex.join(command)}")
