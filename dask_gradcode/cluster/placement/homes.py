"""Which worker plays which role, and which computes which rows before they are placed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from distributed import Client
from scipy.optimize import linear_sum_assignment

from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import runs
from dask_gradcode.cluster.placement.casting import cast
from dask_gradcode.cluster.placement.sites import in_turn, sites_of, who_fails_together
from dask_gradcode.codes import GradientCode

__all__ = ["anywhere", "apart", "homes", "hosts_of", "seats_of", "spread"]


def spread(client: Client) -> list[str]:
    """Return the workers' addresses, so that a block's replicas go to different zones and hosts."""
    return in_turn(sites_of(workers_of(client)))


def hosts_of(client: Client) -> dict[str, str]:
    """Return the host of each worker."""
    workers = workers_of(client)
    return {address: worker["host"] for address, worker in workers.items()}


def apart(client: Client, addresses: Sequence[str]) -> list[str]:
    """Return for each worker the zone or host that it fails together with, itself if unknown."""
    together = who_fails_together(sites_of(workers_of(client)))
    return [together.get(address, address) for address in addresses]


def homes(
    code: GradientCode, addresses: Sequence[str], starting: Collection[str] = ()
) -> Callable[[float], str]:
    """Return what says where to compute rows: on a worker that will hold them, in equal shares.

    So each row travels ``n_stragglers`` times, and no worker holds rows that it does not need.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    addresses : sequence of str
        The worker of each role.
    starting : collection of str, default=()
        Workers that are to compute no rows where others can.

    Returns
    -------
    callable
        The worker's address by the position of rows among all rows, in [0, 1].

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition
    >>> home = homes(CyclicRepetition(3, 1), ["a", "b", "c"])
    >>> [home(position) for position in (0.0, 0.3, 0.5)]
    ['a', 'c', 'b']
    """
    borders, holders = [], []
    for run in runs(code):
        borders.append(run.stop / code.n_blocks)
        found = [addresses[role] for role in code.holders[run.start]]
        holders.append([a for a in found if a not in starting] or found)

    def home(position: float) -> str:
        run = min(bisect_right(borders, position), len(borders) - 1)
        begin = borders[run - 1] if run else 0.0
        share = (position - begin) / (borders[run] - begin) * len(holders[run])
        return holders[run][min(int(share), len(holders[run]) - 1)]

    return home


def anywhere(position: float) -> None:
    """Let Dask choose which worker computes rows."""


def seats_of(
    client: Client,
    code: GradientCode,
    addresses: Sequence[str],
    builder: Builder,
    where: Mapping[tuple[str, int], str],
    kept: Mapping[int, str],
) -> list[str]:
    """Return the worker of each role: where it is kept, else where most of its rows are."""
    seats = cast(code, addresses, workers_of(client), kept)
    if kept or code.n_workers > len(addresses):
        return seats
    return _near(seats, hosts_of(client), builder, where)


def _near(
    addresses: Sequence[str],
    hosts: Mapping[str, str],
    builder: Builder,
    where: Mapping[tuple[str, int], str],
) -> list[str]:
    """Return the worker of each role, so that as many rows as can be are there already.

    Parameters
    ----------
    addresses : sequence of str
        A worker for each role. Which host a role is on stays as it is here.
    hosts : mapping of str to str
        The host of each worker.
    builder : Builder
        Says which rows a role needs of a chunk.
    where : mapping of tuple of str and int to str
        The worker that holds each chunk, by array and index.
    """
    rows = np.zeros((len(addresses), len(addresses)))  # of a role that are at an address already
    for (name, chunk), address in where.items():
        if name == "X" and address in addresses:
            rows[addresses.index(address)] += [
                builder.overlap(role, name, chunk) for role in range(len(addresses))
            ]
    found = list(addresses)
    for host in set(hosts.values()):
        here = [i for i, address in enumerate(addresses) if hosts.get(address) == host]
        workers, roles = linear_sum_assignment(rows[np.ix_(here, here)], maximize=True)
        for worker, role in zip(workers, roles, strict=True):
            found[here[role]] = addresses[here[worker]]
    return found
