"""Arrays and frames of any kind: what can be used, as one of the few forms that follow."""

from __future__ import annotations

from numbers import Real
from typing import Any

import dask.array as da
import dask.config
import numpy as np
import scipy.sparse
from dask.utils import format_bytes, parse_bytes

from dask_gradcode.checks import as_rows
from dask_gradcode.cluster.data.lazy import as_column, as_dask_array, held_to_shape, is_dask
from dask_gradcode.typing import Vector

__all__ = [
    "check_inputs",
    "check_lengths",
    "check_two_dimensional",
]


# ---------------------------------------------------------------- checks on the client


def check_inputs(X: Any, y: Any, sample_weight: Any, estimator: str) -> tuple[Any, Any, Any]:
    """Check what can be known before any work is sent, in scikit-learn's words.

    Parameters
    ----------
    X, y, sample_weight : array-like, dask array or dask frame
        As given by the user; ``sample_weight`` may be None.
    estimator : str
        The estimator that asks, for the texts.

    Returns
    -------
    X, y, sample_weight
        Either all dask arrays, or ndarrays (X perhaps a CSR array).

    Raises
    ------
    ValueError, TypeError
        With scikit-learn's own text where it has one.
    """
    if y is None:
        raise ValueError(
            f"This {estimator} estimator requires y to be passed, but the target y is None."
        )
    _check_names(X)
    if not is_dask(X):
        return _check_local(X, y, sample_weight, estimator)
    check_two_dimensional(X)
    X = as_dask_array(X, "X")
    y = as_column(_as_dask(y, "y", X), "y")
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{X}\n")
    if X.dtype.kind in "USV":
        raise ValueError(
            f"dtype='numeric' is not compatible with arrays of bytes/strings (got {X.dtype}). "
            "Convert your data to numeric values explicitly instead."
        )
    if X.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required "
            f"by {estimator}."
        )
    X = _whole_rows(X)
    check_lengths(X.shape[0], y.shape[0], estimator, X.shape)
    if isinstance(sample_weight, Real):
        sample_weight = y.map_blocks(_filled, float(sample_weight), dtype=np.float64)
    if sample_weight is not None:
        sample_weight = _as_dask(sample_weight, "sample_weight", X)
        if sample_weight.ndim != 1:
            raise ValueError(
                f"Sample weights must be 1D array or scalar, got {sample_weight.ndim}D array."
            )
        sample_weight = as_column(sample_weight, "sample_weight")
        if not np.isnan(sample_weight.shape[0] + y.shape[0]):
            if sample_weight.shape != y.shape:
                raise ValueError(
                    f"sample_weight.shape == {sample_weight.shape}, expected {y.shape}!"
                )
            sample_weight = sample_weight.rechunk(y.chunks)
        if sample_weight.numblocks != y.numblocks:
            raise ValueError(
                "Partitions between y and sample_weight are not consistent: "
                f"{y.numblocks[0]} != {sample_weight.numblocks[0]}, and some lengths are unknown. "
                "Use 'array.compute_chunk_sizes()', or columns of the same frame."
            )
    return X, y, sample_weight


def _check_names(X: Any) -> None:
    """Raise for a frame of which scikit-learn would not take the names of the columns."""
    if hasattr(X, "columns"):
        from sklearn.utils.validation import _get_feature_names

        _get_feature_names(getattr(X, "_meta", X))


def check_two_dimensional(X: Any) -> None:
    """Raise unless a dask collection has rows and columns."""
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead (a dask {type(X).__name__}).\n"
            "Reshape your data either using array.reshape(-1, 1) if your data has a single "
            "feature or array.reshape(1, -1) if it contains a single sample."
        )


def check_lengths(n_rows: float, n_targets: float, estimator: str, shape: tuple[Any, ...]) -> None:
    """Raise unless X and y have as many rows, and at least one; NaN stands for unknown."""
    if n_rows == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required "
            f"by {estimator}."
        )
    if not np.isnan(n_rows + n_targets) and n_rows != n_targets:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"[{int(n_rows)}, {int(n_targets)}]"
        )


def _check_local(X: Any, y: Any, sample_weight: Any, estimator: str) -> tuple[Any, Any, Any]:
    from sklearn.utils import check_array, check_consistent_length, column_or_1d
    from sklearn.utils.validation import _check_sample_weight

    X = as_rows(X, estimator)
    y = column_or_1d(np.asarray(y), warn=True)
    if y.dtype.kind == "f":
        check_array(y, ensure_2d=False, input_name="y", estimator=estimator)
    check_consistent_length(X, y)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    if scipy.sparse.issparse(X):
        X = scipy.sparse.csr_array(X)
    return X, y, sample_weight


def _whole_rows(X: da.Array) -> da.Array:
    """Put chunks of columns together, unless that would make chunks larger than Dask likes."""
    if X.numblocks[1] == 1:
        return X
    limit = parse_bytes(dask.config.get("array.chunk-size"))
    largest = max(X.chunks[0]) * X.shape[1] * X.dtype.itemsize  # NaN, never too large, if unknown
    if largest > limit:
        raise ValueError(
            "Chunking is only allowed on the first axis. Use 'array.rechunk({0: \"auto\", 1: -1})' "
            f"to rechunk to a single block along the second axis; with the rows as they are, a "
            f"chunk would have {format_bytes(int(largest))}."
        )
    return held_to_shape(X).rechunk({1: -1})


def _as_dask(array: Any, name: str, rows: da.Array) -> da.Array:
    """Return a dask array; a frame becomes one, an array in memory is cut like ``rows``."""
    if is_dask(array):
        return as_dask_array(array, name)
    array = np.asarray(array)
    if array.ndim == 0 or np.isnan(rows.shape[0]):
        return da.from_array(array, chunks=-1)
    chunks = rows.chunks[0] if len(array) == rows.shape[0] else -1
    return da.from_array(array, chunks=(chunks, *array.shape[1:]))


def _filled(rows: Any, value: float) -> Vector:
    return np.full(len(rows), value)
