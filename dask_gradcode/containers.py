"""What holds rows and what does not: data that must be turned into an array or a frame first."""

from __future__ import annotations

import sys
from os import PathLike
from typing import Any

__all__ = ["check_containers"]

_FIXES = {
    "Delayed": "Use dask.array.from_delayed({name}, shape, dtype), or {name}.compute().",
    "Bag": "Use {name}.to_dataframe(), or dask.array.from_array of what it holds.",
    "Future": "Use {name}.result(), or dask.array.from_delayed(dask.delayed({name}), shape, dtype)"
    ".",
    "path": "Load it first.",
    "collection": "Use a dask array, or a dask DataFrame or Series.",
    "DataArray of xarray": "Use {name}.data.",
    "Dataset of xarray": "Use {name}.to_dataframe(), or {name}.to_dask_dataframe().",
    "sparse array of pydata": "Use {name}.todense(), or for rows {name}.asformat('coo')"
    ".to_scipy_sparse().",
}
_FIXES_OF_LISTS = {
    "Array": "Use dask.array.concatenate({name}).",
    "DataFrame": "Use dask.dataframe.concat({name}).",
    "Series": "Use dask.dataframe.concat({name}).",
    "Delayed": "Use dask.array.concatenate([dask.array.from_delayed(part, shape, dtype) "
    "for part in {name}]).",
    "Future": "Use numpy.concatenate(client.gather({name})).",
    "DataArray of xarray": "Use dask.array.concatenate([part.data for part in {name}]).",
    "Dataset of xarray": "Use pandas.concat([part.to_dataframe() for part in {name}]).",
    "sparse array of pydata": "Use numpy.concatenate([part.todense() for part in {name}]).",
    "collection": "Use one dask array, or one dask DataFrame or Series.",
}


def check_containers(**given: Any) -> None:
    """Raise for what is no array and no frame but a promise, or a place, of one.

    Parameters
    ----------
    **given
        Arrays, frames, collections or whatever a user passes, by name; None is passed over.

    Raises
    ------
    TypeError
        With what to pass instead.

    Examples
    --------
    >>> check_containers(X="rows.csv")
    Traceback (most recent call last):
    TypeError: X must be an array, a frame or a dask collection of rows, got a path. Load it first.
    """
    for name, value in given.items():
        kind, fix = _kind(value), None
        if kind is not None and kind not in ("Array", "DataFrame", "Series"):
            fix = _FIXES[kind]
        elif isinstance(value, (list, tuple)) and value and (kind := _kind(value[0])) is not None:
            fix = _FIXES_OF_LISTS.get(kind)
            kind = f"{type(value).__name__} of {kind} objects"
        if fix is not None:
            raise TypeError(
                f"{name} must be an array, a frame or a dask collection of rows, got a {kind}. "
                f"{fix.format(name=name)}"
            )


def _kind(value: Any) -> str | None:
    """Return what an object is, if it holds no rows as it is; None of any other."""
    if isinstance(value, (str, bytes, PathLike)):
        return "path"
    if (kind := _guest(value)) is not None:
        return kind
    distributed, dask = sys.modules.get("distributed"), sys.modules.get("dask")
    if distributed is not None and isinstance(value, distributed.Future):
        return "Future"
    if dask is None or not dask.is_dask_collection(value):
        return None
    kind = type(value).__name__
    kind = "Delayed" if kind.startswith("Delayed") else kind
    if kind in _FIXES or kind in _FIXES_OF_LISTS:
        return kind
    has_rows = hasattr(value, "ndim") and (hasattr(value, "dtype") or hasattr(value, "dtypes"))
    return "Array" if has_rows else "collection"


def _guest(value: Any) -> str | None:
    """Return what an object of xarray's or pydata's sparse is, neither of which need be here.

    A DataArray around an ndarray is one to NumPy, and is taken as scikit-learn takes it.
    """
    xarray, sparse = sys.modules.get("xarray"), sys.modules.get("sparse")
    if xarray is not None and isinstance(value, xarray.Dataset):
        return "Dataset of xarray"
    if xarray is not None and isinstance(value, xarray.DataArray):
        lies_in_memory = value.chunks is None and _guest(value.data) is None
        return None if lies_in_memory else "DataArray of xarray"
    if sparse is not None and isinstance(value, sparse.SparseArray):
        return "sparse array of pydata"
    return None
