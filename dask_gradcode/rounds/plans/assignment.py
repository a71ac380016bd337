"""Which worker computes which block, so that all is done as soon as possible."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from math import inf

__all__ = ["shortest"]

_ROUNDING = 1e-9  # of a time, by which one more block fits into it


def shortest(
    holders: Sequence[Sequence[int]], owners: Sequence[int], paces: Sequence[float]
) -> tuple[float, list[int]]:
    """Divide blocks among their holders, so that the last one is done as soon as possible.

    Parameters
    ----------
    holders : sequence of sequence of int
        By block, the workers that hold it.
    owners : sequence of int
        By block, one of them, which keeps it unless another one must have it.
    paces : sequence of float
        By worker, seconds for a block; inf if it computes none.

    Returns
    -------
    seconds : float
        When the last block is done.
    workers : list of int
        By block, the worker that computes it.

    Notes
    -----
    The time is found by bisection over all times at which any worker is done with a block; whether
    a time is enough, by moving blocks along augmenting paths from workers that have too many.

    Examples
    --------
    Three workers in a ring, of which the first takes three times as long:

    >>> shortest([(0, 1), (0, 1), (1, 2), (1, 2), (2, 0), (2, 0)], [0, 0, 1, 1, 2, 2], [3, 1, 1])
    (3.0, [0, 1, 1, 1, 2, 2])
    """
    held = Counter(worker for who in holders for worker in who)
    times = sorted({k * paces[worker] for worker, n in held.items() for k in range(1, n + 1)})
    times = [seconds for seconds in times if seconds < inf]
    low, high = 0, len(times) - 1
    found: list[int] | None = None
    while low <= high:
        middle = (low + high) // 2
        fit = _within(times[middle], holders, owners, paces)
        if fit is None:
            low = middle + 1
        else:
            found, high = fit, middle - 1
    if found is None:
        return inf, list(owners)
    return float(times[low]), found


def _within(
    seconds: float,
    holders: Sequence[Sequence[int]],
    owners: Sequence[int],
    paces: Sequence[float],
) -> list[int] | None:
    """Return the worker of each block in some time, None if that is not enough."""
    room = [int(seconds / pace * (1 + _ROUNDING)) if pace < inf else 0 for pace in paces]
    workers, has = list(owners), [set[int]() for _ in paces]
    for block, worker in enumerate(owners):
        has[worker].add(block)
    for worker, blocks in enumerate(has):
        while len(blocks) > room[worker]:
            path = _path(worker, holders, has, room)
            if path is None:
                return None
            for block, taker in path:
                has[workers[block]].discard(block)
                has[taker].add(block)
                workers[block] = taker
    return workers


def _path(
    start: int, holders: Sequence[Sequence[int]], has: Sequence[set[int]], room: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Return which blocks to move where, so that one worker has one less and none too many."""
    came: dict[int, tuple[int, int]] = {start: (-1, -1)}  # by worker: from where, which block
    queue = deque([start])
    while queue:
        worker = queue.popleft()
        if worker != start and len(has[worker]) < room[worker]:
            path = []
            while worker != start:
                giver, block = came[worker]
                path.append((block, worker))
                worker = giver
            return path
        for block in sorted(has[worker], reverse=True):
            for other in holders[block]:
                if other not in came and room[other]:
                    came[other] = worker, block
                    queue.append(other)
    return None
