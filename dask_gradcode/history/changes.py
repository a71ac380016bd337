"""Which workers a fit has lost, expelled, restored and relocated, and what that cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from dask_gradcode.rounds import Discovery, RoundRecord

__all__ = ["Change", "changes", "merged"]


@dataclass(frozen=True)
class Change:
    """What became of a worker in a fit, or of some blocks' sums, or that all workers are there.

    Parameters
    ----------
    round : int
        The first round without the worker, with it again, or with it in another place.
    worker : int or None
        The code worker, 0 to ``n_workers - 1``; None if it is not about one.
    what : {"lost", "expelled", "unverified", "taken back", "restored", "relocated", "complete"}
        What became of it. ``"relocated"``: another worker of the cluster plays its role, and it has
        not been missed. ``"complete"``: all workers are placed and none is lost, and the code's
        full tolerance has been reached, after a beginning without some of them. ``"expelled"``: it
        has sent a wrong sum, and plays no further part. ``"unverified"``: from this round on too
        few workers are left to confirm the sums of some blocks. ``"taken back"``: some rounds were
        of no use, as an expelled worker had sent wrong sums for them.
    cost : float
        Seconds by which that round took longer than the median round; 0 if it did not. If rounds
        were taken back, their seconds.
    blocks : tuple of int
        The blocks of an expelled worker, or the blocks whose sums are unverified.
    rounds : tuple of int
        The rounds that were taken back. Or, for a worker that an audit has found, the first round
        of which its sum was wrong, and the round whose check gave it away, if that is another.

    Examples
    --------
    >>> Change(round=3, worker=1, what="lost", cost=0.02)
    Change(round=3, worker=1, what='lost', cost=0.02, blocks=(), rounds=())
    """

    round: int
    worker: int | None
    what: str
    cost: float
    blocks: tuple[int, ...] = ()
    rounds: tuple[int, ...] = ()


def changes(
    records: Sequence[RoundRecord], blocks_of: Callable[[int], tuple[int, ...]] = lambda worker: ()
) -> list[Change]:
    """Return which workers were lost, expelled, restored, relocated, and when all were first there.

    Parameters
    ----------
    records : sequence of RoundRecord
        All rounds, from the first.
    blocks_of : callable, optional
        Which blocks a worker has.

    Returns
    -------
    list of Change
        In the order of rounds.
    """
    found: list[Change] = []
    usual = median(record.seconds for record in records) if records else 0.0
    missing: set[int] = set()
    incomplete = bool(records) and _began_without_some(records[0])
    unverified: set[int] = set()
    for record in records:
        cost = max(0.0, record.seconds - usual)
        back = set(record.restored) | (missing - set(record.lost))
        # a worker that was lost and replaced before a round could miss it is back all the same
        for what, workers in (
            ("lost", back - missing),
            ("restored", back),
            ("lost", set(record.lost) - (missing - back) - set(record.expelled)),
            ("relocated", set(record.relocated)),
        ):
            found += [Change(record.round, worker, what, cost) for worker in sorted(workers)]
        found += [Change(record.round, i, "expelled", cost, blocks_of(i)) for i in record.expelled]
        if new := set(record.unverified) - unverified:
            found.append(Change(record.round, None, "unverified", cost, tuple(sorted(new))))
        missing, unverified = set(record.lost), set(record.unverified)
        if incomplete and not (record.lost or record.unplaced):
            incomplete = False
            found.append(Change(record.round, None, "complete", cost))
    return found


def merged(seen: Sequence[Change], found: Sequence[Discovery]) -> list[Change]:
    """Return what was seen in rounds and what was found of them later, in the order of rounds.

    Parameters
    ----------
    seen : sequence of Change
        Of the rounds. An expelled worker is lost in them from then on, which is not told twice;
        nor is it told that a further objective of the same fit begins with all workers.
    found : sequence of Discovery
        By an audit.

    Examples
    --------
    >>> from dask_gradcode.rounds import Discovery
    >>> merged([Change(4, 1, "lost", 0.0)], [Discovery(3, 1, "expelled")])
    [Change(round=3, worker=1, what='expelled', cost=0.0, blocks=(), rounds=())]
    """
    later = [
        Change(one.round, one.role, one.what, one.seconds, one.blocks, one.rounds) for one in found
    ]
    told = sorted([*later, *seen], key=lambda change: change.round)
    since: dict[int | None, int] = {}
    for one in told:
        if one.what == "expelled":
            since.setdefault(one.worker, one.round)
    return [
        one
        for one in told
        if one.what not in ("lost", "restored") or one.round <= since.get(one.worker, one.round)
    ]


def _began_without_some(first: RoundRecord) -> bool:
    return bool(first.lost or first.unplaced or first.placed or first.restored)
