"""A decoder for any encoding matrix: it asks whether what arrived spans the all-ones vector."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder, Decoding, Judge
from dask_gradcode.typing import Mask, Matrix, Vector

__all__ = ["ROUNDING", "SpanDecoder", "least_squares"]

ROUNDING = 1e-10
"""Directions this much shorter than the longest are rounding: codes in use amplify far less."""

_SPANNED = 1e-8  # what may be left of an entry of the all-ones vector


def least_squares(encoding: Matrix, arrived: Mask, n_slices: int = 0) -> Vector | Matrix:
    """Return the shortest of the weights that come closest to the full sum.

    Parameters
    ----------
    encoding : ndarray of shape (n_messages, n_columns)
        ``B``.
    arrived : ndarray of bool, shape (n_messages,)
        Which messages arrived.
    n_slices : int, default=0
        How many slices messages are sums of, as each of which there are as many columns; 0: they
        are to be added as they are.

    Returns
    -------
    ndarray of shape (n_messages,) or (n_messages, n_slices)
        The weights that minimise ``||weights @ B - 1||_2``, zero where nothing arrived. Each of
        several slices has its own, which minimise how much of all others is left in it, too.
    """
    target = _target(encoding.shape[1], n_slices)
    weights = np.zeros((len(encoding), *target.shape[1:]))
    if arrived.any():
        weights[arrived] = np.linalg.lstsq(encoding[arrived].T, target, rcond=ROUNDING)[0]
    return weights


def _target(n_columns: int, n_slices: int) -> Vector | Matrix:
    """Return what weights times ``B`` should be."""
    if not n_slices:
        return np.ones(n_columns)
    return np.repeat(np.eye(n_slices), n_columns // n_slices, axis=0)


class SpanDecoder(Decoder):
    """Decodes any code, at the price of dense linear algebra.

    The rows that arrive are made orthonormal one by one, and the all-ones vector is freed from
    each: the full sum is decodable as soon as nothing of it is left. Where messages are sums of
    slices, there is a vector for each slice. An arrival costs ``O(n_blocks * rank)``, a decode a
    least-squares problem. It is the oracle of the tests, and a new code may start with it.

    Parameters
    ----------
    code : GradientCode or ndarray of shape (n_messages, n_blocks)
        The code, or its encoding matrix ``B``.

    Examples
    --------
    >>> decoder = SpanDecoder(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    >>> decoder.add(2), decoder.add(0), decoder.add(1)
    (False, False, True)
    >>> decoder.decode().weights.round(9) + 0.0
    array([1., 1., 0.])
    """

    def __init__(self, code: GradientCode | Matrix) -> None:
        self._n_slices = 0
        if isinstance(code, GradientCode):
            self._encoding, self._judge = code.encoding_matrix, code.judge
            self._n_slices = code.resolution if code.mixes else 0
        else:
            self._encoding, self._judge = code, Judge(csr_array(code))
        n_messages, n_columns = self._encoding.shape
        self._arrived = np.zeros(n_messages, dtype=bool)
        self._basis = np.empty((min(n_messages, n_columns), n_columns))
        self._rank = 0
        self._left = _target(n_columns, self._n_slices)

    def add(self, message: int) -> bool:
        if not self._arrived[message]:
            self._arrived[message] = True
            self._extend(self._encoding[message])
        return self.spans

    @property
    def spans(self) -> bool:
        """Whether the full sum is determined."""
        return float(abs(self._left).max()) <= _SPANNED

    def spanned_columns(self) -> Mask:
        """Return which columns of ``B`` are determined, each alone."""
        basis = self._basis[: self._rank]
        left = basis.T @ basis - np.eye(basis.shape[1])
        found: Mask = abs(left).max(axis=0, initial=0.0) <= _SPANNED
        return found

    def _extend(self, row: Vector) -> None:
        basis = self._basis[: self._rank]
        new = row
        for _ in range(2):  # once leaves rounding errors behind, "twice is enough" (Kahan)
            new = new - basis.T @ (basis @ new)
        length = np.linalg.norm(new)
        if length <= ROUNDING * np.linalg.norm(row):
            return
        self._basis[self._rank] = new / length
        self._rank += 1
        direction = self._basis[self._rank - 1]
        found = direction @ self._left
        self._left -= np.multiply.outer(direction, found)

    def decode(self) -> Decoding:
        return self._judge(least_squares(self._encoding, self._arrived, self._n_slices))
