"""What every straggler model is: the delays of all workers in a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dask_gradcode.typing import Vector

__all__ = ["RandomDelay", "StragglerModel", "check_seconds"]


class StragglerModel(ABC):
    """How long each worker does nothing before it begins to compute in a round.

    A model is pure: the same round has the same delays whatever was asked before, on the client and
    on every worker.

    Examples
    --------
    A worker that becomes slower from round to round:

    >>> class Tiring(StragglerModel):
    ...     def delays(self, round, n_workers):
    ...         return np.where(np.arange(n_workers) == 0, 0.1 * round, 0.0)
    >>> Tiring().delays(3, n_workers=2).round(3)
    array([0.3, 0. ])
    """

    @abstractmethod
    def delays(self, round: int, n_workers: int) -> Vector:
        """Return the delays of a round.

        Parameters
        ----------
        round : int
            The round's number, from 0.
        n_workers : int
            Number of workers of the code.

        Returns
        -------
        ndarray of shape (n_workers,)
            Seconds, new; ``inf`` for a worker that never answers.

        Raises
        ------
        ValueError
            If the model names a worker that there is not.
        """


@dataclass(frozen=True, kw_only=True)
class RandomDelay(StragglerModel):
    """Delays that are drawn anew for each round, for all workers, chosen ones or random ones.

    A subclass says in ``draw`` what is drawn.

    Parameters
    ----------
    workers : iterable of int, optional
        Which workers are delayed, in every round. None: all.
    n_random : int, optional
        How many random workers are delayed, chosen anew in each round; instead of ``workers``.
    seed : int, default=0
        Seed of all that is drawn.

    Raises
    ------
    ValueError
        If a parameter is out of range, or ``workers`` and ``n_random`` are both given.

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

    workers: Iterable[int] | None = None
    n_random: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.workers is not None:
            if self.n_random is not None:
                raise ValueError(
                    f"{type(self).__name__} needs either workers or n_random, got "
                    f"workers={self.workers!r} and n_random={self.n_random!r}."
                )
            chosen = tuple(self._whole("workers", worker, 0) for worker in self.workers)
            object.__setattr__(self, "workers", chosen)
        if self.n_random is not None:
            object.__setattr__(self, "n_random", self._whole("n_random", self.n_random, 0))
        object.__setattr__(self, "seed", self._whole("seed", self.seed, 0))

    @abstractmethod
    def draw(self, rng: Generator, n_workers: int) -> Vector:
        """Return one delay for each worker, of shape (n_workers,), in seconds."""

    def delays(self, round: int, n_workers: int) -> Vector:
        rng = np.random.default_rng((self.seed, round))
        drawn = self.draw(rng, n_workers)
        if self.workers is None and self.n_random is None:
            return drawn
        delays, chosen = np.zeros(n_workers), self._chosen(rng, n_workers)
        delays[chosen] = drawn[chosen]
        return delays

    def _chosen(self, rng: Generator, n_workers: int) -> NDArray[np.intp]:
        if self.n_random is not None:
            if self.n_random > n_workers:
                raise ValueError(f"{self!r} cannot choose among only {n_workers} workers.")
            return rng.permutation(n_workers)[: self.n_random]
        chosen = np.array(self.workers, dtype=np.intp)
        if (chosen >= n_workers).any():
            raise ValueError(f"{self!r} delays a worker that is none of 0 to {n_workers - 1}.")
        return chosen

    def _whole(self, name: str, value: object, low: int) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            raise ValueError(
                f"The '{name}' of {type(self).__name__} must be in the range [{low}, inf), as int. "
                f"Got {value!r} instead."
            )
        return int(value)


def check_seconds(model: StragglerModel, name: str, *, positive: bool = False) -> None:
    """Check that a field of a model under construction is a finite number.

    Parameters
    ----------
    model : StragglerModel
        A frozen dataclass.
    name : str
        The field.
    positive : bool, default=False
        Whether 0 is refused too.

    Raises
    ------
    ValueError
        If it is none, or negative.
    """
    value = getattr(model, name)
    number = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(float(value))
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(
            f"The '{name}' of {type(model).__name__} must be a float in the range "
            f"{'(' if positive else '['}0, inf). Got {value!r} instead."
        )
    object.__setattr__(model, name, float(value))
