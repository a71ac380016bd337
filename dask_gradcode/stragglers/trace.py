"""Delays that were recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.stragglers.base import StragglerModel
from dask_gradcode.typing import Matrix, Vector

__all__ = ["TraceDelay"]


@dataclass(frozen=True, eq=False, repr=False)
class TraceDelay(StragglerModel):
    """Replays recorded delays; after the last round of the record it begins anew.

    Parameters
    ----------
    seconds : array-like of shape (n_rounds, n_workers)
        The delay of each worker in each round; ``inf`` where it never answered. For a code with
        fewer workers the first ones are taken.

    Raises
    ------
    ValueError
        If it is no such table, or some delay is negative or NaN.

    Examples
    --------
    >>> trace = TraceDelay([[0.0, 1.0], [2.0, 0.0]])
    >>> trace
    TraceDelay(2 rounds x 2 workers)
    >>> trace.delays(3, 2)
    array([2., 0.])
    """

    seconds: ArrayLike

    def __post_init__(self) -> None:
        table: Matrix = np.array(self.seconds, dtype=float)  # a copy, which is then sealed
        if table.ndim != 2 or not table.size:
            raise ValueError(
                "The 'seconds' of TraceDelay must have shape (n_rounds, n_workers), with at least "
                f"one round and one worker. Got shape {table.shape} instead."
            )
        if not (table >= 0).all():
            raise ValueError(
                "The 'seconds' of TraceDelay must be in the range [0, inf]. Got "
                f"{table[~(table >= 0)][0]} in round {np.argwhere(~(table >= 0))[0][0]} instead."
            )
        table.setflags(write=False)
        object.__setattr__(self, "seconds", table)

    def __repr__(self) -> str:
        n_rounds, n_workers = np.shape(self.seconds)
        return f"TraceDelay({n_rounds} rounds x {n_workers} workers)"

    def delays(self, round: int, n_workers: int) -> Vector:
        table: Matrix = np.asarray(self.seconds)
        if n_workers > table.shape[1]:
            raise ValueError(f"{self!r} has no delays for {n_workers} workers.")
        delays: Vector = table[round % len(table), :n_workers].copy()
        return delays
