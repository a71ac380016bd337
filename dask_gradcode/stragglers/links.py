"""Links that lose what is sent over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gradcode.stragglers.checks import check_number, check_whole
from dask_gradcode.typing import Mask

__all__ = ["LossyLinks"]


@dataclass(frozen=True)
class LossyLinks:
    """Loses what workers send each other, and what they send the client, each with a probability.

    For codes whose workers exchange what they compute. All links are independent, and so are
    rounds and transmissions. It is pure: the same links lose the same, on the client and on every
    worker, whatever was asked before.

    Parameters
    ----------
    probability : float
        With which a link between two workers loses what is sent in a transmission.
    uploads : float, optional
        The same for a worker's link to the client. None: as between workers.
    seed : int, default=0
        Seed of all that is drawn.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> links = LossyLinks(0.4, seed=1)
    >>> links.received(round=0, transmission=0, n_workers=3)
    array([[ True,  True, False],
           [ True,  True,  True],
           [ True,  True,  True]])
    >>> links.uploaded(round=0, transmission=0, n_workers=3)
    array([False, False,  True])
    """

    probability: float
    uploads: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_number(self, "probability", high=1.0)
        if self.uploads is not None:
            check_number(self, "uploads", high=1.0)
        check_whole(self, "seed")

    def received(self, round: int, transmission: int, n_workers: int) -> Mask:
        """Return which workers receive from which.

        Parameters
        ----------
        round, transmission : int
            Numbers from 0.
        n_workers : int
            Number of workers of the code.

        Returns
        -------
        ndarray of bool, shape (n_workers, n_workers)
            A row for each receiver; everybody has its own.
        """
        rng = np.random.default_rng((self.seed, round, transmission, 0))
        received: Mask = rng.random((n_workers, n_workers)) >= self.probability
        np.fill_diagonal(received, True)
        return received

    def uploaded(self, round: int, transmission: int, n_workers: int) -> Mask:
        """Return which workers' sums reach the client, of shape (n_workers,)."""
        rng = np.random.default_rng((self.seed, round, transmission, 1))
        lost = self.probability if self.uploads is None else self.uploads
        uploaded: Mask = rng.random(n_workers) >= lost
        return uploaded
