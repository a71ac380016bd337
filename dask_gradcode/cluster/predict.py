"""Lazy prediction on dask input: one task per chunk, nothing computed here but scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute, persist
from distributed import Client
from distributed.deploy.cluster import Cluster

from dask_gradcode.checks import NUMBERS, as_rows, kind_of_targets, refuse_missing
from dask_gradcode.cluster.client.computing import say_where_it_lies
from dask_gradcode.cluster.data.chunk import expected_of
from dask_gradcode.cluster.data.frames import FrameRows
from dask_gradcode.cluster.data.lazy import as_column, as_dask_array, held_to_shape, is_dask
from dask_gradcode.containers import check_containers
from dask_gradcode.losses import Loss
from dask_gradcode.typing import Vector

__all__ = ["lazily", "mean_agreement", "share_explained"]


def lazily(
    function: Callable[[Any], Any],
    X: Any,
    like: Any,
    names: Any = None,
    *,
    estimator: str,
    client: Client | Cluster | str | None = None,
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
        The estimator that asks, for the texts of errors and the names of tasks.
    client : distributed.Client, Dask cluster or str, optional
        The client of a fitted model, which may compute the result.

    Returns
    -------
    dask array, Series or DataFrame
        Of the same chunks as X; for a frame with its index.

    Raises
    ------
    ValueError
        If X is persisted on a cluster that neither Dask's current client nor the model's reaches.
    RuntimeError
        If X was persisted and has been dropped.

    Warns
    -----
    UserWarning
        If X is persisted where ``compute()`` will not look for it.
    """
    say_where_it_lies(X, client)
    checked, token = _Checked(function, estimator), f"{estimator}-predict"
    if not isinstance(X, da.Array):
        frame = _ByRows(checked, FrameRows("X", X._meta), like, names)
        return X.map_partitions(frame, meta=frame.with_index(like, X._meta), token=token)
    X = held_to_shape(X, reader=checked).rechunk({1: -1})
    shape: dict[str, Any] = {"drop_axis": 1}
    if like.ndim > 1:
        shape = {"chunks": (X.chunks[0], (like.shape[1],))}
    return da.map_blocks(checked, X, dtype=like.dtype, meta=like, token=token, **shape)


class _Checked:
    """A function of rows that are as scikit-learn wants them: numbers, and finite."""

    def __init__(self, function: Callable[[Any], Any], estimator: str) -> None:
        self._function, self._estimator = function, estimator

    def __call__(self, rows: Any, block_info: Any = None, what: str = "") -> Any:
        try:
            rows = as_rows(rows, self._estimator, ensure_min_samples=0)
        except (ValueError, TypeError) as error:
            what = what or expected_of("X", block_info).what
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{what}: {error}") from error
        return self._function(rows)


class _ByRows:
    """A function of arrays, as one of frames."""

    def __init__(self, function: _Checked, rows: FrameRows, like: Any, names: Any) -> None:
        self._function, self._rows, self._like, self._names = function, rows, like, names

    def __call__(self, part: Any, partition_info: Any = None) -> Any:
        rows = self._rows(part, partition_info)
        if not len(part):
            return self.with_index(self._like, part)
        what = f"Partition {partition_info['number']} of X"
        return self.with_index(self._function(rows, what=what), part)

    def with_index(self, values: Any, part: Any) -> Any:
        """Return values as a Series or a frame, of the same rows as a partition."""
        import pandas as pd

        if self._like.ndim > 1:
            return pd.DataFrame(values, index=part.index, columns=self._names)
        return pd.Series(values, index=part.index, dtype=self._like.dtype)


def mean_agreement(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return the weighted share of rows in which two 1-D arrays agree, dask or not."""
    y, predicted, weight = _aligned(y, predicted, sample_weight, numeric=False)
    agree = da.map_blocks(_agreement, y, predicted, dtype=np.float64, meta=np.empty(0))
    right, whole = compute((agree * weight).sum(), weight.sum())
    return float(right / whole)


def _agreement(y: Any, predicted: Any) -> Vector:
    """Return 1.0 where labels are those predicted, else 0.0; refuse what cannot be compared."""
    if len(y):
        kinds = [kind_of_targets(labels) for labels in (y, predicted)]
        if kinds[0] not in ("binary", "multiclass"):
            mix = " and ".join(kinds)
            raise ValueError(f"Classification metrics can't handle a mix of {mix} targets")
        if len({labels.dtype.kind in NUMBERS for labels in (y, predicted)}) > 1:
            raise ValueError("Mix of label input types (string and number)")
    agree: Vector = np.asarray(y == predicted, dtype=np.float64)
    return agree


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
    y, linear, weight = _aligned(y, linear, sample_weight, numeric=True)

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


def _aligned(y: Any, predicted: Any, sample_weight: Any, *, numeric: bool) -> tuple[Any, Any, Any]:
    """Return three dask arrays in the same chunks, whose lengths are known."""
    check_containers(y=y, sample_weight=sample_weight)
    arrays = [_column(y, "y", numeric), _column(predicted, "prediction", numeric)]
    if sample_weight is not None:
        arrays.append(_column(sample_weight, "sample_weight", True))
    unknown = [np.isnan(array.shape[0]) for array in arrays]
    # Columns are short: kept on the workers until they are compared, they are computed once.
    kept = iter(persist(*(arrays[index] for index in np.flatnonzero(unknown))))
    arrays = [
        next(kept).compute_chunk_sizes() if lost else array
        for array, lost in zip(arrays, unknown, strict=True)
    ]
    lengths = [array.shape[0] for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {lengths}")
    if not lengths[0]:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    arrays = [array.rechunk(arrays[1].chunks) for array in arrays]
    if sample_weight is None:
        arrays.append(da.ones_like(arrays[0], dtype=np.float64))
    return arrays[0], arrays[1], arrays[2]


def _column(array: Any, name: str, numeric: bool) -> da.Array:
    lazy = as_dask_array(array, name) if is_dask(array) else da.from_array(np.asarray(array), -1)
    column = as_column(lazy, name, numeric)
    return da.map_blocks(_sound, column, name, dtype=column.dtype, meta=column._meta)


def _sound(values: Any, name: str) -> Any:
    """Return targets or weights as they are, or raise in scikit-learn's words."""
    kind = values.dtype.kind
    if kind in "biuU" or (kind == "f" and np.isfinite(values).all()):
        return values
    if kind == "O" and all(isinstance(label, str) for label in values):
        return values
    from sklearn.utils import assert_all_finite
    from sklearn.utils.multiclass import type_of_target

    refuse_missing(values, name)
    assert_all_finite(values, input_name=name)
    type_of_target(values, input_name=name)  # takes no bytes
    return values
