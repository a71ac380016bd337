"""One pass over rows: the value of a linear model's loss and its gradient, added in place.

The pass goes in chunks of rows so that the rows are still in cache when the transposed product
reads them again, and so that a straggler can give up stale work between two chunks. Chunk borders
depend on the rows alone and BLAS runs on one thread, hence the same rows give the same bits on any
worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg.blas import dgemm, dgemv
from scipy.sparse import csr_array, issparse
from threadpoolctl import OpenBLASController, ThreadpoolController

from dask_gradcode.losses import Loss
from dask_gradcode.sparsetools import sparsetools
from dask_gradcode.typing import Matrix, Rows, Vector

__all__ = ["CHUNK_VALUES", "add_value_and_gradient", "chunk_rows", "never", "one_blas_thread"]

CHUNK_VALUES = 2**18
"""Stored values of the features between two looks at ``should_stop``: under a millisecond's work,
small enough for a cache, large enough that the calls of a chunk cost nothing beside it."""

_VALUES_OF_POINTWISE = 8  # a loss has about so many temporaries for each row and output


def never() -> bool:
    """Do not stop: the ``should_stop`` of work that is always wanted."""
    return False


def chunk_rows(X: Rows, n_outputs: int = 1) -> int:
    """Return how many rows make a chunk of about :data:`CHUNK_VALUES`.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
    n_outputs : int, default=1
        Coefficients of a column.

    Examples
    --------
    >>> chunk_rows(np.zeros((5, 256))), chunk_rows(csr_array((5, 1_000_000)))
    (1024, 32768)
    """
    n_rows, n_features = X.shape
    n_stored = X.nnz if issparse(X) else n_rows * n_features
    n_values = max(n_stored, n_rows * n_outputs * _VALUES_OF_POINTWISE, 1)
    rows: int = CHUNK_VALUES * n_rows // n_values
    return max(rows, 1)


def add_value_and_gradient(
    loss: Loss,
    X: Rows,
    y: Vector,
    sample_weight: Vector | None,
    w: Vector,
    coefficient: float,
    total: Vector,
    should_stop: Callable[[], bool] = never,
) -> bool:
    """Add a multiple of a loss's value and gradient over some rows to ``total``.

    Parameters
    ----------
    loss : Loss
        Sums ``sample_weight * loss(X @ coef + intercept, y)`` over the rows.
    X : ndarray or csr_array of shape (n_rows, n_features)
        Dense rows in C order.
    y : ndarray of shape (n_rows,)
        Targets.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.
    w : ndarray of shape (n_parameters,)
        Coefficients, intercepts if there are any, the loss's own parameters: in the order of
        :class:`~dask_gradcode.losses.Layout`.
    coefficient : float
        The multiple.
    total : ndarray of shape (1 + n_parameters,)
        Value, then gradient; added to in place.
    should_stop : callable, optional
        Asked between chunks of rows.

    Returns
    -------
    bool
        False if ``should_stop`` said so: ``total`` is then of no use.

    Raises
    ------
    ValueError
        If ``w`` does not fit the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.losses import Logistic
    >>> X, y = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    >>> total = np.zeros(2)
    >>> add_value_and_gradient(Logistic(), X, y, None, np.zeros(1), 1.0, total)
    True
    >>> total.round(3)
    array([ 1.386, -1.   ])
    """
    n_rows, n_features = X.shape
    layout = loss.layout(n_features, w.size)
    coef, intercept, own = layout.coef(w), layout.intercept(w), layout.own(w)
    n_outputs, gradient = layout.n_outputs, total[1:]
    part_of = _SparseRows if issparse(X) else _DenseRows
    step = chunk_rows(X, n_outputs)
    for start in range(0, n_rows, step):
        if should_stop():
            return False
        chunk = slice(start, min(start + step, n_rows))
        rows = part_of(X, chunk)
        z = rows.times(coef)
        if intercept.size:
            z += intercept
        if own.size:
            z = np.hstack([z, np.broadcast_to(own, (len(z), own.size))])
        value, derivative = loss.pointwise(z if z.shape[1] > 1 else z[:, 0], y[chunk])
        derivative = derivative.reshape(z.shape)
        if sample_weight is not None:
            value = value * sample_weight[chunk]
            derivative = derivative * sample_weight[chunk, None]
        total[0] += coefficient * value.sum()
        signed = coefficient * derivative  # coefficient x sample weight x derivative: one factor
        columns = signed.sum(axis=0) if z.shape[1] > 1 else [signed.sum()]
        if own.size:
            signed = np.ascontiguousarray(signed[:, :n_outputs])
        rows.add_transposed(signed, layout.coef(gradient))
        if intercept.size:
            layout.intercept(gradient)[:] += columns[:n_outputs]
        if own.size:
            layout.own(gradient)[:] += columns[n_outputs:]
    return True


class _DenseRows:
    """Products with a chunk of rows of a C-ordered matrix; another dtype becomes float64."""

    def __init__(self, X: Any, chunk: slice) -> None:
        self._X = np.ascontiguousarray(X[chunk], dtype=np.float64)

    def times(self, coef: Matrix) -> Matrix:
        z: Matrix = self._X @ coef
        return z

    def add_transposed(self, r: Matrix, out: Matrix) -> None:
        # What is C-ordered is, transposed, the Fortran-ordered matrix that BLAS adds to in place.
        if out.shape[1] == 1:
            dgemv(1.0, self._X.T, r[:, 0], beta=1.0, y=out[:, 0], overwrite_y=True)
        else:
            dgemm(1.0, r.T, self._X.T, beta=1.0, c=out.T, trans_b=True, overwrite_c=True)


class _SparseRows:
    """Products with a chunk of rows of a CSR array, written into the caller's arrays."""

    def __init__(self, X: csr_array, chunk: slice) -> None:
        first, last = X.indptr[chunk.start], X.indptr[chunk.stop]
        self._shape = chunk.stop - chunk.start, X.shape[1]
        self._csr = (
            X.indptr[chunk.start : chunk.stop + 1] - first,
            X.indices[first:last],
            X.data[first:last].astype(np.float64, copy=False),
        )

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


_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@cache
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through the loaded libraries: milliseconds, so once


@cache
def _blas_libraries() -> list[Any]:
    return [lib for lib in _blas_controller().lib_controllers if lib.user_api == "blas"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run BLAS on one thread: more threads add in another order, and steal from other workers.

    The setting belongs to the process, so the last to leave resets what the first to enter found.

    Examples
    --------
    >>> with one_blas_thread():
    ...     pass
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        _blas_users += 1
        if any(library.num_threads != 1 for library in _blas_libraries()):
            _forget_who_set_blas()
            limit = _blas_controller().limit(limits=1, user_api="blas")
            _blas_limit = _blas_limit or limit
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _forget_who_set_blas()
                _blas_limit.restore_original_limits()
                _forget_who_set_blas()
                _blas_limit = None


def _forget_who_set_blas() -> None:
    # Newer versions of threadpoolctl ignore all threads but the first that has set OpenBLAS.
    forget = getattr(OpenBLASController, "clear_controlling_thread", None)
    if forget is not None:
        forget(force=True)
