"""Decoding for any encoding matrix: slower than a code's own decoder, and the oracle in tests."""

from __future__ import annotations

import numpy as np

from dask_gradcode.codes.base import Decoder, Decoding
from dask_gradcode.typing import Matrix, Vector

__all__ = ["SpanDecoder", "assess"]

RELATIVE_TOLERANCE = 1e-9
"""Below this share of its length, what is left of a vector is rounding."""


def assess(weights: Vector, encoding_matrix: Matrix) -> Decoding:
    """Return weights with the residual and the amplification that they have.

    Parameters
    ----------
    weights : ndarray of shape (n_messages,)
        Zero for messages that are not used.
    encoding_matrix : ndarray of shape (n_messages, n_blocks)
        ``B``.
    """
    used = np.flatnonzero(weights)
    rows, a = encoding_matrix[used], weights[used]
    residual = float(np.abs(a @ rows - 1.0).max())
    amplification = float(np.abs(a) @ np.abs(rows).sum(axis=1)) / encoding_matrix.shape[1]
    return Decoding(weights, residual, amplification)


class SpanDecoder(Decoder):
    """Decodes as soon as the rows of ``B`` that have arrived span the all-ones vector.

    Keeps an orthonormal basis of those rows by Gram-Schmidt, twice for stability, and what of the
    all-ones vector lies outside their span: ``O(n_blocks * rank)`` per arrival. Weights are the
    least-squares solution, the smallest one where there are many.

    Parameters
    ----------
    encoding_matrix : ndarray of shape (n_messages, n_blocks)
        ``B``.

    Examples
    --------
    >>> decoder = SpanDecoder(np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]]))
    >>> decoder.add(1), decoder.add(2)
    (False, True)
    >>> decoder.decode().weights
    array([0., 1., 2.])
    """

    def __init__(self, encoding_matrix: Matrix) -> None:
        self._matrix = encoding_matrix
        n_messages, n_blocks = encoding_matrix.shape
        self._arrived = np.zeros(n_messages, dtype=bool)
        self._basis = np.empty((0, n_blocks))
        self._left = np.ones(n_blocks)  # what of the all-ones vector is not spanned yet

    def add(self, message: int) -> bool:
        if not self._arrived[message]:
            self._arrived[message] = True
            row = self._matrix[message]
            direction = row
            for _ in range(2):
                direction = direction - self._basis.T @ (self._basis @ direction)
            length = np.linalg.norm(direction)
            if length > RELATIVE_TOLERANCE * np.linalg.norm(row):
                direction = direction / length
                self._basis = np.vstack([self._basis, direction])
                self._left = self._left - direction * (direction @ self._left)
        return bool(np.linalg.norm(self._left) <= RELATIVE_TOLERANCE * np.sqrt(self._left.size))

    def decode(self) -> Decoding:
        weights = np.zeros(len(self._matrix))
        rows = self._matrix[self._arrived]
        weights[self._arrived] = np.linalg.lstsq(rows.T, np.ones(rows.shape[1]), rcond=None)[0]
        # zero is "not used"; lstsq leaves rounding where a message contributes nothing
        weights[np.abs(weights) < 1e-14 * np.abs(weights).max(initial=0.0)] = 0.0
        return assess(weights, self._matrix)
