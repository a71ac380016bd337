"""Dask collections, each chunk of which is held to what the collection says when it is computed."""

from __future__ import annotations

from contextvars import Context
from typing import Any

import dask.array as da
import numpy as np
from dask.base import is_dask_collection, tokenize

from dask_gradcode.cluster.data.chunk import Column, Rows
from dask_gradcode.cluster.data.frames import FrameRows, column_values

__all__ = ["as_column", "as_dask_array", "held_to_shape", "is_dask"]


def is_dask(array: Any) -> bool:
    """Say whether something is a dask collection."""
    return bool(is_dask_collection(array))


def as_dask_array(collection: Any, name: str) -> da.Array:
    """Return a dask array of what a dask frame, Series or array holds.

    Parameters
    ----------
    collection : dask array, frame or Series
        In every partition of a frame columns are taken by name.
    name : str
        What it is, for the texts of errors.
    """
    if isinstance(collection, da.Array):
        return collection
    meta = collection._meta
    function: Any = Column(name) if meta.ndim == 1 else FrameRows(name, meta)
    like = column_values(meta) if meta.ndim == 1 else function.empty
    # Dask warns that frames ignore annotations, as is the span of a fit: here there are none.
    map_partitions = collection.map_partitions
    array: da.Array = Context().run(map_partitions, function, meta=like, token=f"{name}-values")
    return array


def as_column(y: da.Array, name: str, numeric: bool = False) -> da.Array:
    """Return a dask array of shape (n_rows,) of one of shape (n_rows,) or (n_rows, 1).

    Parameters
    ----------
    y : dask array
        Targets or weights. Each chunk may have one dimension or be a single column.
    name : str
        What they are, for the texts of errors.
    numeric : bool, default=False
        Whether numbers are wanted, where chunks hold objects.
    """
    if y.ndim not in (1, 2) or y.shape[1:] not in ((), (1,)):
        raise ValueError(f"{name} should be a 1d array, got an array of shape {y.shape} instead.")
    dtype = np.dtype(float) if numeric and y.dtype.kind not in "biuf" else y.dtype
    function = Column(name, dtype if numeric else None)
    like, token = np.empty((0,) * y.ndim, dtype), f"{name}-column"
    column = da.map_blocks(function, y, meta=like, dtype=dtype, token=token)
    return column[:, 0] if y.ndim == 2 else column


def held_to_shape(X: da.Array, reader: Any = None) -> da.Array:
    """Return the same rows, each chunk of which is looked at before Dask does anything with it.

    Parameters
    ----------
    X : dask array of shape (n_samples, n_features)
        The rows.
    reader : object, optional
        What reads them. Dask fuses tasks by what is computed of them: were a fit's tasks and a
        prediction's of one name, the second would meet another task of that name where the first
        are not yet forgotten, and some would stay on the scheduler for good.
    """
    name = f"X-rows-{tokenize(X, reader)}"
    return da.map_blocks(Rows("X"), X, meta=X._meta, dtype=X.dtype, name=name)
