"""Weighted sums of slices, and how the slices are had from enough of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.typing import Matrix

__all__ = ["MixedGroups", "mixing_weights", "worst_condition"]


def mixing_weights(n_sums: int, n_slices: int) -> Matrix:
    """Return weights of which any ``n_slices`` rows are independent.

    Parameters
    ----------
    n_sums, n_slices : int
        How many sums there are, of how many slices.

    Returns
    -------
    ndarray of shape (n_sums, n_slices)
        Row ``j`` has the Chebyshev polynomials, in order, at the ``j``-th of their nodes: as any
        polynomial of lower degree has fewer zeros than ``n_slices``, it is known from as many
        values.

    Examples
    --------
    >>> mixing_weights(3, 2).round(3) + 0.0
    array([[ 1.   ,  0.866],
           [ 1.   ,  0.   ],
           [ 1.   , -0.866]])
    """
    angles = np.pi * (np.arange(n_sums) + 0.5) / n_sums
    weights: Matrix = np.cos(np.outer(angles, np.arange(n_slices)))
    return weights


@lru_cache
def worst_condition(n_sums: int, n_slices: int) -> float:
    """Return how much rounding errors may grow where slices are had from as few sums as can be.

    Parameters
    ----------
    n_sums, n_slices : int
        How many sums there are, of how many slices.

    Returns
    -------
    float
        The largest condition number of ``n_slices`` rows of ``mixing_weights``: of neighbours, as
        the nodes of others are further apart.

    Examples
    --------
    >>> round(worst_condition(4, 2), 1), round(worst_condition(6, 2), 1)
    (5.4, 13.2)
    """
    weights = mixing_weights(n_sums, n_slices)
    runs = (weights[i : i + n_slices] for i in range(n_sums - n_slices + 1))
    return max(float(np.linalg.cond(run)) for run in runs)


class MixedGroups(Decoder):
    """Waits for as many messages of each group as there are slices, and solves for these.

    Parameters
    ----------
    code : GradientCode
        Worker ``j`` of each group sends row ``j`` of ``mixing_weights(group_size, n_slices)``.
    n_slices, group_size : int
        How many slices there are, and workers in a group.
    """

    def __init__(self, code: GradientCode, n_slices: int, group_size: int) -> None:
        self._code, self._n_slices = code, n_slices
        self._weights = mixing_weights(group_size, n_slices)
        self._arrived = np.zeros((code.n_workers // group_size, group_size), dtype=bool)
        self._n_missing = len(self._arrived)

    def add(self, message: int) -> bool:
        group, place = divmod(message, self._arrived.shape[1])
        if not self._arrived[group, place]:
            self._arrived[group, place] = True
            self._n_missing -= int(self._arrived[group].sum()) == self._n_slices
        return self._n_missing == 0

    def decode(self) -> Decoding:
        weights = np.zeros((*self._arrived.shape, self._n_slices))
        for solved, arrived in zip(weights, self._arrived, strict=True):
            # of fewer than the slices, what comes nearest; of more, the shortest solution
            solved[arrived] = np.linalg.pinv(self._weights[arrived].T)
        return self._code.judge(weights.reshape(-1, self._n_slices))
