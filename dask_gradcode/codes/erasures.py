"""Weights for any few missing messages, from one factorisation of the encoding matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_array, csc_array, csr_array

from dask_gradcode.typing import Matrix, Vector

__all__ = ["Erasures"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Erasures:
    """All weights that decode the full sum, ``origin + basis @ z``; ``z`` silences the missing.

    Parameters
    ----------
    origin : ndarray of shape (n_messages,)
        The shortest ``a`` with ``a @ B = 1``, for when everything arrived.
    basis : ndarray of shape (n_messages, n_stragglers)
        Orthonormal columns that span the left null space of ``B``.
    """

    origin: Vector
    basis: Matrix

    @classmethod
    def factorize(cls, encoding: csr_array, kernel: Matrix) -> Erasures:
        """Factorise an encoding matrix in ``O(n s^2)`` where it is banded.

        Parameters
        ----------
        encoding : CSR array of shape (n, n)
            ``B``, of rank ``n - s``.
        kernel : ndarray of shape (n, s)
            Orthonormal columns that span its right null space, ``B @ kernel = 0``.

        Returns
        -------
        Erasures

        Raises
        ------
        RuntimeError
            If the rank is lower than ``n - s``.
        """
        from scipy.sparse.linalg import splu  # workers, which only encode, need not load it

        n, s = kernel.shape
        right_hand_side = np.zeros((n + s, s + 1))
        right_hand_side[n:, :s] = np.eye(s)
        right_hand_side[:n, s] = 1.0
        # Bordered by bases of both null spaces, B.T is regular and as well conditioned as its
        # non-zero singular values. Any border will do to find the left one, which then takes
        # its own place: that is one step of inverse iteration.
        basis = kernel
        for _ in range(2):
            border = [[encoding.T, csc_array(kernel)], [csc_array(basis.T), None]] if s else None
            bordered = block_array(border, format="csc") if border else csc_array(encoding.T)
            solution = splu(bordered).solve(right_hand_side)[:n]
            basis = np.linalg.qr(solution[:, :s])[0]
        origin = solution[:, s]
        return cls(origin - basis @ (basis.T @ origin), basis)

    def weights(self, missing: NDArray[np.intp]) -> Vector:
        """Return the shortest exact weights that do without the missing messages.

        Parameters
        ----------
        missing : ndarray of int, shape (n_missing,)
            At most ``n_stragglers`` indices of messages.

        Returns
        -------
        ndarray of shape (n_messages,)
            Exactly zero where a message is missing.
        """
        if not missing.size:
            return self.origin.copy()
        weights = self.origin + self.basis @ self._shortest(missing)
        weights[missing] = 0.0
        return weights

    def _shortest(self, missing: NDArray[np.intp]) -> Vector:
        from scipy.linalg.lapack import dgelsy  # workers, which only encode, need not load it

        # The basis is orthonormal and orthogonal to the origin: the shortest z, the shortest a.
        # LAPACK's least squares called directly, as NumPy's wrapper takes longer than the decode.
        s = self.basis.shape[1]
        target = np.zeros(s)
        target[: missing.size] = -self.origin[missing]
        pivots, workspace = np.zeros(s, dtype=np.int32), 16 * (s + 1)
        z: Vector = dgelsy(self.basis[missing], target, pivots, _EPS, workspace)[1]
        return z

    def weights_of_many(self, missing: NDArray[np.intp]) -> Matrix:
        """Return the weights for many sets at once.

        Parameters
        ----------
        missing : ndarray of int, shape (n_sets, n_stragglers)
            The sets of missing messages.

        Returns
        -------
        ndarray of shape (n_sets, n_messages)

        Raises
        ------
        numpy.linalg.LinAlgError
            If one of the sets cannot be decoded.
        """
        z = np.linalg.solve(self.basis[missing], -self.origin[missing][..., None])[..., 0]
        weights: Matrix = self.origin + z @ self.basis.T
        np.put_along_axis(weights, missing, 0.0, axis=1)
        return weights
