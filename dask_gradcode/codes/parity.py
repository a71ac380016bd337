"""What payloads have in common of which any ``n - s`` are enough: their syndrome is zero.

There are more messages than there are sums to be told: the payloads, one under the other, lie in
the column space of ``B``, of dimension ``n - s``. Of ``r`` that have arrived ``m = r - (n - s)``
are *spare*, and as many independent combinations of them are zero. Each ``m`` payloads enter these
combinations independently of each other, as the others are just enough to tell them. So up to ``m``
wrong payloads leave something there that is not zero, whatever they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf, sqrt

import numpy as np
from scipy.linalg.blas import ddot, dnrm2

from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.summing import weighted_sum
from dask_gradcode.typing import Matrix, Part, Payload

__all__ = ["ParityChecks", "norm_of"]

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)  # below it numbers have fewer digits


class ParityChecks:
    """Says whether payloads agree, and if not which of them are wrong.

    Parameters
    ----------
    code : CyclicRepetition
        How the sum is coded.
    rounding : float, default=1e-8
        How far payloads may be off by rounding alone, relative to what they are sums of. That is
        estimated from all payloads and the condition of ``B``: payloads may be smaller than the
        sums of blocks that cancel in them.

    Examples
    --------
    Any three of five workers are enough; two are spare. One sends a wrong number:

    >>> code = CyclicRepetition(5, 2)
    >>> payloads = dict(enumerate(code.encoding_matrix @ np.arange(10.0).reshape(5, 2)))
    >>> checks = ParityChecks(code)
    >>> checks.agree(payloads)
    True
    >>> payloads[3] = payloads[3] + [0.0, 1e-3]
    >>> checks.agree(payloads)
    False
    """

    def __init__(self, code: CyclicRepetition, rounding: float = 1e-8) -> None:
        self._code, self._rounding = code, rounding
        self._basis = code.checks
        self._n_needed = code.n_workers - code.n_stragglers

    def n_spare(self, n_arrived: int) -> int:
        """Return how many payloads there are more than decoding needs."""
        return n_arrived - self._n_needed

    @cached_property
    def condition(self) -> float:
        """How much larger the sums of blocks can be than payloads: ``B``'s condition number."""
        lengths = np.linalg.svd(self._code.encoding_matrix, compute_uv=False)
        return float(lengths[0] / lengths[self._n_needed - 1])

    def of(self, arrived: Sequence[int]) -> Matrix:
        """Return the independent combinations of some messages that are zero.

        Parameters
        ----------
        arrived : sequence of int
            Which messages there are.

        Returns
        -------
        ndarray of shape (n_messages, n_spare)
            Orthonormal columns; rows of messages that are not there are zero.
        """
        is_missing = np.ones(len(self._basis), dtype=bool)
        is_missing[list(arrived)] = False
        n_missing = int(is_missing.sum())
        found: Matrix = self._basis
        if n_missing:
            # the combinations of all checks in which the missing do not occur
            found = self._basis @ np.linalg.svd(self._basis[is_missing])[2][n_missing:].T
            found[is_missing] = 0.0
        return found

    def norm(self, payloads: Mapping[int, Payload]) -> float:
        """Return the norm of payloads, one under the other."""
        return norm_of(np.array([norm_of(payload) for payload in payloads.values()]))

    def tolerance(self, norm: float) -> float:
        """Return what rounding may leave of combinations of payloads of such a norm."""
        return self._rounding * self.condition * max(norm, _TINY)

    def agree(self, payloads: Mapping[int, Payload], norm: float = 0.0) -> bool:
        """Say whether payloads agree within rounding; where none is spare, they do.

        Parameters
        ----------
        payloads : mapping of int to ndarray of shape (n_entries,), or Part
            By message; finite.
        norm : float, default=0.0
            That of payloads of earlier rounds, if it is larger: close to a minimum the sums that a
            payload is made of may cancel.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            left = [norm_of(weighted_sum(c, payloads)) for c in self.of(list(payloads)).T]
        bound = self.tolerance(max(norm, self.norm(payloads)))
        return not left or norm_of(np.array(left)) <= bound  # NaN: they do not


def norm_of(payload: Payload | Matrix) -> float:
    """Return the norm of an array, which overflows only if it does itself."""
    values = payload.values if isinstance(payload, Part) else payload.ravel()
    if not values.size:
        return 0.0
    square = ddot(values, values)  # faster where nothing overflows, or nearly vanishes
    return sqrt(square) if _TINY / _EPS < square < inf else float(dnrm2(values))
