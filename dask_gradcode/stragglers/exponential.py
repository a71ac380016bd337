"""Exponential delays, plain and shifted."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from dask_gradcode.stragglers.checks import check_number
from dask_gradcode.stragglers.drawn import RandomDelay
from dask_gradcode.typing import Vector

__all__ = ["ExponentialDelay", "ShiftedExponentialDelay"]


@dataclass(frozen=True)
class ExponentialDelay(RandomDelay):
    """Delays with density ``exp(-t / scale) / scale``.

    Parameters
    ----------
    scale : float
        Mean delay in seconds.
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
    >>> ExponentialDelay(0.5, seed=3).delays(0, 2).round(3)
    array([0.055, 0.195])
    """

    scale: float

    def __post_init__(self) -> None:
        check_number(self, "scale")
        super().__post_init__()

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return rng.exponential(self.scale, n_workers)


@dataclass(frozen=True)
class ShiftedExponentialDelay(RandomDelay):
    """Delays of at least ``shift`` seconds, exponential beyond: the usual model of coded computing.

    Parameters
    ----------
    shift : float
        Smallest delay in seconds.
    scale : float
        Mean in seconds of what comes on top.
    workers : iterable of int, optional
        Which workers are delayed, in every round. None: all.
    n_random : int, optional
        How many random workers are delayed, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is delayed in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of all that is drawn.

    References
    ----------
    .. [1] Lee, Lam, Pedarsani, Papailiopoulos and Ramchandran, "Speeding Up Distributed Machine
       Learning Using Codes", IEEE Transactions on Information Theory 64, 2018.

    Examples
    --------
    >>> ShiftedExponentialDelay(1.0, 0.5, seed=3).delays(0, 2).round(3)
    array([1.055, 1.195])
    """

    shift: float
    scale: float

    def __post_init__(self) -> None:
        check_number(self, "shift")
        check_number(self, "scale")
        super().__post_init__()

    def draw(self, rng: Generator, n_workers: int) -> Vector:
        return self.shift + rng.exponential(self.scale, n_workers)
