"""What placing data will take, before anything moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.utils import format_bytes
from distributed import Client
from distributed.deploy.cluster import Cluster

from dask_gradcode.checks import as_rows
from dask_gradcode.cluster.client.session import session
from dask_gradcode.cluster.data.cuts import nbytes_of
from dask_gradcode.cluster.data.forms import check_inputs
from dask_gradcode.cluster.data.lazy import is_dask
from dask_gradcode.cluster.placement.casting import roles_each
from dask_gradcode.cluster.placement.codes import choose_code, likely_nbytes, likely_size
from dask_gradcode.cluster.placement.enough import check_workers
from dask_gradcode.cluster.placement.homes import apart, hosts_of, spread
from dask_gradcode.cluster.placement.storage import best_storage, disks_of, memory_limit, on_disk
from dask_gradcode.codes import GradientCode
from dask_gradcode.containers import check_containers

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """What placing data would take.

    Parameters
    ----------
    code : GradientCode
        The code by which blocks would be placed.
    storage : {"memory", "disk"}
        What ``storage="auto"`` would take.
    nbytes : int
        Bytes of the features, as workers hold them: without stored values that are all one, as
        after one-hot encoding.
    held : int
        Bytes of its blocks that the worker with the most would hold.
    memory_limit : int
        The least memory limit of a worker; 0 if there is none.
    moved : int
        Bytes that would travel to workers, from workers that compute rows or from the client.
    written : int
        Bytes that a worker would write to its disk at most, chunks that wait included, if blocks
        are kept there.
    free : int
        Bytes that are free there, where least; 0 if no worker has answered.
    problem : str
        Why blocks cannot be kept on disk; empty if they can.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> print(Estimate(Uncoded(2), "memory", 2**30, 2**29, 2**32, 2**29, 2**30, 2**34, ""))
    Uncoded(n_workers=2)
      data                     1.00 GiB
      blocks of a worker     512.00 MiB, in memory
      memory limit             4.00 GiB
      moved                  512.00 MiB
      written, if on disk      1.00 GiB
      free on disk            16.00 GiB
    """

    code: GradientCode
    storage: str
    nbytes: int
    held: int
    memory_limit: int
    moved: int
    written: int
    free: int
    problem: str

    def __str__(self) -> str:
        where = "in memory" if self.storage == "memory" else "on disk"
        lines = [
            ("data", format_bytes(self.nbytes), ""),
            ("blocks of a worker", format_bytes(self.held), f", {where}"),
            ("memory limit", format_bytes(self.memory_limit) if self.memory_limit else "none", ""),
            ("moved", format_bytes(self.moved), ""),
            ("written, if on disk", format_bytes(self.written), ""),
            ("free on disk", format_bytes(self.free), ""),
        ]
        table = [f"  {name:<21}{number:>12}{more}" for name, number, more in lines]
        problem = [f"  not on disk: {self.problem}"] if self.problem else []
        return "\n".join([repr(self.code).split("  #")[0], *table, *problem])


def estimate(
    X: Any,
    y: Any,
    *,
    code: str | GradientCode = "auto",
    n_stragglers: int | None = None,
    n_workers: int | None = None,
    client: Client | Cluster | str | None = None,
) -> Estimate:
    """Say what placing data would take: memory, bytes that move, disk; nothing of it moves.

    Parameters
    ----------
    X : dask array, ndarray, CSR array or frame of shape (n_samples, n_features)
        The features. Where chunks do not say how large they are, sparse ones or those of a frame,
        the first one is computed, and the others are taken for alike.
    y : array-like or dask array of shape (n_samples,)
        The targets.
    code : {"auto", "declustered", "fractional", "cyclic", "uncoded", ...} or GradientCode, \
            default="auto"
        As for :func:`~dask_gradcode.place`.
    n_stragglers : int, optional
        How many workers may be silent. None: the code object's, else 1 (0 on a single worker).
    n_workers : int, optional
        How many workers to use. None: the code object's, else all of the cluster.
    client : distributed.Client, Dask cluster or str, optional
        A client, a cluster or a scheduler's address. None: the current client.

    Returns
    -------
    Estimate
        To be printed, or read by its attributes.

    Raises
    ------
    ValueError
        For data or parameters that cannot be used.
    InsufficientWorkersError
        If the cluster has too few workers, as for :func:`~dask_gradcode.place`.

    Examples
    --------
    >>> from distributed import Client
    >>> from dask_gradcode import estimate
    >>> X, y = np.zeros((1000, 16)), np.arange(1000) % 2
    >>> options = dict(processes=False, n_workers=2, memory_limit="1 GiB", dashboard_address=":0")
    >>> with Client(**options) as client:
    ...     found = estimate(X, y, n_stragglers=1, client=client)
    >>> found.code, found.storage, found.nbytes, found.held
    (FractionalRepetition(n_workers=2, n_stragglers=1), 'memory', 128000, 128000)
    """
    check_containers(X=X, y=y)
    X, y, _ = check_inputs(X, y, None, "estimate")
    with session(client, {"X": X, "y": y}) as lent:
        addresses, hosts = spread(lent), hosts_of(lent)
        size, nbytes = likely_size(X), likely_nbytes(X)
        if nbytes is None:
            nbytes = _nbytes_of_alike(lent, X)
        chosen = choose_code(code, n_workers, n_stragglers, None, apart(lent, addresses), size)
        check_workers(lent, addresses, chosen)
        used = addresses[: chosen.n_workers]
        disks, limit, each = (
            disks_of(lent, used),
            memory_limit(lent, used),
            roles_each(chosen, len(used)),
        )
        role, written = int(chosen.load * nbytes), on_disk(chosen, nbytes, each)
        storage, problem = best_storage(disks, hosts, each * role, written, limit)
    free = min((disk.free for disk in disks.values()), default=0)
    # rows that are computed on one of their holders need not travel there
    at_home = nbytes if is_dask(X) and len(used) == len(addresses) else 0
    moved = role * chosen.n_workers - at_home
    return Estimate(chosen, storage, nbytes, each * role, limit, moved, written, free, problem)


def _nbytes_of_alike(client: Client, X: Any) -> int:
    """Return the bytes of all chunks of an array if they are like its first one."""

    def measure(chunk: Any) -> tuple[int, int]:
        rows = as_rows(chunk, "estimate", ensure_min_samples=0)
        nbytes, of_ones = nbytes_of(rows)
        return rows.shape[0], nbytes - of_ones

    first = client.submit(measure, client.compute(X.blocks[0]), pure=False)
    n_rows, nbytes = first.result()
    if np.isnan(X.shape[0]) or not n_rows:
        return int(nbytes * X.numblocks[0])
    return int(nbytes * X.shape[0] / n_rows)
