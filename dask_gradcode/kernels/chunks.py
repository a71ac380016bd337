"""Where the rows of a pass come from: from memory, or from elsewhere, a chunk at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from dask_gradcode.kernels.rows import DenseRows, SparseRows, is_sparse
from dask_gradcode.typing import Rows

__all__ = ["RowSource", "row_chunks"]


class RowSource(ABC):
    """Rows that do not lie in memory: a pass has them read, chunk by chunk.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    nnz : int or None
        How many values are stored; None if all of them.
    """

    shape: tuple[int, int]
    nnz: int | None

    @abstractmethod
    def read(self, chunks: Sequence[slice]) -> Iterator[Any]:
        """Yield the rows of each chunk, which are good until the next one is asked for.

        Dense ones as a matrix, sparse ones as the arrays ``(indptr, indices, values)`` of CSR.
        """


def row_chunks(
    X: Rows | RowSource, run: slice | None, step: int
) -> Iterator[tuple[slice, DenseRows | SparseRows]]:
    """Yield chunks of rows in order, each with its rows, ready for products.

    Parameters
    ----------
    X : ndarray, csr_array or RowSource of shape (n_rows, n_features)
        All rows.
    run : slice or None
        Which of them. None: all.
    step : int
        Rows of a chunk.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> for chunk, rows in row_chunks(X, None, step=2):
    ...     print(chunk, rows.times(np.ones((2, 1))).ravel())
    slice(0, 2, None) [1. 5.]
    slice(2, 3, None) [9.]
    """
    first, last, _ = (run or slice(None)).indices(X.shape[0])
    chunks = [slice(start, min(start + step, last)) for start in range(first, last, step)]
    sparse = is_sparse(X)
    if isinstance(X, RowSource):
        for chunk, part in zip(chunks, X.read(chunks), strict=True):
            yield chunk, SparseRows(part, X.shape[1]) if sparse else DenseRows(part)
        return
    for chunk in chunks:
        yield chunk, SparseRows.of(X, chunk) if sparse else DenseRows(X[chunk])
