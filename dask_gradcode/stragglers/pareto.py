"""Pareto delays: a heavy tail."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from dask_gradcode.stragglers.checks import check_number
from dask_gradcode.stragglers.drawn import RandomDelay
from dask_gradcode.typing import Vector

__all__ = ["ParetoDelay"]


@dataclass(frozen=True)
class ParetoDelay(RandomDelay):
    """Delays of at least ``scale`` seconds, longer than ``t`` with probability (scale / t)^shape.

    Parameters
    ----------
    shape : float
        The smaller, the heavier the tail; up to 2 the variance is infinite, up to 1 the mean.
    scale : float
        Smallest delay in seconds.
    workers : iterable of int, optional
        Which workers are delayed, in every round. None: all.
    n_random : int, optional
        How many random workers are delayed, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is delayed in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of all that is drawn.

    Examples
    --------
    >>> ParetoDelay(1.5, 0.1, seed=3).delays(0, 2).round(3)
    array([0.108, 0.13 ])
    """

    shape: float
    scale: float

    def __post_init__(self) -> None:
        check_number(self, "shape", above=True)
        check_number(self, "scale")
        super().__post_init__()

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return self.scale * (1.0 + rng.pareto(self.shape, n_workers))
