"""What is known of one role: where it is placed, or why not, and how often that has gone wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distributed import Future

__all__ = ["Seat"]

TRIES = 3
"""How often an error may end the placing of a role before it is given up."""


@dataclass
class Seat:
    """A role, which is placed, or being placed, or neither.

    Attributes
    ----------
    address : str
        Where the role is, was, or is being placed.
    why : str
        Why it is not placed, with the worker where it was lost or failed.
    epoch : int
        Distinguishes what is begun for it from what was: keys are never used twice.
    shard : Future or None
        Placed: pinned to the address.
    coming : tuple of Future or None
        Being placed: the shard, and perhaps a look at it.
    sources : frozenset of str
        The workers its blocks come from, if they come from other roles.
    begun : float
        When placing it there began.
    since : float or None
        When it was lost, though it may have been lost again on its way back; None if it never was.
    failed : tuple of str
        The workers on which errors have ended placing it since it was placed last.
    losses : int
        How often placing it has ended since because something had gone with a worker.
    has_retired : bool
        Whether its worker left in good order: no other is started in its place.
    not_before : float
        When placing it may be begun again: ever later while that goes wrong at once.
    """

    role: int
    address: str
    why: str
    epoch: int = -1
    shard: Future[Any] | None = None
    coming: tuple[Future[Any], ...] | None = None
    sources: frozenset[str] = frozenset()
    begun: float = 0.0
    since: float | None = None
    failed: tuple[str, ...] = ()
    losses: int = 0
    has_retired: bool = False
    not_before: float = 0.0

    @property
    def is_vacant(self) -> bool:
        """Whether it is neither placed nor being placed."""
        return self.shard is None and self.coming is None

    @property
    def waits_for_chunks(self) -> bool:
        """Whether it is being placed from the source's chunks."""
        return self.coming is not None and not self.sources

    @property
    def is_given_up(self) -> bool:
        """Whether placing it has gone wrong too often in a row."""
        return len(self.failed) >= TRIES

    def is_due(self, now: float) -> bool:
        """Say whether placing it is to be begun again."""
        return self.is_vacant and not self.is_given_up and now >= self.not_before

    def begin(
        self,
        address: str,
        epoch: int,
        coming: tuple[Future[Any], ...],
        sources: frozenset[str],
        now: float,
    ) -> None:
        """Note that placing it on a worker has been begun."""
        for future in self.coming or ():
            future.release()
        self.address, self.epoch, self.coming = address, epoch, coming
        self.sources, self.begun, self.has_retired = sources, now, False

    def end(self) -> None:
        """Note that it is placed."""
        assert self.coming is not None
        shard, *looks = self.coming
        for look in looks:
            look.release()
        self.shard, self.coming, self.failed, self.losses = shard, None, (), 0

    def fail(self, error: BaseException, lost: bool, now: float) -> None:
        """Note that placing it has ended by an error, or by the loss of a worker."""
        for future in self.coming or ():
            future.release()
        self.coming = None
        if lost:
            self.losses += 1
        else:
            self.failed += (self.address,)
        self.not_before = now + min(0.05 * 2 ** min(self.losses, 8), 10.0)
        self.why = f"{self.address}: placing it failed with {error!r}{self._end()}"

    def vacate(self, why: str, now: float) -> None:
        """Let go of everything that is at its address, from which it has been lost."""
        # Futures at once: Dask would compute its chunks again for a task that can never run.
        for future in (self.shard, *(self.coming or ())):
            if future is not None:
                future.release()
        if self.shard is not None or self.since is None:
            self.since = now
        self.shard, self.coming = None, None
        self.why = f"{self.address}: {why}{self._end()}"

    def _end(self) -> str:
        if not self.is_given_up:
            return ""
        return f"; it is given up, as placing it has failed {len(self.failed)} times"
