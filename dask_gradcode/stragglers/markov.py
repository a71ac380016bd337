"""Slowness in bursts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gradcode.stragglers.base import StragglerModel
from dask_gradcode.stragglers.checks import check_number, check_whole
from dask_gradcode.typing import Mask, Vector

__all__ = ["MarkovSlowdown"]


@dataclass(frozen=True)
class MarkovSlowdown(StragglerModel):
    """Each worker is slow in bursts, independently of the others: a Markov chain with two states.

    The defaults are what the authors of DSAG measured on AWS: a worker is in a burst 3.7% of the
    time, for 35 seconds on average, and then computes 10.3% slower. Their chain moves every 10
    seconds; ``rounds_per_step`` says how many rounds that is.

    Parameters
    ----------
    factor : float, default=1.103
        How many times as long as usual a worker computes in a burst, at least 1.
    p_begin : float, default=0.011
        Probability that a worker's burst begins at a step.
    p_end : float, default=0.286
        Probability that it ends at a step.
    rounds_per_step : int, default=1
        Rounds between two steps.
    seed : int, default=0
        Seed of all that is drawn.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    .. [1] Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed
       Synchronous-Asynchronous Iterative Method for Straggler-Resilient Learning", IEEE
       Transactions on Communications, 2023. The numbers are from their code,
       github.com/severinson/CodedComputing.jl.

    Examples
    --------
    >>> bursts = MarkovSlowdown(8.0, p_begin=0.1, p_end=0.4, seed=1)
    >>> [float(bursts.slowdowns(number, 3)[0]) for number in range(8)]
    [1.0, 1.0, 1.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    """

    factor: float = 1.103
    p_begin: float = 0.011
    p_end: float = 0.286
    rounds_per_step: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_number(self, "factor", low=1.0)
        check_number(self, "p_begin", high=1.0, above=True)
        check_number(self, "p_end", high=1.0, above=True)
        check_whole(self, "rounds_per_step", low=1)
        check_whole(self, "seed")

    def slowdowns(self, round: int, n_workers: int) -> Vector:
        return np.where(self._in_burst(round // self.rounds_per_step, n_workers), self.factor, 1.0)

    def _in_burst(self, step: int, n_workers: int) -> Mask:
        """Return which workers are in a burst after a step, without playing all steps before it.

        With ``u`` uniform, a worker is in a burst after a step if ``u < p_begin`` where it was in
        none, and if ``u < 1 - p_end`` where it was in one. Below both, and above both, ``u`` alone
        decides; so it is enough to look back to the last step where it did. In between the state
        stays, or changes if ``p_begin`` is the larger one.
        """
        low, high = sorted((self.p_begin, 1.0 - self.p_end))
        changes = self.p_begin > 1.0 - self.p_end
        burst, odd = np.zeros(n_workers, dtype=bool), np.zeros(n_workers, dtype=bool)
        open_ = np.ones(n_workers, dtype=bool)
        for earlier in range(step, -1, -1):
            u = np.random.default_rng((self.seed, earlier)).random(n_workers)
            if earlier == 0:  # the chain begins in its long run
                low = high = self.p_begin / (self.p_begin + self.p_end)
            decided = open_ & ((u < low) | (u >= high))
            burst[decided] = (u < low)[decided] ^ odd[decided]
            open_ &= ~decided
            if not open_.any():
                break
            odd ^= open_ & changes
        return burst
