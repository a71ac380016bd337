"""What decoding is: the weights of the messages that arrived, and how good they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sized
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.typing import Mask, Matrix, Vector

__all__ = ["Decoder", "Decoding", "Judge", "MixedJudge", "mask_of"]


@dataclass(frozen=True)
class Decoding:
    """How to combine the messages that arrived.

    Parameters
    ----------
    weights : ndarray of shape (n_messages,) or (n_messages, n_slices)
        The weight of each message, zero where none arrived; where messages are sums of several
        slices, one for each slice of the sum.
    residual : float
        ``max |weights @ B - 1|``: zero (to rounding) where the decoded sum is exact.
    error : float
        ``|weights @ B - 1|^2 / n_blocks``: how much of the sum is missed, if blocks have
        nothing in common; 1 where nothing has arrived. For slices it is the mean.
    amplification : float
        ``sum_i |weights_i| sum_b |B_ib| / n_blocks``: how much rounding errors grow; 1 is best.
    covered : ndarray of shape (n_blocks,), optional
        How often each block is in the sum, where messages may have come without some of their
        blocks. None: ``weights @ B``.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> FractionalRepetition(4, 1).decode(np.array([True, False]))
    Decoding(weights=array([1., 0.]), residual=1.0, error=0.5, amplification=0.5)
    """

    weights: Vector | Matrix
    residual: float
    error: float
    amplification: float
    covered: Vector | None = field(default=None, repr=False)

    @property
    def used(self) -> Mask:
        """Which messages are used, of shape (n_messages,)."""
        used: Mask = np.any(self.weights.reshape(len(self.weights), -1), axis=1)
        return used


class Judge:
    """Says how good weights are, from the non-zeros of ``B`` alone.

    Parameters
    ----------
    encoding : CSR array of shape (n_messages, n_columns)
        ``B``.
    n_blocks : int, optional
        Where ``B`` has a column for each slice of each block: how many blocks there are.

    Examples
    --------
    >>> judge = Judge(csr_array([[1.0, 0.0], [0.0, 1.0]]))
    >>> judge(np.array([1.0, 0.0]))
    Decoding(weights=array([1., 0.]), residual=1.0, error=0.5, amplification=0.5)
    """

    def __init__(self, encoding: csr_array, n_blocks: int | None = None) -> None:
        self._columns = csr_array(encoding.T)
        self._n_blocks = n_blocks or encoding.shape[1]
        self._sizes: Vector = np.asarray(abs(encoding).sum(axis=1)) / encoding.shape[1]

    def residual(self, weights: Matrix) -> Vector:
        """Return ``max |weights @ B - 1|``, of one set of weights or of one set per row."""
        error: Vector = abs(self._columns @ weights.T - 1.0).max(axis=0)
        return error

    def covered(self, weights: Vector) -> Vector:
        """Return how often each block is in the sum: ``weights @ B``, the mean of its slices."""
        found: Vector = self._columns @ weights
        if found.size == self._n_blocks:
            return found
        average: Vector = found.reshape(-1, self._n_blocks).mean(axis=0)
        return average

    def amplification(self, weights: Matrix) -> Vector:
        """Return ``sum_i |weights_i| sum_b |B_ib| / n_blocks``, likewise."""
        return abs(weights) @ self._sizes

    def __call__(self, weights: Vector) -> Decoding:
        """Return the weights, of shape (n_messages,), with all three figures."""
        missed = self._columns @ weights - 1.0
        residual, error = float(abs(missed).max()), float(missed @ missed) / missed.size
        return Decoding(weights, residual, error, float(self.amplification(weights)))


class MixedJudge(Judge):
    """Says how good weights are where messages are sums of several slices.

    Weights are of shape (n_messages, n_slices): a column combines the messages into one slice of
    the sum, from which the others should be gone.

    Examples
    --------
    Two workers send the sum and the difference of two slices of a block:

    >>> judge = MixedJudge(csr_array([[1.0, 1.0], [1.0, -1.0]]), n_blocks=1)
    >>> judge(np.array([[0.5, 0.5], [0.5, -0.5]])).error
    0.0
    >>> judge(np.array([[0.5, 0.5], [0.0, 0.0]])).error
    0.5
    """

    def covered(self, weights: Matrix) -> Vector:
        found = self._columns @ weights
        n_slices = weights.shape[1]
        by_slice = found.reshape(n_slices, self._n_blocks, n_slices)
        average: Vector = np.einsum("tbt->b", by_slice) / n_slices
        return average

    def __call__(self, weights: Matrix) -> Decoding:
        n_slices = weights.shape[1]
        missed = self._columns @ weights - np.repeat(np.eye(n_slices), self._n_blocks, axis=0)
        residual, error = float(abs(missed).max()), float((missed**2).sum())
        # of each slice as if it were all there is
        amplification = float(self.amplification(weights.T).sum())
        return Decoding(weights, residual, error / missed.shape[0], amplification)


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

    def add_part(self, message: int, blocks: Collection[int]) -> bool:
        """Note that a message arrived that says itself which of its blocks it is a sum of.

        Parameters
        ----------
        message : int
            Its index in ``code.messages``.
        blocks : collection of int
            The blocks of it that are in the sum; the others were lost on the way to its sender.

        Returns
        -------
        bool
            As for ``add``; always False of decoders that ignore such a message, as this one.
        """
        return False

    @abstractmethod
    def decode(self) -> Decoding:
        """Return the weights for what has arrived, legal at any time.

        Returns
        -------
        Decoding
            Exact where ``add`` has said True; otherwise the best approximation by least squares.
            A snapshot: later arrivals leave it alone.
        """


def mask_of(mask: Mask, messages: Sized) -> Mask:
    """Return a mask of messages, after a look at its shape; ValueError if that is wrong."""
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != (len(messages),):
        raise ValueError(
            f"A mask of messages must have shape ({len(messages)},), got {mask.shape}."
        )
    return mask
