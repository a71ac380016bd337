"""The coefficients of cyclic repetition: draw several, keep the best conditioned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import ceil, comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dask_gradcode.codes.decoding import Judge
from dask_gradcode.codes.erasures import Erasures
from dask_gradcode.codes.fractional import divisible_counts
from dask_gradcode.codes.message import Message
from dask_gradcode.typing import Matrix

__all__ = ["CyclicDesign", "best_design"]

_MAX_AMPLIFICATION = 1e6  # UntilExact's default: ten digits of sixteen are left
_MAX_RESIDUAL = 1e-6  # more, and B has lost its rank to rounding
_MAX_EXHAUSTIVE = 500  # up to here every set of stragglers is tried
_N_RANDOM = 200  # beyond: all runs of neighbours, mostly the worst, and so many random sets
_CHUNK = 2**21  # numbers in one temporary array


@dataclass(frozen=True)
class CyclicDesign:
    """One draw of the coefficients, and what decodes it.

    Parameters
    ----------
    held : ndarray of int, shape (n_workers, n_stragglers + 1)
        The blocks of each worker: ``i, i + 1, ..., i + s`` modulo ``n``.
    coefficients : ndarray of shape (n_workers, n_stragglers + 1)
        Their coefficients, in that order.
    erasures : Erasures
        The weights for every set of stragglers.
    amplification : float
        The worst one over the sets of stragglers that were tried.
    """

    held: NDArray[np.intp]
    coefficients: Matrix
    erasures: Erasures
    amplification: float

    @property
    def messages(self) -> tuple[Message, ...]:
        """The sum of each worker."""
        ascending = self.held.argsort(axis=1)
        blocks = np.take_along_axis(self.held, ascending, axis=1).tolist()
        values = np.take_along_axis(self.coefficients, ascending, axis=1).tolist()
        rows = zip(blocks, values, strict=True)
        return tuple(Message(tuple(row), tuple(value)) for row, value in rows)


@lru_cache(maxsize=8)
def best_design(n_workers: int, n_stragglers: int, seed: int) -> CyclicDesign:
    """Draw designs and return the one whose worst amplification is lowest.

    Parameters
    ----------
    n_workers, n_stragglers : int
        ``n`` and ``s``.
    seed : int
        Decides all draws.

    Returns
    -------
    CyclicDesign
        The same object for the same arguments, as long as it is among the last eight.

    Raises
    ------
    ValueError
        If even the best one amplifies rounding errors too much.
    """
    n, s = n_workers, n_stragglers
    rng = np.random.default_rng(seed)
    lost = _sets_of_stragglers(n, s, rng)
    best, lowest = None, np.inf
    for _ in range(_n_draws(n, s)):
        try:
            design = _draw(n, s, lost, rng)
        except (np.linalg.LinAlgError, RuntimeError):  # singular: NumPy's and SuperLU's words
            continue
        lowest = min(lowest, design.amplification)
        if best is None or design.amplification < best.amplification:
            best = design
    if best is None or best.amplification > _MAX_AMPLIFICATION:
        raise ValueError(
            f"CyclicRepetition must not amplify rounding errors more than {_MAX_AMPLIFICATION:.0e} "
            f"times, got {lowest:.0e} times with n_workers={n}, n_stragglers={s} and seed={seed}.\n"
            "Use fewer stragglers, another seed, or FractionalRepetition, "
            f"which takes {divisible_counts(n, s)} workers."
        )
    return best


def _n_draws(n: int, s: int) -> int:
    # Below a second of work: a draw and its trials cost some n^2 + n s^3.
    return int(np.clip(5e7 / (n * n + n * s**3), 1, 64))


def _sets_of_stragglers(n: int, s: int, rng: np.random.Generator) -> NDArray[np.intp]:
    if comb(n, s) <= _MAX_EXHAUSTIVE:
        return np.array(list(combinations(range(n), s)), dtype=np.intp)
    neighbours = (np.arange(n)[:, None] + np.arange(s)) % n
    anybody = rng.random((_N_RANDOM, n)).argsort(axis=1)[:, :s]
    return np.concatenate([neighbours, anybody])


def _draw(n: int, s: int, lost: NDArray[np.intp], rng: np.random.Generator) -> CyclicDesign:
    H = rng.standard_normal((s, n))
    H[:, -1] = -H[:, :-1].sum(axis=1)  # H @ 1 = 0, so 1 lies in the row space of B
    held = (np.arange(n)[:, None] + np.arange(s + 1)) % n
    coefficients = np.ones((n, s + 1))
    for rows in np.array_split(np.arange(n), ceil(n * s * s / _CHUNK) or 1):
        first, rest = H.T[held[rows, 0]], H.T[held[rows, 1:]].swapaxes(1, 2)
        coefficients[rows, 1:] = np.linalg.solve(rest, -first[..., None])[..., 0]
    starts = np.arange(0, held.size + 1, s + 1)
    encoding = csr_array((coefficients.ravel(), held.ravel(), starts), shape=(n, n))
    erasures = Erasures.factorize(encoding, np.linalg.qr(H.T)[0])
    return CyclicDesign(held, coefficients, erasures, _worst(encoding, erasures, lost))


def _worst(encoding: csr_array, erasures: Erasures, lost: NDArray[np.intp]) -> float:
    judge = Judge(encoding)
    n_sets, s = lost.shape
    worst = 1.0
    for sets in np.array_split(lost, ceil(n_sets * max(encoding.shape[0], s * s) / _CHUNK)):
        weights = erasures.weights_of_many(sets)
        if not judge.residual(weights).max() <= _MAX_RESIDUAL:  # also where it is NaN
            return np.inf
        worst = max(worst, float(judge.amplification(weights).max()))
    return worst
