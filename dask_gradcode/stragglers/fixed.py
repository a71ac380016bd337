"""The same delay in every round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from dask_gradcode.stragglers.checks import check_number
from dask_gradcode.stragglers.drawn import RandomDelay
from dask_gradcode.typing import Vector

__all__ = ["FixedDelay"]


@dataclass(frozen=True)
class FixedDelay(RandomDelay):
    """Some workers begin every round ``seconds`` late: the paper's artificial delay.

    Parameters
    ----------
    seconds : float
        The delay.
    workers : iterable of int, optional
        Which workers are delayed, in every round. None: all.
    n_random : int, optional
        How many random workers are delayed, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is delayed in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of that choice.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 6.

    Examples
    --------
    >>> FixedDelay(2.0, workers=[1]).delays(0, 3)
    array([0., 2., 0.])
    >>> FixedDelay(2.0, n_random=2).delays(0, 5).sum()
    np.float64(4.0)
    """

    seconds: float

    def __post_init__(self) -> None:
        check_number(self, "seconds")
        super().__post_init__()

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return np.full(n_workers, self.seconds)
