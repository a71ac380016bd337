"""Which payloads are wrong where some do not agree.

*The smallest set of payloads without which the rest agree* is just the set of the wrong ones, if
of ``m`` spare payloads

- at most ``m / 2`` are wrong, whatever they are: two such sets have ``m`` members or fewer, which
  leave nothing alike in the syndrome (the bound of every MDS code);
- or at most ``m - 1`` are, and their errors are linearly independent, as they are where faults
  have nothing to do with each other: they leave in the syndrome all that errors of these payloads
  can, and nothing that is any other's (Metzner and Kapturowski, "A general decoding technique
  applicable to replicated file disagreement location and concatenated code decoding", IEEE
  Transactions on Information Theory 36, 1990).

So one spare payload tells that something is wrong, and two tell which it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np

from dask_gradcode.codes.parity import ParityChecks, norm_of
from dask_gradcode.codes.summing import weighted_sum
from dask_gradcode.typing import Matrix, Part, Payload, Vector

__all__ = ["locate"]

_MOST_SETS = 20_000  # of payloads left out on trial: some seconds
_ENTRIES = 2**14  # that are looked at at once
_CLEAR = 10.0  # times what rounding may leave
_EPS = float(np.finfo(np.float64).eps)


def locate(
    checks: ParityChecks, payloads: Mapping[int, Payload], norm: float = 0.0
) -> tuple[int, ...] | None:
    """Return which payloads are wrong; None if it cannot be said.

    Parameters
    ----------
    checks : ParityChecks
        Of the code.
    payloads : mapping of int to ndarray of shape (n_entries,), or Part
        By message; finite. They do not agree.
    norm : float, default=0.0
        As for :meth:`ParityChecks.agree`.

    Returns
    -------
    tuple of int or None
        Ascending.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition
    >>> code = CyclicRepetition(5, 2)
    >>> payloads = dict(enumerate(code.encoding_matrix @ np.arange(10.0).reshape(5, 2)))
    >>> payloads[3] = payloads[3] + [0.0, 1e-3]
    >>> locate(ParityChecks(code), payloads)
    (3,)
    >>> del payloads[0]
    >>> locate(ParityChecks(code), payloads)  # one spare payload is not enough
    """
    trial = _Trial(checks, payloads, norm)
    for n_out in range(1, trial.n_spare):
        if comb(len(payloads), n_out) > _MOST_SETS:
            return None
        found = [out for out in combinations(sorted(payloads), n_out) if trial.agree_without(out)]
        if found:
            is_known = len(found) == 1 and (2 * n_out <= trial.n_spare or trial.differ(found[0]))
            return found[0] if is_known else None
    return None


class _Trial:
    """Payloads of which some are left out, to see whether the others agree."""

    def __init__(self, checks: ParityChecks, payloads: Mapping[int, Payload], norm: float) -> None:
        self._checks, self._norm = checks, norm
        self._arrived = sorted(payloads)
        self.n_spare = checks.n_spare(len(payloads))
        self._images = _images([payloads[message] for message in self._arrived])
        self._norms = np.array([norm_of(image) for image in self._images])

    def agree_without(self, out: Collection[int]) -> bool:
        """Say whether the payloads agree but for some."""
        rest = [message for message in self._arrived if message not in out]
        left = norm_of(self._syndrome(self._checks.of(rest)))
        return left <= self._tolerance(out)  # NaN: they do not

    def differ(self, out: Sequence[int]) -> bool:
        """Say whether the errors of payloads, without which the others agree, are independent."""
        rest = [message for message in self._arrived if message not in out]
        bound, directions, noise = self._tolerance(out), list[Vector](), 0.0
        for message in out:  # by the rest alone, as errors may be of very different size
            combined = self._checks.of([*rest, message])
            own = combined[message]
            error = own @ self._syndrome(combined) / (own @ own)
            length = norm_of(error)
            directions.append(error / length)
            noise = max(noise, bound / (norm_of(own) * length), _EPS)
        lengths = np.linalg.svd(np.array(directions), compute_uv=False)
        return len(lengths) == len(out) and bool(lengths[-1] > _CLEAR * noise)

    def _syndrome(self, combined: Matrix) -> Matrix:
        # what is left out has a coefficient of zero, and may be too large to be multiplied by it
        used = [place for place, i in enumerate(self._arrived) if combined[i].any()]
        rows = [self._arrived[place] for place in used]
        with np.errstate(over="ignore", invalid="ignore"):
            found: Matrix = combined[rows].T @ self._images[used]
        return found

    def _tolerance(self, out: Collection[int]) -> float:
        kept = [place for place, i in enumerate(self._arrived) if i not in out]
        return self._checks.tolerance(max(self._norm, norm_of(self._norms[kept])))


def _images(payloads: Sequence[Payload]) -> Matrix:
    """Return a short vector for each payload, with the same products among each other.

    All entries are in them, so that nothing is missed; by a QR factorisation, which rounds each
    payload relative to its own norm, however large the others are.
    """
    whole = [_whole(payload) for payload in payloads]
    upper: Matrix = np.zeros((0, len(whole)))
    for start in range(0, whole[0].size, _ENTRIES):
        some = np.column_stack([payload[start : start + _ENTRIES] for payload in whole])
        upper = np.asarray(np.linalg.qr(np.concatenate([upper, some]), mode="r"))
    return upper.T


def _whole(payload: Payload) -> Vector:
    return weighted_sum(np.ones(1), {0: payload}) if isinstance(payload, Part) else payload
