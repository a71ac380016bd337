"""What decoding is: the weights of the messages that arrived, and how good they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.typing import Matrix, Vector

__all__ = ["Decoder", "Decoding", "Judge"]


@dataclass(frozen=True)
class Decoding:
    """How to combine the messages that arrived.

    Parameters
    ----------
    weights : ndarray of shape (n_messages,)
        The weight of each message, zero where none arrived.
    residual : float
        ``max |weights @ B - 1|``: zero (to rounding) where the decoded sum is exact.
    error : float
        ``|weights @ B - 1|^2 / n_blocks``: how much of the sum is missed, of blocks that have
        nothing in common; 1 where nothing has arrived.
    amplification : float
        ``sum_i |weights_i| sum_b |B_ib| / n_blocks``: how much rounding errors grow; 1 is best.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> FractionalRepetition(4, 1).decode(np.array([True, False]))
    Decoding(weights=array([1., 0.]), residual=1.0, error=0.5, amplification=0.5)
    """

    weights: Vector
    residual: float
    error: float
    amplification: float


class Judge:
    """Says how good weights are, from the non-zeros of ``B`` alone.

    Parameters
    ----------
    encoding : CSR array of shape (n_messages, n_blocks)
        ``B``.

    Examples
    --------
    >>> judge = Judge(csr_array([[1.0, 0.0], [0.0, 1.0]]))
    >>> judge(np.array([1.0, 0.0]))
    Decoding(weights=array([1., 0.]), residual=1.0, error=0.5, amplification=0.5)
    """

    def __init__(self, encoding: csr_array) -> None:
        self._columns = csr_array(encoding.T)
        self._sizes: Vector = np.asarray(abs(encoding).sum(axis=1)) / encoding.shape[1]

    def residual(self, weights: Matrix) -> Vector:
        """Return ``max |weights @ B - 1|``, of one set of weights or of one set per row."""
        error: Vector = abs(self._columns @ weights.T - 1.0).max(axis=0)
        return error

    def covered(self, weights: Vector) -> Vector:
        """Return ``weights @ B``: how often each block is in the sum."""
        found: Vector = self._columns @ weights
        return found

    def amplification(self, weights: Matrix) -> Vector:
        """Return ``sum_i |weights_i| sum_b |B_ib| / n_blocks``, likewise."""
        return abs(weights) @ self._sizes

    def __call__(self, weights: Vector) -> Decoding:
        """Return the weights, of shape (n_messages,), with all three figures."""
        missed = self.covered(weights) - 1.0
        residual, error = float(abs(missed).max()), float(missed @ missed) / missed.size
        return Decoding(weights, residual, error, float(self.amplification(weights)))


class Decoder(ABC):
    """What has arrived in one round, and whether the full sum can be decoded from it.

    Examples
    --------
    The sum of each of two groups of workers is needed.

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> decoder = FractionalRepetition(4, 1).decoder()
    >>> decoder.add(1), decoder.add(0)
    (False, True)
    >>> decoder.decode().weights
    array([1., 1.])
    """

    @abstractmethod
    def add(self, message: int) -> bool:
        """Note that a message arrived.

        Parameters
        ----------
        message : int
            Its index in ``code.messages``. Adding it twice changes nothing.

        Returns
        -------
        bool
            True once exact decoding is possible. Cheap: asked at every arrival.
        """

    @abstractmethod
    def decode(self) -> Decoding:
        """Return the weights for what has arrived, legal at any time.

        Returns
        -------
        Decoding
            Exact where ``add`` has said True, else the best approximation in the least-squares
            sense. A snapshot: later arrivals leave it alone.
        """
