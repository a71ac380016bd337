"""Partitions of frames: their columns taken by name, and values of pandas' own types as NumPy's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from dask_gradcode.checks import refuse_words

__all__ = ["FrameRows", "by_name", "column_values", "frame_values", "is_frame", "listed"]

SHOWN = 5  # names in the text of an error


class FrameRows:
    """Makes rows of the partitions of a frame, whose columns are taken by name.

    Parameters
    ----------
    name : str
        What the frame is, for the texts of errors.
    meta : frame
        Its meta: says the columns and their order.
    """

    def __init__(self, name: str, meta: Any) -> None:
        self._name, self._columns = name, list(meta.columns)
        values = frame_values(meta)
        self.empty = np.empty(values.shape, values.dtype)

    def __call__(self, part: Any, partition_info: Any = None) -> Any:
        if hasattr(part, "__len__") and len(part) == 0:  # Dask has it that these look like anything
            return self.empty
        what = f"Partition {partition_info['number']} of {self._name}"
        part = by_name(part, self._columns, what)
        values = frame_values(part)
        if values.dtype == object:
            refuse_words(part, f"{what[0].lower()}{what[1:]}")
        return values


def by_name(part: Any, names: Sequence[Hashable], what: str) -> Any:
    """Return a partition with the columns of its frame, in their order.

    Parameters
    ----------
    part : frame
        The partition.
    names : sequence of hashable
        The columns that the dask frame says it has.
    what : str
        The partition, for the texts of errors.

    Raises
    ------
    ValueError
        If it has not each of these columns once and no other one.
    """
    if not is_frame(part):
        raise ValueError(
            f"{what} is a {type(part).__name__} where its frame has the columns {listed(names)}."
        )
    there = list(part.columns)
    if there == list(names):
        return part
    said, has = Counter(names), Counter(there)
    faults = {
        "missing": said - has,
        "not in the frame": has - said,
        "more than once": [name for name, n in has.items() if n > 1],
    }
    if any(faults.values()):
        found = "; ".join(f"{fault}: {listed(them)}" for fault, them in faults.items() if them)
        raise ValueError(
            f"{what} has other columns than its frame ({found}). What makes the partitions "
            "(map_partitions, from_delayed, ...) must return the columns of its meta."
        )
    place = {name: index for index, name in enumerate(there)}
    return part.iloc[:, [place[name] for name in names]]


def frame_values(part: Any) -> Any:
    """Return the values of a pandas frame: a CSR array if all its columns are sparse.

    Of columns of pandas' own types, Dask would make objects.
    """
    import pandas as pd

    columns = [column for _, column in part.items()]
    if columns and all(isinstance(column.dtype, pd.SparseDtype) for column in columns):
        return scipy.sparse.csr_array(part.sparse.to_coo())
    if all(isinstance(column.dtype, np.dtype) for column in columns):
        return part.to_numpy()
    plain = {index: column_values(column) for index, column in enumerate(columns)}
    return pd.DataFrame(plain, index=part.index).to_numpy()


def column_values(column: Any) -> Any:
    """Return the values of a pandas Series, with NumPy's dtype and NaN for what is missing."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, np.dtype | pd.SparseDtype | pd.CategoricalDtype):
        return np.asarray(column)
    if not pd.api.types.is_numeric_dtype(dtype):
        missing = column.isna().to_numpy()
        values = np.array(column, dtype=object) if missing.any() else np.asarray(column)
        if missing.any():
            values[missing] = np.nan
        return values
    whole = not column.isna().any()
    wanted = dtype.numpy_dtype if whole else np.float64
    return column.to_numpy(dtype=wanted, **({} if whole else {"na_value": np.nan}))


def is_frame(chunk: Any) -> bool:
    """Say whether something is a frame, without loading pandas to find out."""
    return hasattr(chunk, "columns") and hasattr(chunk, "iloc")


def listed(names: Iterable[Hashable]) -> str:
    """Return names as the text of an error shows them: the first ones."""
    names = list(names)
    rest = f", and {len(names) - SHOWN} more" * (len(names) > SHOWN)
    return ", ".join(map(repr, names[:SHOWN])) + rest
