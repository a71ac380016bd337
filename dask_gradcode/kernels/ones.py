"""Rows whose stored values are all one, as after one-hot encoding: the values need no room."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.typing import Vector

__all__ = ["are_ones", "folded", "is_one_for_all", "one_for_all", "spelt_out", "unfolded"]

_ones = np.ones(0)  # as many as a chunk has needed; all chunks share them


def one_for_all(X: Any) -> Any:
    """Return CSR rows; if every stored value is one, a single number stands for all of them.

    Their ``data`` is then that number, broadcast: it cannot be written to.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_features)
        Rows.

    Examples
    --------
    >>> X = one_for_all(csr_array(np.eye(4)))
    >>> X.data, X.data.strides
    (array([1., 1., 1., 1.]), (0,))
    """
    if X.nnz < 2 or not are_ones(X.data):
        return X
    return _ones_at(X.indices, X.indptr, X.shape, X.dtype)


def _ones_at(indices: Any, indptr: Any, shape: tuple[int, int], dtype: Any) -> csr_array:
    """Return CSR rows of that structure whose stored values are all one."""
    values = np.broadcast_to(np.ones(1, dtype), indices.shape)
    return csr_array((values, indices, indptr), shape=shape)


class _Folded(NamedTuple):
    """CSR rows whose stored values are all one, on their way to elsewhere."""

    indices: Any
    indptr: Any
    shape: tuple[int, int]
    dtype: Any


def folded(X: Any) -> Any:
    """Return what is to be pickled of rows: of values that one number stands for, that they are.

    Pickle writes an array that is broadcast item by item. All else is returned as it is.

    Examples
    --------
    >>> X = one_for_all(csr_array(np.eye(4)))
    >>> unfolded(folded(X)).data.strides
    (0,)
    """
    if isinstance(X, csr_array) and is_one_for_all(X.data):
        return _Folded(X.indices, X.indptr, X.shape, X.dtype)
    return X


def unfolded(found: Any) -> Any:
    """Return the rows that :func:`folded` had changed, as they were, or what came."""
    return _ones_at(*found) if isinstance(found, _Folded) else found


def are_ones(values: Any) -> bool:
    """Say whether stored values are all one; of none at all that is not said."""
    return bool(values.size) and values[0] == 1 and bool((values == 1).all())


def is_one_for_all(values: Any) -> bool:
    """Say whether stored values are a single one that stands for all of them."""
    return getattr(values, "strides", None) == (0,) and bool((values[:1] == 1).any())


def spelt_out(values: Any) -> Vector:
    """Return stored values of a chunk as float64, each in a place of its own; do not write there.

    Parameters
    ----------
    values : ndarray of shape (n_stored,)
        Perhaps one for all.
    """
    global _ones
    if not is_one_for_all(values):
        return np.asarray(values, dtype=np.float64)
    ones = _ones
    if ones.size < values.size:
        ones = _ones = np.ones(values.size)
    return ones[: values.size]
