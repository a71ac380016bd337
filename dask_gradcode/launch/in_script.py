"""A cluster inside a script that ``mpirun`` itself starts on every rank."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dask.config

from dask_gradcode.launch.interfaces import any_port, loopback, outward_interface

if TYPE_CHECKING:
    from distributed import Client, Nanny

__all__ = ["mpi_client"]

SCRIPT = 1
"""The rank that runs the script, as dask-mpi has it; 0 is the scheduler's, all others workers'."""

FAREWELL_TAG = 1612


@contextmanager
def mpi_client(
    *,
    interface: str | None = None,
    protocol: str | None = None,
    nthreads: int = 1,
    memory_limit: str = "auto",
    timeout: float = 60.0,
    grace: float = 30.0,
) -> Iterator[Client]:
    """Make the ranks of this MPI job a Dask cluster, and run the block with its client on rank 1.

    Rank 0 becomes the scheduler and ranks from 2 on become workers, each under a nanny that starts
    it anew when it dies. These ranks do not enter the block and end when it has ended, so nothing
    of the script should stand before it that they should not do.

    A *worker process* may die or freeze: the nanny's rank lives. What it cannot survive under plain
    ``mpirun`` is the death of a *rank*: ``mpirun`` then ends all ranks. Flags that help are
    ``--continuous`` with Open MPI and ``-disable-auto-cleanup`` with MPICH (for one such death);
    but with them the job does not end while a rank is frozen. ``dask-gradcode mpirun script.py``
    survives both, and also keeps the script out of the ranks. The scheduler and the script are
    single points of failure either way.

    Parameters
    ----------
    interface : str, optional
        Network interface that Dask listens on. None: the loopback if all ranks are on one host,
        otherwise the one by which each host reaches others.
    protocol : {"tcp", "tls"}, optional
        TLS takes the files that Dask's settings name (``distributed.comm.tls``).
    nthreads : int, default=1
        Threads of each worker, all of which compute.
    memory_limit : str, default="auto"
        Of each worker, as of ``dask worker``.
    timeout : float, default=60.0
        Seconds in which all workers must be there.
    grace : float, default=30.0
        Seconds that the other ranks have to end after the block.

    Yields
    ------
    distributed.Client
        The client, made the current one.

    Raises
    ------
    RuntimeError
        If there are fewer than three ranks, or if the script runs again in a nanny's child, as it
        does without a main guard.
    TimeoutError
        If not all workers came in time.

    Notes
    -----
    At the end of the block each nanny ends its worker, and kills one that is frozen. When a rank
    itself has not ended within `grace`, because it is frozen, the job is aborted at the end of
    the script, with its exit code: that of an error or ``sys.exit`` in the block, 1 for an error
    after it, otherwise 0.

    Examples
    --------
    Run this by ``mpirun -n 6 python train.py`` for four workers::

        from dask_gradcode import CodedLogisticRegression
        from dask_gradcode.launch import mpi_client

        def main():
            with mpi_client():
                CodedLogisticRegression(n_stragglers=1).fit(X, y)

        if __name__ == "__main__":  # nannies import this file in new processes
            main()
    """
    _refuse_a_second_run()
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    if comm.size < 3:
        raise RuntimeError(
            f"mpi_client needs 3 MPI ranks or more: a scheduler's, the script's, and one for each "
            f"worker. Got {comm.size}. Start it by mpirun -n {2 + 4} python {sys.argv[0]}; if you "
            "did, mpi4py has loaded another MPI than that mpirun's."
        )
    if interface is None:
        alone = comm.Split_type(MPI.COMM_TYPE_SHARED).size == comm.size
        interface = loopback() if alone else outward_interface()
    if comm.rank != SCRIPT:
        _be_quiet()
    from dask_mpi import initialize

    try:
        is_script = initialize(
            interface=interface,
            protocol=protocol,
            nthreads=nthreads,
            memory_limit=memory_limit,
            dashboard=False,
            dashboard_address=any_port(interface),
            worker_class="distributed.Nanny",
            exit=False,
        )
    except Exception:  # the other ranks would wait for this one for ever
        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(1)
        raise
    if not is_script:
        comm.send(None, dest=SCRIPT, tag=FAREWELL_TAG)
        sys.exit()
    yield from _lend(comm, timeout, grace)


def _lend(comm: Any, timeout: float, grace: float) -> Iterator[Client]:
    from distributed import Client

    client, code = Client(timeout=timeout), 0
    try:
        client.wait_for_workers(comm.size - 2, timeout=timeout)
        yield client
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    except BaseException:
        code = 1
        raise
    finally:
        missing = _shut_down(client, comm, grace)
        if missing:
            atexit.register(_abort, comm, missing, code)


def _refuse_a_second_run() -> None:
    # a child has its name before it imports the script, but its parent_process() only afterwards
    if multiprocessing.current_process().name != "MainProcess":
        raise RuntimeError(
            "mpi_client was called again in a child process, which had to import the script. "
            'Call it in a function, and that function under `if __name__ == "__main__":`.'
        )


def _be_quiet() -> None:
    """Let ranks of the cluster say nothing of the connections that end when the cluster ends.

    Not if the user has said by ``logging: distributed`` in Dask's settings what they want to hear.
    """
    import distributed  # noqa: F401  # sets its loggers' levels, which is not to come afterwards

    if dask.config.get("logging.distributed", None) is None:
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"  # for a nanny's child
        logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _shut_down(client: Client, comm: Any, grace: float) -> set[int]:
    """End the cluster, and return the ranks that have not ended in time."""
    deadline = time.monotonic() + grace
    _in_at_most(grace / 5, _end_workers, client)  # a frozen rank never answers
    _in_at_most(deadline - time.monotonic(), client.shutdown)
    missing = set(range(comm.size)) - {SCRIPT}
    while missing and time.monotonic() < deadline:
        for rank in [r for r in missing if comm.iprobe(source=r, tag=FAREWELL_TAG)]:
            comm.recv(source=rank, tag=FAREWELL_TAG)
            missing.discard(rank)
        time.sleep(0.02)
    return missing


def _in_at_most(seconds: float, call: Callable[..., object], *args: object) -> None:
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    thread.join(seconds)


def _end_workers(client: Client) -> None:
    """Have nannies end their workers: a shutdown asks a worker itself; a frozen one never hears."""
    with suppress(Exception):  # of a rank that is gone, or frozen until the client is closed
        client.run(_close, nanny=True, wait=False, on_error="ignore")


async def _close(dask_worker: Nanny) -> None:
    await dask_worker.close(timeout=2)  # seconds that a worker has to end before it is killed


def _abort(comm: Any, missing: set[int], code: int) -> None:
    error = getattr(sys, "last_value", None)
    print(
        f"dask-gradcode: ranks {sorted(missing)} have not ended and the job is aborted.",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    time.sleep(1)  # mpirun may drop what it has not passed on before an abort
    comm.Abort(code or int(error is not None))
