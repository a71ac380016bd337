"""What each worker computed in a round: how fast it was, and what moved from one to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.rounds.plans.blocks import Blocks
from dask_gradcode.typing import Vector

__all__ = ["Move", "computed", "moves", "speeds"]


@dataclass(frozen=True)
class Move:
    """Blocks of a worker's share that another one computed in its place.

    Parameters
    ----------
    round : int
        In which round.
    owner : int
        The worker that computes them while no worker is late.
    worker : int
        The worker whose answer the sum was decoded from.
    blocks : tuple of int
        Which, ascending.

    Examples
    --------
    Worker 1 of four is much slower than the others, which hold its blocks, too:

    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> from dask_gradcode.rounds import Hedging
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import Slowdown
    >>> slow, code = Slowdown(20.0, workers=[1]), DeclusteredRepetition(4, 1, n_leaves=4)
    >>> for move in simulate(code, slow, plan=Hedging(), n_rounds=1).moves:
    ...     print(move)
    Move(round=0, owner=1, worker=0, blocks=(6,))
    Move(round=0, owner=1, worker=2, blocks=(4, 7))
    Move(round=0, owner=1, worker=3, blocks=(5,))
    """

    round: int
    owner: int
    worker: int
    blocks: tuple[int, ...]


def moves(code: GradientCode, records: Iterable[RoundRecord]) -> list[Move]:
    """Return what moved in some rounds, in their order.

    Parameters
    ----------
    code : GradientCode
        The code. Where workers compute all that they can send nothing moves: replicas have no
        owner.
    records : iterable of RoundRecord
        The rounds.

    Returns
    -------
    list of Move
        By round, owner and worker.

    Examples
    --------
    >>> from dask_gradcode.codes import DeclusteredRepetition
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import Slowdown
    >>> code = DeclusteredRepetition(3, 1, n_leaves=2)
    >>> history = simulate(code, Slowdown(9.0, workers=[0]), n_rounds=3)
    >>> moves(code, history.records[2:])
    [Move(round=2, owner=0, worker=1, blocks=(0,)), Move(round=2, owner=0, worker=2, blocks=(1,))]
    """
    if not code.divides:
        return []
    owner = Blocks(code).owners()
    found = []
    for record in records:
        pairs: dict[tuple[int, int], list[int]] = {}
        for role, message, _, used in record.answers:
            for block in code.messages[message].blocks if used else ():
                if owner[block] != role:
                    pairs.setdefault((owner[block], role), []).append(block)
        found += [
            Move(record.round, *pair, tuple(sorted(blocks)))
            for pair, blocks in sorted(pairs.items())
        ]
    return found


def speeds(code: GradientCode, record: RoundRecord) -> Vector:
    """Return how fast workers were in a round.

    Parameters
    ----------
    code : GradientCode
        The code.
    record : RoundRecord
        The round.

    Returns
    -------
    ndarray of shape (n_workers,)
        Blocks a second: of what a worker had sent by the seconds since the start of the round, at
        the answer after which that was most. So it does not count that a worker that was done
        helped others later. NaN if it sent nothing.
    """
    n_blocks, fastest = [0] * code.n_workers, np.full(code.n_workers, np.nan)
    for role, message, seconds, _ in record.answers:  # in the order of arrival
        n_blocks[role] += len(code.messages[message].blocks)
        rate = n_blocks[role] / seconds if seconds > 0.0 else np.inf
        fastest[role] = np.fmax(fastest[role], rate)
    return fastest


def computed(code: GradientCode, records: Iterable[RoundRecord]) -> float:
    """Return how much work the answers of some rounds were, by that of uncoded rounds."""
    numbers = [
        sum(len(code.messages[answer.message].blocks) for answer in record.answers)
        for record in records
    ]
    return sum(numbers) / (len(numbers) * code.n_blocks)
