"""Which of the workers takes a role best: decided, without deeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from dask_gradcode.cluster.placement.sites import sites_of
from dask_gradcode.codes import GradientCode

__all__ = ["ROOM", "Choice"]

ROOM = 0.6
"""How much of a worker's memory limit several roles may fill: beyond, Dask begins to spill."""


class Choice:
    """Workers that could take a role, and which roles they have so far.

    Parameters
    ----------
    code : GradientCode
        Says which role holds which blocks.
    where : mapping of int to str
        The worker of each role that is placed, or being placed.
    able : mapping of str to dict
        What the scheduler says of each worker that may take a role.
    nbytes : mapping of int to int
        Bytes of memory that each role takes, where that is known.

    Examples
    --------
    Roles 0 and 1 hold the same blocks, and so do 2 and 3. Role 0 would be no use beside role 1:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> able = {a: {"host": a, "memory_limit": 0} for a in ("b", "c", "d")}
    >>> choice = Choice(FractionalRepetition(4, 1), {1: "b", 2: "c", 3: "d"}, able, {})
    >>> choice.own(0), choice.shared(0)
    (None, 'c')
    """

    def __init__(
        self,
        code: GradientCode,
        where: Mapping[int, str],
        able: Mapping[str, Any],
        nbytes: Mapping[int, int],
    ) -> None:
        self._code, self._able, self._nbytes = code, able, nbytes
        self._where, self._sites = dict(where), sites_of(able)
        self._on: dict[str, set[int]] = {address: set() for address in (*able, *where.values())}
        for role, address in where.items():
            self._on[address].add(role)

    def put(self, role: int, address: str) -> None:
        """Note that a role is to be on a worker, and on no other."""
        for roles in self._on.values():
            roles.discard(role)
        self._on[address].add(role)
        self._where[role] = address

    def own(self, role: int, avoided: Collection[str] = ()) -> str | None:
        """Return a worker that has no role, None if there is none.

        What has gone wrong on a worker may go well on another: such are avoided, if possible.
        """
        spare = [address for address in self._able if not self._on[address]]
        return self._best(role, [a for a in spare if a not in avoided] or spare)

    def shared(self, role: int) -> str | None:
        """Return a worker that has others beside, None if there is none with room, or of use."""
        return self._best(role, [a for a in self._able if self._is_of_use(role, a)])

    def evened(self, movable: Collection[int]) -> tuple[int, str] | None:
        """Return a role of a worker that has more, and one with fewer that should take it.

        Also one that may take none itself, as it has too little memory left, gives some away.

        Parameters
        ----------
        movable : collection of int
            The roles that may be moved.
        """
        fewest = min((len(self._on[address]) for address in self._able), default=0)
        for roles in sorted(self._on.values(), key=len, reverse=True):
            if len(roles) < fewest + 2:
                return None
            for role in sorted(roles.intersection(movable)):
                takers = [a for a in self._able if len(self._on[a]) == fewest]
                taker = self._best(role, [a for a in takers if self._is_of_use(role, a)])
                if taker is not None:
                    return role, taker
        return None

    def _is_of_use(self, role: int, address: str) -> bool:
        others = self._on[address] - {role}
        blocks = {block for other in others for block in self._code.blocks_of(other)}
        if others and blocks.issuperset(self._code.blocks_of(role)):
            return False
        limit = self._able[address].get("memory_limit") or 0
        filled = sum(self._nbytes.get(other, 0) for other in (*others, role))
        return not others or not limit or filled <= ROOM * limit

    def _best(self, role: int, among: Collection[str]) -> str | None:
        """Return the worker that has, or fails together with, the fewest of a role's blocks.

        First the blocks count that it has itself, then its number of roles, then the blocks of
        others in its zone and on its host.
        """
        if not among:
            return None
        mine, copies = set(self._code.blocks_of(role)), Counter[str]()
        for other, address in self._where.items():
            if other != role and address in self._able:
                n_common = len(mine.intersection(self._code.blocks_of(other)))
                site = self._sites[address]
                for place in (f"on {address}", f"host {site.host}", f"zone {site.zone}"):
                    copies[place] += n_common

        def preference(address: str) -> tuple[int, int, int, int, str]:
            on, site = self._on[address] - {role}, self._sites[address]
            zone, host = copies[f"zone {site.zone}"], copies[f"host {site.host}"]
            return copies[f"on {address}"], len(on), zone, host, address

        return min(among, key=preference)
