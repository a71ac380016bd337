"""Cyclic repetition: real coefficients on neighbouring blocks, for any number of workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csc_array
from scipy.sparse.linalg import splu

from dask_gradcode.codes.base import Decoder, Decoding, GradientCode, Message
from dask_gradcode.codes.sizes import check_sizes
from dask_gradcode.codes.span import SpanDecoder
from dask_gradcode.typing import Matrix, Vector

__all__ = ["CyclicRepetition"]

MAX_AMPLIFICATION = 1e6
"""Worst sampled growth of rounding errors that a code may have: six of float64's 16 digits."""

Table = NDArray[np.float64]
Sets = NDArray[np.intp]


@dataclass(frozen=True)
class CyclicRepetition(GradientCode):
    """Worker ``i`` holds blocks ``i, ..., i + s`` (mod ``n``) and sends a combination of them.

    The coefficients are the paper's: ``H`` is a random ``s x n`` matrix with ``H 1 = 0``, and the
    rows of ``B`` are the vectors on those supports that ``H`` annihilates, so that any ``n - s`` of
    them span the null space of ``H`` and with it the all-ones vector. How much a decoding multiplies
    rounding errors depends on the draw by orders of magnitude, so several are made from the seed
    and the one with the lowest worst amplification over sampled sets of stragglers is kept.

    Parameters
    ----------
    n_workers : int
        ``n``.
    n_stragglers : int
        ``s``, the number of missing workers after which decoding is still exact.
    seed : int, default=0
        Seeds the draws and the sampled sets.

    Raises
    ------
    ValueError
        If ``s`` is not in ``[0, n)``, or no draw is good enough for float64.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 4.2 and
       Algorithm 2.

    Examples
    --------
    >>> code = CyclicRepetition(n_workers=3, n_stragglers=1)
    >>> (code.encoding_matrix != 0).astype(int)
    array([[1, 1, 0],
           [0, 1, 1],
           [1, 0, 1]])
    >>> code.decode(np.array([True, False, True])).residual < 1e-12
    True
    """

    n_workers: int
    n_stragglers: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(type(self).__name__, self.n_workers, self.n_stragglers)
        if self._design.amplification > MAX_AMPLIFICATION:
            s = self.n_stragglers + 1
            other = f" or FractionalRepetition({self.n_workers}, {s - 1})"
            raise ValueError(
                f"No draw of {self!r} is good enough for float64: the best multiplies rounding "
                f"errors by {self._design.amplification:.0e} for some stragglers, and at most "
                f"{MAX_AMPLIFICATION:.0e} is allowed. Use fewer n_stragglers, another seed"
                f"{other if self.n_workers % s == 0 else ''}."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        messages = []
        for worker, coefficients in enumerate(self._design.table):
            held = (worker + np.arange(self.n_stragglers + 1)) % self.n_workers
            order = np.argsort(held)
            messages.append(
                Message(worker, tuple(held[order].tolist()), tuple(coefficients[order].tolist()))
            )
        return tuple(messages)

    def decoder(self) -> Decoder:
        return _CyclicDecoder(self)

    @cached_property
    def _design(self) -> _Design:
        """The best of several draws; fewer where each costs more."""
        n, s = self.n_workers, self.n_stragglers
        rng = np.random.default_rng(self.seed)
        sets = _straggler_sets(n, s, rng)
        n_draws = max(4, min(30, 30_000 // n)) if 0 < s < n - 1 else 1
        draws = [_Design.draw(n, s, sets, rng) for _ in range(n_draws)]
        return min(draws, key=lambda design: design.amplification)


@dataclass(frozen=True, eq=False)
class _Design:
    """One draw, with its factorisation.

    ``table[i, t]`` is the coefficient of worker ``i`` on block ``i + t``. Every exact decoding is
    ``particular + null @ z``: ``particular`` is the smallest solution of ``a B = 1``, and the
    columns of ``null`` are an orthonormal basis of the solutions of ``a B = 0``.
    """

    table: Table
    particular: Vector
    null: Matrix
    amplification: float

    @classmethod
    def draw(cls, n: int, s: int, sets: Sets, rng: np.random.Generator) -> _Design:
        H = rng.standard_normal((s, n))
        H[:, -1:] = -H[:, :-1].sum(axis=1, keepdims=True)  # H 1 = 0
        supports = (np.arange(n)[:, None] + np.arange(s + 1)) % n
        columns = np.moveaxis(H[:, supports], 0, 1)  # (n, s, s + 1)
        # H annihilates (1, x) on the support: H_rest x = -H_first
        rest = np.linalg.solve(columns[:, :, 1:], -columns[:, :, :1])[:, :, 0]
        table = np.concatenate([np.ones((n, 1)), rest], axis=1)
        particular, null = _factorise(table, supports, H)
        return cls(table, particular, null, _worst_amplification(table, particular, null, sets))

    def weights(self, missing: Sets) -> Vector:
        """Return the smallest exact weights that are zero for at most ``s`` missing workers."""
        weights: Vector = self.particular
        if missing.size:
            rows, right = self.null[missing], -self.particular[missing]
            square = len(rows) == rows.shape[1]
            z = np.linalg.solve(rows, right) if square else np.linalg.lstsq(rows, right)[0]
            weights = weights + self.null @ z
            weights[missing] = 0.0
        return weights

    def assess(self, weights: Vector) -> Decoding:
        """Return weights with residual and amplification, from the non-zeros of ``B``."""
        n, width = self.table.shape
        terms = np.zeros((n + width, width))
        terms[:n] = weights[:, None] * self.table
        # terms[i, t] belongs to block i + t: add the anti-diagonals, then wrap round
        covered = np.zeros(n + width)
        for t in range(width):
            covered[t : t + n] += terms[:n, t]
        covered[:width] += covered[n:]
        residual = float(np.abs(covered[:n] - 1.0).max())
        return Decoding(weights, residual, float(np.abs(terms).sum()) / n)


def _factorise(table: Table, supports: Sets, H: Matrix) -> tuple[Vector, Matrix]:
    """Return the smallest solution of ``a B = 1`` and a basis of those of ``a B = 0``.

    The columns of ``B^T`` fill the null space of ``H``, whose complement the rows of ``H`` span.
    Bordered by those, and by any ``s`` rows that fix a solution, ``B^T`` is invertible; a sparse
    factorisation then costs ``O(n s^2)``, and none of the accuracy of a dense one.
    """
    n, s = table.shape[0], H.shape[0]
    if s == 0:
        return np.ones(n), np.zeros((n, 0))
    indptr = np.arange(0, n * (s + 1) + 1, s + 1)
    transposed = csc_array((table.ravel(), supports.ravel(), indptr), shape=(n, n))
    complement = np.linalg.qr(H.T)[0]
    null = np.random.default_rng(0).standard_normal((n, s))
    for _ in range(2):  # the second time bordered by the null space itself: as well as can be
        border = block_array([[transposed, complement], [null.T, None]], format="csc")
        solve = splu(csc_array(border)).solve
        null = np.linalg.qr(solve(np.vstack([np.zeros((n, s)), np.eye(s)]))[:n])[0]
    particular = solve(np.concatenate([np.ones(n), np.zeros(s)]))[:n]
    return particular - null @ (null.T @ particular), null


def _straggler_sets(n: int, s: int, rng: np.random.Generator) -> Sets:
    """Return sets of ``s`` missing workers: all if they are few, else neighbours and random ones.

    Neighbours are the worst in most draws, since they hold the same blocks.
    """
    if comb(n, s) <= 500:
        return np.array(list(combinations(range(n), s)), dtype=np.intp).reshape(comb(n, s), s)
    windows = (np.arange(n)[:, None] + np.arange(s)) % n
    random = np.argsort(rng.random((200, n)), axis=1)[:, :s]
    return np.concatenate([windows, random])


def _worst_amplification(table: Table, particular: Vector, null: Matrix, sets: Sets) -> float:
    rows, right = null[sets], -particular[sets]
    try:
        z = np.linalg.solve(rows, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        return np.inf
    weights = particular + z @ null.T
    np.put_along_axis(weights, sets, 0.0, axis=1)
    return float((np.abs(weights) @ np.abs(table).sum(axis=1)).max()) / len(table)


class _CyclicDecoder(Decoder):
    """Decodes from any ``n - s`` messages; for a random ``H`` no fewer will do."""

    def __init__(self, code: CyclicRepetition) -> None:
        self._code = code
        self._missing = np.ones(code.n_workers, dtype=bool)
        self._n_missing = code.n_workers

    def add(self, message: int) -> bool:
        self._n_missing -= int(self._missing[message])
        self._missing[message] = False
        return self._n_missing <= self._code.n_stragglers

    def decode(self) -> Decoding:
        if self._n_missing <= self._code.n_stragglers:
            design = self._code._design
            return design.assess(design.weights(np.flatnonzero(self._missing)))
        approximate = SpanDecoder(self._code.encoding_matrix)
        for message in np.flatnonzero(~self._missing):
            approximate.add(int(message))
        return approximate.decode()
