"""Cyclic repetition: worker i holds the blocks i, i + 1, ..., i + s, for any number of workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic_design import CyclicDesign, best_design
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.span import least_squares
from dask_gradcode.codes.validation import check_counts, check_int
from dask_gradcode.typing import Matrix

__all__ = ["CyclicRepetition"]


@dataclass(frozen=True)
class CyclicRepetition(GradientCode):
    """``s + 1`` consecutive blocks per worker, with random coefficients, for any ``n > s``.

    The rows of ``B`` span the null space of a random ``H`` of shape (s, n) with ``H @ 1 = 0``, so
    any ``n - s`` of them span the all-ones vector, and fewer do not. Several ``H`` are drawn from
    the seed, and the one whose worst decode amplifies rounding errors least is kept.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks.
    n_stragglers : int
        ``s``, number of silent workers, whichever they are, after which decoding is still exact.
    seed : int, default=0
        Seed of the coefficients.

    Raises
    ------
    ValueError
        If an argument is out of range, or if no draw decodes accurately: the worst amplification
        grows with ``n`` and, faster, with ``s``.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding: Avoiding Stragglers in
       Distributed Learning", ICML 2017, Section 4.2, Algorithms 1 and 2.

    Examples
    --------
    >>> code = CyclicRepetition(n_workers=5, n_stragglers=2)
    >>> code.blocks_of(4)
    (0, 1, 4)
    >>> decoding = code.decode(np.array([True, False, True, False, True]))
    >>> decoding.weights.nonzero()[0], decoding.residual < 1e-10
    (array([0, 2, 4]), True)
    """

    n_workers: int
    n_stragglers: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self)
        check_int(self, "seed", 0, None, "[0, inf)")
        _ = self._design  # raises where no draw decodes accurately

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return self._design.messages

    def decoder(self) -> Decoder:
        return _AllButStragglers(self)

    @property
    def checks(self) -> Matrix:
        """Orthonormal columns that span the left null space of ``B``, (n_workers, n_stragglers)."""
        return self._design.erasures.basis

    @property
    def _design(self) -> CyclicDesign:
        # Drawn once a process, not once an instance: copies arrive with every pickle.
        return best_design(self.n_workers, self.n_stragglers, self.seed)


class _AllButStragglers(Decoder):
    """Counts to ``n - s``; then a solve of size ``s`` gives the weights."""

    def __init__(self, code: CyclicRepetition) -> None:
        self._code = code
        self._arrived = np.zeros(code.n_workers, dtype=bool)
        self._n_missing = code.n_workers

    def add(self, message: int) -> bool:
        if not self._arrived[message]:
            self._arrived[message] = True
            self._n_missing -= 1
        return self._n_missing <= self._code.n_stragglers

    def decode(self) -> Decoding:
        code = self._code
        if self._n_missing > code.n_stragglers:
            return code.judge(least_squares(code.encoding_matrix, self._arrived))
        missing = np.flatnonzero(~self._arrived)
        return code.judge(code._design.erasures.weights(missing))
