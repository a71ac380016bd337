"""Rows that have been written to a file, and where in it they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dask_gradcode.cluster.data.row_file import ALL_ONES, Extent, RowFile
from dask_gradcode.cluster.data.stored import Part
from dask_gradcode.kernels import are_ones

__all__ = ["Written", "write_rows"]


@dataclass(frozen=True)
class Written:
    """What has been written: rows, and for a copy of a block's rows their targets and weights.

    Parameters
    ----------
    rows : Part
        Where the rows are.
    seen : ndarray of uint8 or None
        Of CSR: bits that say which columns have a stored value.
    y, sample_weight : Extent or None
        Where they are, if they are there.
    """

    rows: Part
    seen: NDArray[np.uint8] | None
    y: Extent | None = None
    sample_weight: Extent | None = None


def write_rows(file: RowFile, rows: Any) -> Written:
    """Write rows, dense or CSR, as they are read: float32 stays, all else becomes float64.

    Parameters
    ----------
    file : RowFile
        Where to.
    rows : ndarray or csr_array of shape (n_rows, n_columns)
        What to write.
    """
    dtype = np.float32 if rows.dtype == np.float32 else np.float64
    n_rows, n_columns = rows.shape
    if not scipy.sparse.issparse(rows):
        values = file.append(np.require(rows, dtype=dtype, requirements="C").reshape(-1))
        return Written(Part(file, values, n_columns, 0, n_rows), None)
    seen = np.zeros(n_columns, dtype=bool)
    seen[rows.indices] = True
    index = np.int32 if n_columns < 2**31 else np.int64
    extents = (
        Extent(ALL_ONES, rows.nnz, np.dtype(dtype))
        if are_ones(rows.data)
        else file.append(rows.data.astype(dtype, copy=False)),
        file.append(rows.indices.astype(index, copy=False)),
        file.append(rows.indptr.astype(np.int64, copy=False)),
    )
    values, indices, indptr = extents
    part = Part(file, values, n_columns, 0, n_rows, indices, indptr, 0, rows.nnz)
    return Written(part, np.packbits(seen))
