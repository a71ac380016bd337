"""Products with the rows of a chunk, dense or sparse, and how many rows make a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.kernels.ones import spelt_out
from dask_gradcode.sparsetools import sparsetools
from dask_gradcode.typing import Matrix, Rows, Vector

__all__ = ["CHUNK_VALUES", "DenseRows", "SparseRows", "chunk_rows", "is_sparse", "pass_values"]

CHUNK_VALUES = 2**18
"""Dense values of the features between two looks at ``should_stop``, half as many as sparse ones:
under a millisecond's work, small enough for a cache, and large enough for the calls of a chunk."""

_VALUES_OF_POINTWISE = 8  # a loss has about so many temporaries for each row and output

_MOST_PREDICTORS = 2**13
"""Of a chunk, in the arrays of a loss: 64 KiB. Dask has its workers give larger ones back to the
system, so that each costs as much to get as to compute."""


def chunk_rows(X: Rows, n_outputs: int = 1) -> int:
    """Return how many rows a chunk has: as many as :data:`CHUNK_VALUES` fill, fewer of few columns.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
    n_outputs : int, default=1
        Coefficients of a column.

    Examples
    --------
    >>> chunk_rows(np.zeros((5, 256))), chunk_rows(csr_array((5, 1_000_000)))
    (1024, 8192)
    """
    # Sparse values are looked up all over the coefficients: a cache should hold these instead.
    n_values = 2 * CHUNK_VALUES if is_sparse(X) else CHUNK_VALUES
    rows: int = n_values * X.shape[0] // max(pass_values(X, n_outputs), 1)
    return max(min(rows, _MOST_PREDICTORS // n_outputs), 1)


def is_sparse(X: Rows) -> bool:
    """Say whether rows store some of their values only, wherever they lie.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)

    Examples
    --------
    >>> is_sparse(np.zeros((5, 256))), is_sparse(csr_array((5, 1_000_000)))
    (False, True)
    """
    return getattr(X, "nnz", None) is not None


def pass_values(X: Rows, n_outputs: int = 1) -> int:
    """Return what a pass over some rows costs, in stored values.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
    n_outputs : int, default=1
        Coefficients of a column.

    Examples
    --------
    >>> pass_values(np.zeros((5, 256))), pass_values(csr_array((5, 1_000_000)))
    (1280, 40)
    """
    n_rows, n_features = X.shape
    n_stored: int = X.nnz if is_sparse(X) else n_rows * n_features
    n_pointwise: int = n_rows * n_outputs * _VALUES_OF_POINTWISE
    return max(n_stored, n_pointwise)


class DenseRows:
    """Products with the rows of a C-ordered matrix; another dtype becomes float64."""

    def __init__(self, X: Any) -> None:
        self._X = np.ascontiguousarray(X, dtype=np.float64)

    def times(self, coef: Matrix) -> Matrix:
        z: Matrix = np.dot(self._X, coef)
        return z

    def add_transposed(self, r: Matrix, out: Matrix) -> None:
        # SciPy's dgemv, which adds in place, and ``@`` where the product has few rows keep Python's
        # lock from all other threads; ``X.T`` in front is slower where there are several outputs.
        out += np.dot(r.T, self._X).T

    def centre(self, shift: Vector) -> None:
        """Take a constant from each column."""
        self._X = self._X - shift

    def add_gram(self, weight: Vector, out: Matrix) -> None:
        """Add ``X' diag(weight) X``, which is symmetric."""
        # Of weights of one sign NumPy has BLAS compute half of the product only (syrk).
        if weight.min() < 0.0 < weight.max():
            out += np.dot(self._X.T, weight[:, None] * self._X)
            return
        root = np.sqrt(np.abs(weight))[:, None] * self._X
        gram = np.dot(root.T, root)
        if weight.min() < 0.0:
            out -= gram
        else:
            out += gram


class SparseRows:
    """Products with the rows of a CSR array, written into the caller's arrays."""

    def __init__(self, arrays: tuple[Any, Any, Any], n_features: int) -> None:
        indptr, indices, values = arrays
        self._shape = len(indptr) - 1, n_features
        self._csr = indptr, indices, spelt_out(values)

    @classmethod
    def of(cls, X: csr_array, chunk: slice) -> SparseRows:
        """Take some rows, as they lie."""
        first, last = X.indptr[chunk.start], X.indptr[chunk.stop]
        indptr = X.indptr[chunk.start : chunk.stop + 1] - first
        return cls((indptr, X.indices[first:last], X.data[first:last]), X.shape[1])

    def _public(self) -> csr_array:
        indptr, indices, values = self._csr
        return csr_array((values, indices, indptr), shape=self._shape)

    def times(self, coef: Matrix) -> Matrix:
        n_rows, n_features = self._shape
        if sparsetools is None:
            return np.asarray(self._public() @ coef)
        z = np.zeros((n_rows, coef.shape[1]))
        if coef.shape[1] == 1:
            sparsetools.csr_matvec(n_rows, n_features, *self._csr, coef[:, 0], z[:, 0])
        else:
            sparsetools.csr_matvecs(
                n_rows, n_features, coef.shape[1], *self._csr, coef.ravel(), z.ravel()
            )
        return z

    def add_transposed(self, r: Matrix, out: Matrix) -> None:
        n_rows, n_features = self._shape
        if sparsetools is None:
            out += self._public().T @ r
        # the CSR arrays of the rows are the CSC arrays of their transpose
        elif out.shape[1] == 1:
            sparsetools.csc_matvec(n_features, n_rows, *self._csr, r[:, 0], out[:, 0])
        else:  # ravel() of a C-ordered view is the view itself
            sparsetools.csc_matvecs(
                n_features, n_rows, out.shape[1], *self._csr, r.ravel(), out.ravel()
            )

    def centre(self, shift: Vector) -> None:
        raise ValueError("Sparse columns cannot be centred: their zeros would need to be stored.")

    def add_gram(self, weight: Vector, out: Matrix) -> None:
        """Add ``X' diag(weight) X``, which is symmetric."""
        X = self._public()
        weighted = csr_array(
            (X.data * np.repeat(weight, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape
        )
        gram = (X.T @ weighted).tocoo()
        out[gram.row, gram.col] += gram.data  # no entry twice
