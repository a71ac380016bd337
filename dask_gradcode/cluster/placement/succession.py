"""Roles that go from one worker to another, and are served by the old one until that is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

from distributed import Future

from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.worker.serving import Serving

__all__ = ["Succession", "User"]


class User(Protocol):
    """A user of shards: they are served to it."""

    @property
    def held(self) -> Collection[Any]:
        """The keys of the shards that it is attached to."""
        ...


@dataclass(frozen=True)
class _Former:
    """What a role was before it was where it is now; ``shard`` None: Dask has let go of it."""

    role: int
    address: str
    epoch: int
    key: Any
    shard: Future[Any] | None


class Succession:
    """Where placed roles are being copied to, and where they were and may still be served.

    A role has moved once its copy is there. Its users go over to it between two rounds; until all
    have done so, the former shard is kept. So is the desk of a worker that has been retired, which
    serves on as long as a client is connected to it, though Dask knows it no more.

    Parameters
    ----------
    serving : Serving
        The tasks that serve shards.

    Attributes
    ----------
    coming : dict of int to Seat
        By role the seat that it will have.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.coming: dict[int, Seat] = {}
        self._former: tuple[_Former, ...] = ()
        self._users: WeakSet[User] = WeakSet()

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way, or to be let go."""
        return bool(self.coming or self._former)

    def where(self, seats: Mapping[int, Seat]) -> dict[int, str]:
        """Return where each role is, or is being placed, or copied to."""
        both = (*seats.items(), *self.coming.items())
        return {role: seat.address for role, seat in both if not seat.is_vacant}

    def use(self, user: User) -> None:
        """Have shards kept that a user is attached to."""
        self._users.add(user)

    def serves(self, key: Any) -> bool:
        """Say whether a shard that is its role's no more may still be used."""
        return any(former.key == key for former in self._former)

    def leave(self, seat: Seat, *, retired: bool = False) -> None:
        """Keep what a role was, as long as a user is attached to it."""
        assert seat.shard is not None
        shard = None if retired else seat.shard
        former = _Former(seat.role, seat.address, seat.epoch, seat.shard.key, shard)
        self._former += (former,)
        self.let_go()

    def let_go(self) -> None:
        """Let go of what nobody uses any more."""
        used = {key for user in self._users for key in user.held}
        for former in self._former:
            if former.key not in used:
                self._drop(former)

    def tidy(self, now: float) -> None:
        """Let go of what nobody uses any more, and of failed copies that are not begun again."""
        for role, seat in list(self.coming.items()):
            if seat.is_due(now):
                del self.coming[role]
        self.let_go()

    def die(self, address: str, *, retired: bool) -> list[Seat]:
        """Note that a worker is gone; return the seats that were to be there."""
        for former in self._former:
            if former.address == address and not retired:
                self._drop(former)
        gone = [seat for seat in self.coming.values() if seat.address == address]
        self.coming = {role: seat for role, seat in self.coming.items() if seat not in gone}
        return gone

    def release(self) -> None:
        """Let go of everything."""
        for former in self._former:
            self._drop(former)
        self.coming.clear()

    def _drop(self, former: _Former) -> None:
        self._former = tuple(other for other in self._former if other is not former)
        if former.shard is not None:
            self._serving.release(former.role, former.epoch)
            former.shard.release()
