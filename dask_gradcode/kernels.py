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
from scipy.linalg.blas import dgemv
from scipy.sparse import csr_array, issparse
from threadpoolctl import OpenBLASController, ThreadpoolController

from dask_gradcode.losses import Loss
from dask_gradcode.sparsetools import csc_matvec, csr_matvec
from dask_gradcode.typing import Rows, Vector

__all__ = ["CHUNK_ROWS", "add_value_and_gradient", "never", "one_blas_thread"]

CHUNK_ROWS = 1024
"""Rows between two looks at ``should_stop``."""


def never() -> bool:
    """Do not stop: the ``should_stop`` of work that is always wanted."""
    return False


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
        Sums ``sample_weight * loss(X @ w + intercept, y)`` over the rows.
    X : ndarray or csr_array of shape (n_rows, n_features)
        Dense rows in C order.
    y : ndarray of shape (n_rows,)
        Targets.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.
    w : ndarray of shape (n_features,) or (n_features + 1,)
        Coefficients, then the intercept if there is one.
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
    has_intercept = w.size == n_features + 1
    if not has_intercept and w.size != n_features:
        raise ValueError(
            f"w must have n_features entries, or one more for an intercept; "
            f"got {w.size} with n_features={n_features}."
        )
    slopes, gradient = w[:n_features], total[1 : n_features + 1]
    rows = _SparseRows(X) if issparse(X) else _DenseRows(X)
    for start in range(0, n_rows, CHUNK_ROWS):
        if should_stop():
            return False
        chunk = slice(start, min(start + CHUNK_ROWS, n_rows))
        z = rows.times(chunk, slopes)
        if has_intercept:
            z += w[-1]
        value, derivative = loss.pointwise(z, y[chunk])
        if sample_weight is not None:
            value = value * sample_weight[chunk]
            derivative = derivative * sample_weight[chunk]
        total[0] += coefficient * value.sum()
        signed = coefficient * derivative  # coefficient x sample weight x derivative: one factor
        rows.add_transposed(chunk, signed, gradient)
        if has_intercept:
            total[-1] += signed.sum()
    return True


class _DenseRows:
    """Products with row chunks of a C-ordered matrix; chunks of another dtype become float64."""

    def __init__(self, X: Any) -> None:
        self._X = X

    def _chunk(self, chunk: slice) -> Any:
        return np.ascontiguousarray(self._X[chunk], dtype=np.float64)

    def times(self, chunk: slice, w: Vector) -> Vector:
        z: Vector = self._chunk(chunk) @ w
        return z

    def add_transposed(self, chunk: slice, r: Vector, out: Vector) -> None:
        # A C-ordered chunk, transposed, is the Fortran-ordered matrix that BLAS adds in place.
        dgemv(1.0, self._chunk(chunk).T, r, beta=1.0, y=out, overwrite_y=True)


class _SparseRows:
    """Products with row chunks of a CSR array, written into the caller's vectors."""

    def __init__(self, X: csr_array) -> None:
        self._X = X

    def _chunk(self, chunk: slice) -> tuple[Any, Any, Any]:
        first, last = self._X.indptr[chunk.start], self._X.indptr[chunk.stop]
        return (
            self._X.indptr[chunk.start : chunk.stop + 1] - first,
            self._X.indices[first:last],
            self._X.data[first:last].astype(np.float64, copy=False),
        )

    def times(self, chunk: slice, w: Vector) -> Vector:
        if csr_matvec is None:
            return np.asarray(self._X[chunk] @ w, dtype=np.float64)
        z = np.zeros(chunk.stop - chunk.start)
        csr_matvec(z.size, w.size, *self._chunk(chunk), w, z)
        return z

    def add_transposed(self, chunk: slice, r: Vector, out: Vector) -> None:
        if csc_matvec is None:
            out += self._X[chunk].T @ r
        else:  # the CSR arrays of the chunk are the CSC arrays of its transpose
            csc_matvec(out.size, r.size, *self._chunk(chunk), r, out)


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
