"""Who was lost in a fit, restored and relocated, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dask_gradcode.rounds import RoundRecord

__all__ = ["Change", "changes"]


@dataclass(frozen=True)
class Change:
    """A worker was lost in a fit, restored or relocated; or all were there for the first time.

    Parameters
    ----------
    round : int
        The first round without the worker, with it again, or with it in another place.
    worker : int or None
        The code worker, 0 to ``n_workers - 1``; None if it is about all of them.
    what : {"lost", "restored", "relocated", "complete"}
        What became of it. ``"relocated"``: another worker of the cluster plays its role, and it has
        not been missed. ``"complete"``: all workers are placed and none is lost, and the code's
        full tolerance has been reached, after a beginning without some of them.
    cost : float
        Seconds by which that round took longer than the median round; 0 if it did not.

    Examples
    --------
    >>> Change(round=3, worker=1, what="lost", cost=0.02)
    Change(round=3, worker=1, what='lost', cost=0.02)
    """

    round: int
    worker: int | None
    what: str
    cost: float


def changes(records: Sequence[RoundRecord]) -> list[Change]:
    """Return who was lost, restored and relocated in a fit, and when all were there at first.

    Parameters
    ----------
    records : sequence of RoundRecord
        All rounds, from the first.

    Returns
    -------
    list of Change
        In the order of rounds.
    """
    found: list[Change] = []
    usual = median(record.seconds for record in records) if records else 0.0
    missing: set[int] = set()
    incomplete = bool(records) and _began_without_some(records[0])
    for record in records:
        cost = max(0.0, record.seconds - usual)
        back = set(record.restored) | (missing - set(record.lost))
        # one who was lost and replaced before a round could miss it is back all the same
        for what, workers in (
            ("lost", back - missing),
            ("restored", back),
            ("lost", set(record.lost) - (missing - back)),
            ("relocated", set(record.relocated)),
        ):
            found += [Change(record.round, worker, what, cost) for worker in sorted(workers)]
        missing = set(record.lost)
        if incomplete and not (record.lost or record.unplaced):
            incomplete = False
            found.append(Change(record.round, None, "complete", cost))
    return found


def _began_without_some(first: RoundRecord) -> bool:
    return bool(first.lost or first.unplaced or first.placed or first.restored)
