"""Runs of rows that are added up apart, so that several threads can share a block."""

from __future__ import annotations

from dask_gradcode.kernels.rows import CHUNK_VALUES, pass_values
from dask_gradcode.typing import Rows

__all__ = ["MAX_RUNS", "runs_of_rows"]

MAX_RUNS = 8

_LEAST = 2 * CHUNK_VALUES  # of a run: about a millisecond's work, beside which a call is none
_VALUES_OF_ENTRY = 40  # to fill and to add an entry takes as long as 2 values: 5 % of so many


def runs_of_rows(X: Rows, n_outputs: int, size: int) -> list[slice]:
    """Return runs of rows, in order, each of which is worth an array of its own for its sums.

    Their number is a power of two and depends on the data alone, so that the bits of the sum do,
    too: there are fewer than :data:`MAX_RUNS` where rows are few, or where to add up the arrays
    would take more than 5 % of the pass.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
        The rows.
    n_outputs : int
        Coefficients of a column.
    size : int
        Entries of an array.

    Examples
    --------
    >>> import numpy as np
    >>> runs_of_rows(np.zeros((20_000, 100)), 1, 101)
    [slice(0, 10000, None), slice(10000, 20000, None)]
    >>> runs_of_rows(np.zeros((2_000, 1000)), 1, 1001)
    [slice(0, 1000, None), slice(1000, 2000, None)]
    >>> len(runs_of_rows(np.zeros((20, 100_000)), 1, 100_001))
    1
    """
    n_rows: int = X.shape[0]
    n_values, n = pass_values(X, n_outputs), 1
    while n < MAX_RUNS and n_values >= max(2 * n * _LEAST, (2 * n - 1) * size * _VALUES_OF_ENTRY):
        n *= 2
    return [slice(n_rows * i // n, n_rows * (i + 1) // n) for i in range(n)]
