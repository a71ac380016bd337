"""Delays and slowdowns that are drawn anew for each round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dask_gradcode.stragglers.base import StragglerModel
from dask_gradcode.stragglers.checks import check_number, check_whole, whole
from dask_gradcode.typing import Vector

__all__ = ["RandomDelay", "RandomSlowdown"]


@dataclass(frozen=True, kw_only=True)
class _Drawn(ABC):
    """Which workers a model concerns in a round, and what it draws for them.

    With one seed any two models concern the same workers, unless their ``draw`` takes a different
    number of random numbers.
    """

    workers: Iterable[int] | None = None
    n_random: int | None = None
    probability: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        ways = ("workers", "n_random", "probability")
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) > 1:
            values = " and ".join(f"{way}={getattr(self, way)!r}" for way in given)
            raise ValueError(
                f"{type(self).__name__} needs at most one of workers, n_random and probability, "
                f"got {values}."
            )
        if self.workers is not None:
            chosen = tuple(whole(self, "workers", worker) for worker in self.workers)
            object.__setattr__(self, "workers", chosen)
        if self.n_random is not None:
            check_whole(self, "n_random")
        if self.probability is not None:
            check_number(self, "probability", high=1.0)
        check_whole(self, "seed")

    @abstractmethod
    def draw(self, rng: Generator, n_workers: int) -> Vector:
        """Return what is drawn for each worker, of shape (n_workers,)."""

    def _drawn(self, round: int, n_workers: int, usual: float) -> Vector:
        """Return what is drawn, and what is usual for the workers that it does not concern."""
        rng = np.random.default_rng((self.seed, round))
        drawn = self.draw(rng, n_workers)
        if self.workers is None and self.n_random is None and self.probability is None:
            return drawn
        values, chosen = np.full(n_workers, usual), self._chosen(rng, n_workers)
        values[chosen] = drawn[chosen]
        return values

    def _chosen(self, rng: Generator, n_workers: int) -> NDArray[np.intp]:
        if self.probability is not None:
            return np.flatnonzero(rng.random(n_workers) < self.probability)
        if self.n_random is not None:
            if self.n_random > n_workers:
                raise ValueError(f"{self!r} cannot choose among only {n_workers} workers.")
            return rng.permutation(n_workers)[: self.n_random]
        chosen = np.array(self.workers, dtype=np.intp)
        if (chosen >= n_workers).any():
            raise ValueError(f"{self!r} names a worker that is none of 0 to {n_workers - 1}.")
        return chosen


@dataclass(frozen=True, kw_only=True)
class RandomDelay(_Drawn, StragglerModel):
    """Delays that are drawn anew for each round, for all workers, chosen ones or random ones.

    A subclass says in ``draw`` what is drawn, in seconds.

    Parameters
    ----------
    workers : iterable of int, optional
        Which workers are delayed, in every round. None: all.
    n_random : int, optional
        How many random workers are delayed, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is delayed in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of all that is drawn.

    Raises
    ------
    ValueError
        If a parameter is out of range, or more than one says which workers are delayed.

    Examples
    --------
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Uniform(RandomDelay):
    ...     longest: float
    ...
    ...     def draw(self, rng, n_workers):
    ...         return rng.uniform(0.0, self.longest, n_workers)
    >>> (Uniform(longest=2.0, n_random=1).delays(0, n_workers=4) > 0).sum()
    np.int64(1)
    """

    def delays(self, round: int, n_workers: int) -> Vector:
        return self._drawn(round, n_workers, 0.0)


@dataclass(frozen=True, kw_only=True)
class RandomSlowdown(_Drawn, StragglerModel):
    """Slowdowns that are drawn anew for each round, for all workers, chosen ones or random ones.

    A subclass says in ``draw`` what is drawn: factors of at least 1.

    Parameters
    ----------
    workers : iterable of int, optional
        Which workers are slow, in every round. None: all.
    n_random : int, optional
        How many random workers are slow, chosen anew in each round; instead of ``workers``.
    probability : float, optional
        With which probability a worker is slow in a round, drawn anew for each worker and round;
        instead of ``workers``.
    seed : int, default=0
        Seed of all that is drawn.

    Raises
    ------
    ValueError
        If a parameter is out of range, or more than one says which workers are slow.

    Examples
    --------
    Slowness with a heavy tail:

    >>> class Pareto(RandomSlowdown):
    ...     def draw(self, rng, n_workers):
    ...         return 1.0 + rng.pareto(2.0, n_workers)
    >>> Pareto(seed=3).slowdowns(0, n_workers=3).round(2)
    array([1.06, 1.22, 2.01])
    """

    def slowdowns(self, round: int, n_workers: int) -> Vector:
        return self._drawn(round, n_workers, 1.0)
