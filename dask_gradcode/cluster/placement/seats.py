"""Which role is where, as all others may read it, and what is known of the placed shards."""

from __future__ import annotations

from typing import Any

from distributed import Future

from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.spread import Spread

__all__ = ["Seats"]


class Seats:
    """The seats of all roles, empty until placing them begins.

    Attributes
    ----------
    version : int
        Grows whenever a role is lost or placed.
    columns : dict of int to ndarray of int or None
        The columns that each role sees, entered once it has been placed; None: all.
    nbytes : dict of int to int
        The bytes of each role's blocks, entered once it has been placed.
    spreads : dict of int to tuple of Spread and ndarray of int or None
        How the columns of each block spread, and which those are, None being all; entered once a
        role that has the block is placed.
    meta : ndarray or csr_array of shape (0, n_features)
        An empty array like a block's features.
    """

    def __init__(self) -> None:
        self._seats: dict[int, Seat] = {}
        self.version = 0
        self.columns: dict[int, Any] = {}
        self.nbytes: dict[int, int] = {}
        self.spreads: dict[int, tuple[Spread, Any]] = {}
        self.meta: Any = None

    @property
    def addresses(self) -> dict[int, str]:
        """The worker on which each role is, was, or is being placed."""
        return {role: seat.address for role, seat in self._seats.items()}

    @property
    def shards(self) -> dict[int, Future[Any]]:
        """The shards of the roles that are placed."""
        seats = self._seats.items()
        return {role: shard for role, seat in seats if (shard := seat.shard) is not None}

    @property
    def lost(self) -> dict[int, str]:
        """Why the other roles are not placed."""
        return {role: seat.why for role, seat in self._seats.items() if seat.shard is None}

    @property
    def unplaced(self) -> tuple[int, ...]:
        """Those of ``lost`` that have never been placed, ascending."""
        return tuple(role for role in self.lost if role not in self.columns)

    @property
    def recovered(self) -> tuple[int, ...]:
        """The roles that have been lost and are placed again, ascending."""
        seats = self._seats.items()
        return tuple(role for role, seat in seats if seat.shard and seat.since is not None)

    @property
    def given_up(self) -> dict[int, str]:
        """Why roles are not placed: those whose placing has failed too often in a row."""
        return {role: seat.why for role, seat in self._seats.items() if seat.is_given_up}

    def _enter(self, role: int, found: tuple[Any, Any, int, dict[int, Spread]]) -> None:
        """Enter what a look at a role's shard has found."""
        self.meta, self.columns[role], self.nbytes[role], spreads = found
        for block, spread in spreads.items():
            self.spreads.setdefault(block, (spread, self.columns[role]))
