"""A chunk as it comes, held to what its array or frame says of it, in NumPy's or SciPy's form.

Dask looks at a chunk's shape and at a partition's columns where it has made them itself; what a
user's function returned it takes on trust.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from dask_gradcode.cluster.data.frames import column_values, is_frame, listed
from dask_gradcode.cluster.data.stash import Stashed

__all__ = ["Column", "Expected", "Rows", "expected_of"]


@dataclass(frozen=True)
class Expected:
    """What an array or frame says of one of its chunks.

    Parameters
    ----------
    what : str
        The chunk, for the texts of errors.
    shape : tuple of float
        Its shape; NaN where that is not known.

    Examples
    --------
    >>> Expected("Chunk 2 of X", (2, 2)).rows([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 2.],
           [3., 4.]])
    >>> Expected("Chunk 1 of y", (3,)).column(np.ones((3, 1)))
    array([1., 1., 1.])
    """

    what: str
    shape: tuple[float, ...]

    def rows(self, chunk: Any) -> Any:
        """Return a chunk of rows as an ndarray or a CSR array of the shape that is expected.

        Parameters
        ----------
        chunk : ndarray, sparse array of scipy or of pydata, or nested list
            The chunk.

        Raises
        ------
        ValueError
            For another shape, and for a frame: which of its columns is which the array cannot say.
        """
        if isinstance(chunk, Stashed):
            chunk = chunk.rows[:]
        if is_frame(chunk):
            raise ValueError(
                f"{self.what} is a {type(chunk).__name__} with the columns "
                f"{listed(chunk.columns)} where its array has columns without names. Use "
                "chunk.to_numpy() in the function that makes the chunks, or a dask DataFrame of "
                "them (dask.dataframe.from_delayed)."
            )
        chunk = _plain(chunk)
        self._check(chunk.shape)
        if scipy.sparse.issparse(chunk) and not isinstance(chunk, scipy.sparse.csr_array):
            return scipy.sparse.csr_array(chunk)
        return chunk

    def column(self, chunk: Any) -> Any:
        """Return a chunk of targets or weights as an ndarray of shape (n_rows,).

        Parameters
        ----------
        chunk : array-like of shape (n_rows,) or (n_rows, 1), Series or frame
            The chunk.

        Raises
        ------
        ValueError
            If it has several columns, or another number of rows.
        """
        if is_frame(chunk) and chunk.shape[1] == 1:
            chunk = chunk.iloc[:, 0]
        is_series = hasattr(chunk, "iloc") and chunk.ndim == 1
        chunk = column_values(chunk) if is_series else _plain(chunk)
        if scipy.sparse.issparse(chunk):
            chunk = chunk.toarray()
        if chunk.ndim == 2 and chunk.shape[1] == 1:
            chunk = chunk[:, 0]
        self._check(chunk.shape)
        return chunk

    def _check(self, shape: tuple[int, ...]) -> None:
        agree = (
            np.isnan(said) or said == is_ for said, is_ in zip(self.shape, shape, strict=False)
        )
        if len(shape) != len(self.shape) or not all(agree):
            said = ", ".join("?" if np.isnan(n) else str(int(n)) for n in self.shape)
            raise ValueError(
                f"{self.what} has the shape {shape} where its array says "
                f"({said}{',' * (len(self.shape) == 1)}). What makes the chunks (map_blocks, "
                "from_delayed, ...) must return what the array says."
            )


def expected_of(name: str, block_info: Any) -> Expected:
    """Return what an array says of a chunk, of which ``map_blocks`` tells where it lies."""
    place, borders = block_info[0]["chunk-location"], block_info[0]["array-location"]
    which = place if sum(block_info[0]["num-chunks"][1:]) > len(place) - 1 else place[0]
    return Expected(f"Chunk {which} of {name}", tuple(stop - start for start, stop in borders))


class Rows:
    """Holds chunks of rows to the shape that their array says."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, chunk: Any, block_info: Any = None) -> Any:
        return expected_of(self._name, block_info).rows(chunk)


class Column:
    """Makes one column of each chunk of an array, or of each partition of a Series.

    A chunk of as many dimensions as its array has, and of ``dtype`` unless that is None.
    """

    def __init__(self, name: str, dtype: Any = None) -> None:
        self._name, self._dtype = name, dtype

    def __call__(self, chunk: Any, block_info: Any = None, partition_info: Any = None) -> Any:
        if partition_info is None:
            said = expected_of(self._name, block_info)
        else:
            said = Expected(f"Partition {partition_info['number']} of {self._name}", (np.nan,))
        column = Expected(said.what, said.shape[:1]).column(chunk)
        column = column if self._dtype is None else column.astype(self._dtype, copy=False)
        return column[:, None] if len(said.shape) == 2 else column


def _plain(chunk: Any) -> Any:
    """Return what is no frame as an ndarray, or as a sparse array of scipy where it is sparse."""
    if scipy.sparse.issparse(chunk):
        return chunk
    dense: Callable[[], Any] | None = getattr(chunk, "todense", None)
    if dense is None:
        return np.asarray(chunk)
    # of pydata's sparse, which need not be there: known by what it can do
    coordinates = chunk.to_coo() if hasattr(chunk, "to_coo") else chunk
    if chunk.ndim == 2 and chunk.fill_value == 0:
        return coordinates.to_scipy_sparse()
    return dense()
