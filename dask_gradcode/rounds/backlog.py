"""Which roles still work on what an older round has asked for, and which take long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

from dask_gradcode.rounds.carried import Free

__all__ = ["Backlog"]


@dataclass
class _Job:
    """What a role was asked for by the newest round that has asked it."""

    round: int
    since: float
    owed: set[int]


class Backlog:
    """Keeps of each role what it was asked for last, and how long that has taken it before.

    Parameters
    ----------
    slow_from : float
        From how many times the usual time on a role is slow.

    Examples
    --------
    >>> backlog = Backlog(slow_from=1.5)
    >>> backlog.begin(0)
    >>> for role in range(3):
    ...     backlog.ask(role, [role], round=0, now=0.0)
    >>> backlog.answer(0, 0, round=0, now=1.0), backlog.answer(1, 1, round=0, now=1.0)
    (None, None)
    >>> backlog.begin(1)
    >>> backlog.busy(), backlog.slow()
    ([2], [])

    Its answer comes while round 1 is running, after eight times as long as the others took:

    >>> backlog.answer(2, 2, round=0, now=8.0)
    Free(role=2, slow=True)
    """

    def __init__(self, slow_from: float) -> None:
        self._slow_from = slow_from
        self._round = -1
        self._jobs: dict[int, _Job] = {}  # of roles that owe something
        self._took: dict[int, float] = {}  # seconds, by role

    def begin(self, round: int) -> None:
        """Note which round is the newest."""
        self._round = round

    def ask(self, role: int, messages: Iterable[int], round: int, now: float) -> None:
        """Note that a role is asked for messages; by a newer round, instead of all before."""
        job = self._jobs.get(role)
        if job is None or job.round != round:
            self._jobs[role] = _Job(round, now, set(messages))
        else:
            job.owed.update(messages)

    def answer(self, role: int, message: int, round: int, now: float) -> Free | None:
        """Note an answer; return what the newest round is told of it, if it is of an older one."""
        job = self._jobs.get(role)
        if job is None or job.round != round:
            return None
        job.owed.discard(message)
        if job.owed:
            return None
        del self._jobs[role]
        self._took[role] = now - job.since
        return Free(role, role in self.slow()) if round != self._round else None

    def fail(self, role: int, round: int) -> Free | None:
        """Note that a role has raised what it would raise of each point; likewise."""
        job = self._jobs.get(role)
        if job is None or job.round != round:
            return None
        del self._jobs[role]
        return Free(role) if round != self._round else None

    def release(self, role: int) -> None:
        """Note that a role is gone, or on another worker, and owes nothing."""
        self._jobs.pop(role, None)
        self._took.pop(role, None)

    def busy(self) -> list[int]:
        """Return which roles owe something that an older round has asked for, ascending."""
        return sorted(role for role, job in self._jobs.items() if job.round != self._round)

    def slow(self) -> list[int]:
        """Return which roles clearly took longer than others for their last answer, ascending."""
        if not self._took:
            return []
        limit = self._slow_from * median_low(self._took.values())
        return sorted(role for role, seconds in self._took.items() if seconds > limit)

    def rounds(self) -> set[int]:
        """Return the rounds to which something is owed."""
        return {job.round for job in self._jobs.values()}
