"""Who takes over which role, and from whom its blocks come: decisions, without deeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Future

from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.codes import GradientCode

__all__ = ["Move", "bereft", "holders_of", "hopeless", "moves", "successor"]


@dataclass(frozen=True)
class Move:
    """A role is to be placed on a worker to spare; ``why`` it leaves the one it has, if it does."""

    role: int
    address: str
    why: str | None = None


def moves(
    code: GradientCode,
    seats: Mapping[int, Seat],
    workers: Mapping[str, Any],
    silent: Mapping[str, str],
    frozen: Mapping[str, str],
    now: float,
) -> list[Move]:
    """Return which roles to place on workers to spare: those that are due, or on silent workers.

    A role that is placed leaves a frozen worker only. One that is paused begins no task, but serves
    what it has.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    seats : mapping of int to Seat
        All roles.
    workers : mapping of str to dict
        What the scheduler says of each worker.
    silent, frozen : mapping of str to str
        Which workers begin no task, and which of these send no heartbeats; and why.
    now : float
        The time.
    """
    where = {role: seat.address for role, seat in seats.items()}
    taken = {seat.address for seat in seats.values() if not seat.is_vacant}
    able = {a for a, worker in workers.items() if worker["status"] == "running"}
    spare = able - taken - silent.keys() - frozen.keys()
    found = []
    for role, seat in seats.items():
        if not spare:
            break
        leaves = {**frozen, **silent} if seat.coming else frozen if seat.shard else {}
        if seat.address in leaves or seat.is_due(now):
            # what has gone wrong on one worker may go well on another
            where[role] = successor(
                code, where, role, spare.difference(seat.failed) or spare, workers
            )
            spare.remove(where[role])
            found.append(Move(role, where[role], leaves.get(seat.address)))
    return found


def successor(
    code: GradientCode,
    where: Mapping[int, str],
    role: int,
    spare: Iterable[str],
    workers: Mapping[str, Any],
) -> str:
    """Return the worker on whose host the fewest other roles have blocks of this one.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    where : mapping of int to str
        The worker of each role.
    role : int
        The role that is lost.
    spare : iterable of str
        The workers that could take it over.
    workers : mapping of str to dict
        What the scheduler says of each worker.
    """
    mine = set(code.blocks_of(role))
    hosts: Counter[str] = Counter()
    for other, address in where.items():
        if other != role and address in workers:
            hosts[workers[address]["host"]] += len(mine.intersection(code.blocks_of(other)))
    return min(spare, key=lambda address: (hosts[workers[address]["host"]], address))


def holders_of(
    code: GradientCode, seats: Mapping[int, Seat], role: int, silent: Container[str]
) -> dict[int, tuple[Future[Any], str]] | None:
    """Return for each block of a role another one that has it; None if nobody awake has one.

    Parameters
    ----------
    code, seats, role
        As for :func:`moves`.
    silent : container of str
        Workers that begin no task.

    Returns
    -------
    dict of int to tuple of Future and str, or None
        By block the shard that has it, and the worker of that.
    """
    found = {}
    taken: Counter[str] = Counter()
    for block in code.blocks_of(role):
        others = (seats[i] for i in code.holders[block] if i != role and i in seats)
        able = [s for s in others if s.shard is not None and s.address not in silent]
        if not able:
            return None
        seat = min(able, key=lambda seat: taken[seat.address])  # several send at once
        taken[seat.address] += 1
        assert seat.shard is not None
        found[block] = seat.shard, seat.address
    return found


def bereft(
    seats: Mapping[int, Seat], workers: Container[str], silent: Container[str], told: float
) -> list[int]:
    """Return the roles whose blocks are to come from workers that are gone or begin no task.

    Parameters
    ----------
    seats : mapping of int to Seat
        All roles.
    workers, silent : container of str
        The workers that there are, and those of them that begin no task.
    told : float
        When the scheduler said so: one that was chosen later may be missing.
    """

    def is_bereft(seat: Seat) -> bool:
        gone = told > seat.begun and any(source not in workers for source in seat.sources)
        return gone or any(source in silent for source in seat.sources)

    return [role for role, seat in seats.items() if seat.coming and is_bereft(seat)]


def hopeless(
    seats: Mapping[int, Seat], silent: Mapping[str, str], stuck: Mapping[int, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    """Return the roles that nobody who begins tasks is placing, with a worker and a reason.

    Parameters
    ----------
    seats : mapping of int to Seat
        All roles.
    silent : mapping of str to str
        Which workers begin no task, and why.
    stuck : mapping of int to tuple of str and str
        By role a silent worker that has what it waits for, and what that is.
    """
    found = {}
    for role, seat in seats.items():
        if seat.shard is None and (seat.coming is None or seat.address in silent):
            why = seat.why.removeprefix(f"{seat.address}: ")
            found[role] = seat.address, silent.get(seat.address, why)
        elif seat.shard is None and role in stuck:
            found[role] = stuck[role]
    return found
