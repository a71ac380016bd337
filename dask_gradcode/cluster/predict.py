"""Lazy prediction on dask input: one task per chunk, nothing computed here but scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute

from dask_gradcode.checks import as_rows
from dask_gradcode.cluster.data.forms import as_column, as_dask_array, is_dask
from dask_gradcode.losses import Loss

__all__ = ["lazily", "mean_agreement", "share_explained"]


def lazily(
    function: Callable[[Any], Any], X: Any, like: Any, names: Any = None, *, estimator: str
) -> Any:
    """Apply a function to the rows of each chunk, which are checked when it is computed.

    Parameters
    ----------
    function : callable
        From rows of shape (n_rows, n_features) to an array of n_rows rows.
    X : dask array or dask frame of shape (n_samples, n_features)
        The rows.
    like : ndarray of shape (0,) or (0, n_columns)
        Has the dtype and the columns of the result.
    names : array-like of length n_columns, optional
        Columns of the result for a frame.
    estimator : str
        Who asks, for the texts of errors and the names of tasks.

    Returns
    -------
    dask array, Series or DataFrame
        Of the same chunks as X; for a frame with its index.
    """
    function = _Checked(function, estimator)
    if not isinstance(X, da.Array):
        frame = _ByRows(function, like, names)
        return X.map_partitions(frame, meta=frame(X._meta))
    X = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
    shape: dict[str, Any] = {"drop_axis": 1}
    if like.ndim > 1:
        shape = {"chunks": (X.chunks[0], (like.shape[1],))}
    token = f"{estimator}-predict"
    return da.map_blocks(function, X, dtype=like.dtype, meta=like, token=token, **shape)


class _Checked:
    """A function of rows that are as scikit-learn wants them: numbers, and finite."""

    def __init__(self, function: Callable[[Any], Any], estimator: str) -> None:
        self._function, self._estimator = function, estimator

    def __call__(self, rows: Any) -> Any:
        return self._function(as_rows(rows, self._estimator, ensure_min_samples=0))


class _ByRows:
    """A function of arrays, as one of frames."""

    def __init__(self, function: Callable[[Any], Any], like: Any, names: Any) -> None:
        self._function, self._like, self._names = function, like, names

    def __call__(self, part: Any) -> Any:
        import pandas as pd

        values = self._function(part) if len(part) else self._like
        if self._like.ndim > 1:
            return pd.DataFrame(values, index=part.index, columns=self._names)
        return pd.Series(values, index=part.index, dtype=self._like.dtype)


def mean_agreement(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return the weighted share of rows in which two 1-D arrays agree, dask or not."""
    y, predicted, weight = _aligned(y, predicted, sample_weight)
    agree = (y == predicted).astype(np.float64)
    right, whole = compute((agree * weight).sum(), weight.sum())
    return float(right / whole)


def share_explained(
    loss: Loss, link: Callable[[float], float], y: Any, linear: Any, sample_weight: Any
) -> float:
    """Return how much less a model loses than the mean does, as a share of the latter.

    Parameters
    ----------
    loss : Loss
        Of one linear predictor.
    link : callable
        From a mean to its linear predictor.
    y, linear : dask or other array of shape (n_samples,)
        Targets and linear predictors.
    sample_weight : dask or other array of shape (n_samples,) or None
        Weight of each row.
    """
    y, linear, weight = _aligned(y, linear, sample_weight)

    def lost(z: Any) -> Any:
        value = da.map_blocks(_value, z, y, loss=loss, dtype=np.float64)
        return (value * weight).sum()

    mean = link(float((y * weight).sum().compute() / weight.sum().compute()))
    model, trivial = compute(lost(linear), lost(da.full_like(y, mean, dtype=np.float64)))
    if trivial == 0.0:  # as scikit-learn has it
        return 1.0 if model == 0.0 else 0.0
    return float(1.0 - model / trivial)


def _value(z: Any, y: Any, loss: Loss) -> Any:
    return loss.pointwise(z, y)[0]


def _aligned(y: Any, predicted: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Return three dask arrays in the same chunks, as far as their lengths are known."""
    arrays = [y, predicted] if sample_weight is None else [y, predicted, sample_weight]
    arrays = [
        as_dask_array(array) if is_dask(array) else da.from_array(np.asarray(array), chunks=-1)
        for array in arrays
    ]
    arrays = [as_column(array) for array in arrays]
    unknown = [np.isnan(array.shape[0]) for array in arrays]
    if not all(unknown) or len({array.numblocks for array in arrays}) > 1:
        for index in np.flatnonzero(unknown):  # on the workers; the user's own array is left alone
            arrays[index] = arrays[index].copy().compute_chunk_sizes()
    lengths = [array.shape[0] for array in arrays]
    if not np.isnan(lengths).any():
        if len(set(lengths)) > 1:
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: {lengths}"
            )
        arrays = [array.rechunk(arrays[1].chunks) for array in arrays]
    if sample_weight is None:
        arrays.append(da.ones_like(arrays[0], dtype=np.float64))
    return arrays[0], arrays[1], arrays[2]
