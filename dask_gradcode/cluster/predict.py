"""Lazy prediction on dask input: one task per chunk, nothing computed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from dask_gradcode.cluster.blocks import is_dask

__all__ = ["as_array", "by_rows", "mean_agreement"]


def as_array(X: Any) -> Any:
    """Return a dask array with one chunk of columns, or what is no dask collection as it is."""
    if not is_dask(X):
        return X
    X = X if isinstance(X, da.Array) else X.to_dask_array()
    return X.rechunk({1: -1}) if X.ndim == 2 and X.numblocks[1] > 1 else X


def by_rows(function: Callable[[Any], Any], X: da.Array, dtype: Any, n_columns: int = 0) -> Any:
    """Apply a function to the rows of each chunk.

    Parameters
    ----------
    function : callable
        From a chunk of shape (n_rows, n_features) to (n_rows,) or (n_rows, n_columns).
    X : dask array of shape (n_samples, n_features)
        One chunk of columns.
    dtype : numpy dtype
        Of the result.
    n_columns : int, default=0
        Columns of the result; 0 for a 1-D one.
    """
    if n_columns:
        meta = np.empty((0, n_columns), dtype=dtype)
        return da.map_blocks(
            function, X, dtype=dtype, meta=meta, chunks=(X.chunks[0], (n_columns,))
        )
    return da.map_blocks(function, X, dtype=dtype, meta=np.empty(0, dtype=dtype), drop_axis=1)


def mean_agreement(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return the weighted share of rows in which two 1-D arrays agree, dask or not."""
    y, predicted = da.asarray(y), da.asarray(predicted)
    if y.shape != predicted.shape and not np.isnan(y.shape[0] + predicted.shape[0]):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"[{y.shape[0]}, {predicted.shape[0]}]"
        )
    if not np.isnan(y.shape[0] + predicted.shape[0]):
        y = y.rechunk(predicted.chunks)
    agree = (y == predicted).astype(np.float64)
    if sample_weight is None:
        return float(agree.mean().compute())
    weights = da.asarray(sample_weight)
    total, weight = da.compute((agree * weights).sum(), weights.sum())
    return float(total / weight)
