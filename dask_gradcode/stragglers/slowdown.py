"""The same slowdown in every round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from dask_gradcode.stragglers.checks import check_number
from dask_gradcode.stragglers.drawn import RandomSlowdown
from dask_gradcode.typing import Vector

__all__ = ["Slowdown"]


@dataclass(frozen=True)
class Slowdown(RandomSlowdown):
    """Some workers compute ``factor`` times slower, from a round's beginning to its end.

    Parameters
    ----------
    factor : float
        How many times as long as usual they compute, at least 1.
    workers : iterable of int, optional
        Which workers are slow, in every round. None: all.
    n_random : int, optional
        How many random workers are slow, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is slow in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of that choice.

    Examples
    --------
    >>> Slowdown(8.0, workers=[1]).slowdowns(0, 3)
    array([1., 8., 1.])
    >>> Slowdown(8.0, probability=0.1, seed=2).slowdowns(0, 6)
    array([1., 1., 1., 8., 1., 1.])
    """

    factor: float

    def __post_init__(self) -> None:
        check_number(self, "factor", low=1.0)
        super().__post_init__()

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return np.full(n_workers, self.factor)
