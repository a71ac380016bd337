"""Workers that never answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from dask_gradcode.stragglers.drawn import RandomDelay
from dask_gradcode.typing import Vector

__all__ = ["NeverAnswers"]


@dataclass(frozen=True)
class NeverAnswers(RandomDelay):
    """Some workers never answer again once they are chosen, although they live.

    Parameters
    ----------
    workers : iterable of int, optional
        Which workers never answer. None: all.
    n_random : int, optional
        How many random workers fall silent in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker falls silent in a round, drawn anew for each worker and
        round; instead of ``workers``.
    seed : int, default=0
        Seed of that choice.

    Examples
    --------
    >>> NeverAnswers(workers=[0, 2]).delays(0, 3)
    array([inf,  0., inf])
    """

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return np.full(n_workers, np.inf)
