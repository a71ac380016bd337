"""Who takes over a role that is lost, and from whom its blocks come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

from distributed import Future

from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.codes import GradientCode

__all__ = ["holders_of", "successor"]


def successor(
    code: GradientCode,
    seats: Mapping[int, Seat],
    role: int,
    spare: Iterable[str],
    workers: Mapping[str, Any],
) -> str:
    """Return the worker on whose host the fewest other roles have blocks of this one.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    seats : mapping of int to Seat
        All roles.
    role : int
        The role that is lost.
    spare : iterable of str
        The workers that could take it over.
    workers : mapping of str to dict
        What the scheduler says of each worker.
    """
    mine = set(code.blocks_of(role))
    hosts: Counter[str] = Counter()
    for other, seat in seats.items():
        if other != role and seat.address in workers:
            hosts[workers[seat.address]["host"]] += len(mine.intersection(code.blocks_of(other)))
    return min(spare, key=lambda address: (hosts[workers[address]["host"]], address))


def holders_of(
    code: GradientCode, seats: Mapping[int, Seat], role: int, silent: Container[str]
) -> dict[int, tuple[Future[Any], str]] | None:
    """Return for each block of a role another one that has it; None if nobody awake has one.

    Parameters
    ----------
    code, seats, role
        As for :func:`successor`.
    silent : container of str
        Workers that begin no task.

    Returns
    -------
    dict of int to tuple of Future and str, or None
        By block the shard that has it, and the worker of that.
    """
    found = {}
    for block in code.blocks_of(role):
        for other, seat in seats.items():
            if seat.shard is None or seat.address in silent or other == role:
                continue
            if block in code.blocks_of(other):
                found[block] = seat.shard, seat.address
                break
        else:
            return None
    return found
