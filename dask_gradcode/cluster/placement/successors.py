"""Which worker takes over which role, and where its blocks come from: decisions, without deeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Future

from dask_gradcode.cluster.placement.choice import Choice
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.codes import GradientCode

__all__ = ["Move", "bereft", "holders_of", "hopeless", "moves", "relocations"]


@dataclass(frozen=True)
class Move:
    """A role is to be placed on a worker; ``why`` it leaves the one it has, if it does."""

    role: int
    address: str
    why: str | None = None


def moves(
    seats: Mapping[int, Seat],
    choice: Choice,
    leaves: Mapping[str, str],
    silent: Mapping[str, str],
    now: float,
    share_after: float,
) -> list[Move]:
    """Return which lost roles to place, and where: those that are due, or on silent workers.

    Each gets a worker of its own, if there is one. A role that is placed leaves a frozen worker
    only: one that is paused begins no task, but serves what it has. A role that has been lost for
    long, or whose worker has been retired, shares a worker with others.

    Parameters
    ----------
    seats : mapping of int to Seat
        All roles.
    choice : Choice
        Says which workers may take a role. What is found is noted there.
    leaves, silent : mapping of str to str
        From which workers a role goes that is placed, and one that is being placed; and why.
    now : float
        The time.
    share_after : float
        Seconds after which a lost role shares a worker.
    """
    found = []
    for role, seat in seats.items():
        why = (silent if seat.coming else leaves if seat.shard else {}).get(seat.address)
        if why is None and not seat.is_due(now):
            continue
        address = choice.own(role, seat.failed)
        is_long = seat.since is not None and now - seat.since >= share_after
        if address is None and not seat.shard and (is_long or seat.has_retired):
            address = choice.shared(role)
        if address is not None:
            choice.put(role, address)
            found.append(Move(role, address, why))
    return found


def relocations(
    seats: Mapping[int, Seat],
    coming: Mapping[int, Seat],
    choice: Choice,
    leaving: Mapping[str, str],
    slow: Mapping[str, str],
    now: float,
) -> list[Move]:
    """Return which placed roles to copy to other workers, where they go once they are there.

    Roles on a worker that will leave go to a worker without a role, or if there is none to one with
    few. From a slow one they go to a worker without a role, if that has not been slow itself. And
    where a worker has two roles more than another, which may have come just now, one of them goes
    there.

    Parameters
    ----------
    seats, coming : mapping of int to Seat
        All roles, and where the roles on the way are being copied to.
    choice : Choice
        Says which workers may take a role. What is found is noted there.
    leaving, slow : mapping of str to str
        Which workers will leave, and why; which are or were slow, and how much.
    now : float
        The time.
    """
    movable = {
        role
        for role, seat in seats.items()
        if seat.shard is not None and (role not in coming or coming[role].is_due(now))
    }
    found = []
    for role in sorted(movable):
        here = seats[role].address
        if here in leaving:
            address = choice.own(role) or choice.shared(role)
        else:
            address = choice.own(role, slow) if here in slow else None
            address = None if address in slow else address
        if address is not None:
            choice.put(role, address)
            found.append(Move(role, address, leaving.get(here) or slow[here]))
    movable -= {move.role for move in found}
    while (pair := choice.evened(movable)) is not None:
        choice.put(*pair)
        movable.discard(pair[0])
        found.append(Move(*pair, "others have fewer roles"))
    return found


def holders_of(
    code: GradientCode, seats: Mapping[int, Seat], role: int, silent: Container[str]
) -> dict[int, tuple[Future[Any], str]] | None:
    """Return for each block of a role one that has it; None if no role awake has one.

    It may be the role itself, while it serves.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    seats : mapping of int to Seat
        All roles.
    role : int
        The role.
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
        others = (seats[i] for i in code.holders[block] if i in seats)
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
    """Return the roles that no worker that begins tasks is placing, with a worker and a reason.

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
