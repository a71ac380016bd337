"""What every straggler model is: pauses and slowness of all workers in a round."""

from __future__ import annotations

import numpy as np

from dask_gradcode.typing import Vector

__all__ = ["StragglerModel"]


class StragglerModel:
    """How late and how slow each worker is in a round; by this base class none is either.

    In a round a worker first does nothing for its *delay*, and then its *slowdown* says how many
    times slower it computes. A model gives one of them, or both. It is pure: a round always
    has the same ones, whatever was asked before, on the client and on every worker.

    Examples
    --------
    A worker that becomes slower from round to round:

    >>> class Tiring(StragglerModel):
    ...     def slowdowns(self, round, n_workers):
    ...         return np.where(np.arange(n_workers) == 0, 1.0 + 0.1 * round, 1.0)
    >>> Tiring().slowdowns(3, n_workers=2), Tiring().delays(3, n_workers=2)
    (array([1.3, 1. ]), array([0., 0.]))
    """

    def delays(self, round: int, n_workers: int) -> Vector:
        """Return for how long workers do nothing before they begin to compute in a round.

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
        return np.zeros(n_workers)

    def slowdowns(self, round: int, n_workers: int) -> Vector:
        """Return how many times as long as usual workers compute in a round.

        Parameters
        ----------
        round : int
            The round's number, from 0.
        n_workers : int
            Number of workers of the code.

        Returns
        -------
        ndarray of shape (n_workers,)
            Factors of at least 1, new.

        Raises
        ------
        ValueError
            If the model names a worker that there is not.
        """
        return np.ones(n_workers)
