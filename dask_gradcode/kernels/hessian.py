"""One pass over rows: the Hessian of a linear model's loss, added in place.

It is ``sum_i x_i' D_i x_i`` with the curvature ``D_i`` of row ``i``: products of matrices, which is
what BLAS is best at. As for gradients, chunk borders depend on the rows alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dask_gradcode.kernels.chunks import row_chunks
from dask_gradcode.kernels.gradient import never
from dask_gradcode.kernels.rows import DenseRows, SparseRows, chunk_rows
from dask_gradcode.losses import Layout, Loss
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Matrix, Rows, Vector

__all__ = ["add_hessian"]

_ROWS_OF_A_COLUMN = 1 / 8
"""So many rows a chunk has at least for each column: else adding up Hessians, which takes time in
proportion to the square of the columns, would cost too much beside computing them."""


def add_hessian(
    loss: Loss,
    X: Rows,
    y: Vector,
    sample_weight: Vector | None,
    w: Vector,
    coefficient: float,
    total: Vector,
    should_stop: Callable[[], bool] = never,
    shift: Vector | None = None,
    run: slice | None = None,
) -> bool:
    """Add a multiple of a loss's Hessian over some rows to ``total``.

    Parameters
    ----------
    loss : Loss
        As for :func:`~dask_gradcode.kernels.add_value_and_gradient`; it has a curvature.
    X : ndarray or csr_array of shape (n_rows, n_features)
        Dense rows in C order.
    y : ndarray of shape (n_rows,)
        Targets.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.
    w : ndarray of shape (n_parameters,)
        The point.
    coefficient : float
        The multiple.
    total : ndarray of shape (Statistic.at(w, order=2).size,)
        A payload; the Hessian is added to it in place, the rest stays as it is.
    should_stop : callable, optional
        Asked between chunks of rows.
    shift : ndarray of shape (n_features,), optional
        The Hessian is that of dense columns from which this was taken: by ``coef`` and ``intercept
        + shift @ coef``.
    run : slice, optional
        Which rows. None: all of them.

    Returns
    -------
    bool
        False if ``should_stop`` said so: ``total`` is then of no use.

    Raises
    ------
    ValueError
        If ``w`` does not fit the rows.

    Examples
    --------
    >>> from dask_gradcode.losses import Squared
    >>> X, w = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros(2)
    >>> statistic = Statistic.at(w, order=2)
    >>> total = np.zeros(statistic.size)
    >>> add_hessian(Squared(), X, np.zeros(2), None, w, 1.0, total)
    True
    >>> statistic.hessian(total)
    array([[10., 14.],
           [14., 20.]])
    """
    n_features: int = X.shape[1]
    layout = loss.layout(n_features, w.size)
    coef, intercept, n_outputs = layout.coef(w), layout.intercept(w), layout.n_outputs
    step = max(chunk_rows(X, n_outputs), int(n_features * _ROWS_OF_A_COLUMN))
    hessian = np.zeros((layout.size, layout.size))
    for chunk, rows in row_chunks(X, run, step):
        if should_stop():
            return False
        z = rows.times(coef)
        if intercept.size:
            z += intercept
        curvature = loss.curvature(z if n_outputs > 1 else z[:, 0], y[chunk])
        curvature = curvature.reshape(len(z), n_outputs, n_outputs)
        if sample_weight is not None:
            curvature = curvature * sample_weight[chunk][:, None, None]
        if shift is not None:
            rows.centre(shift)
        for k in range(n_outputs):
            for m in range(k, n_outputs):
                pair = np.ascontiguousarray(curvature[:, k, m])
                if pair.any():  # outputs of a loss may have nothing to do with each other
                    _add_of_pair(rows, pair, layout, k, m, hessian)
    hessian *= coefficient
    Statistic.at(w, order=2).add_hessian(total, hessian)
    return True


def _add_of_pair(
    rows: DenseRows | SparseRows, curvature: Vector, layout: Layout, k: int, m: int, out: Matrix
) -> None:
    """Add the second derivatives by parameters of two outputs, ``k <= m``, above the diagonal."""
    n, width = layout.n_slopes, layout.n_outputs
    slopes_k, slopes_m = slice(k, n, width), slice(m, n, width)  # all columns', of an output
    rows.add_gram(curvature, out[slopes_k, slopes_m])
    if k != m:  # symmetric itself, it also stands where a column of m comes before one of k
        out[slopes_m, slopes_k] = out[slopes_k, slopes_m]
    if layout.has_intercept:
        column = np.zeros((layout.n_features, 1))
        rows.add_transposed(curvature[:, None], column)
        out[slopes_k, n + m] += column[:, 0]
        if k != m:
            out[slopes_m, n + k] += column[:, 0]
        out[n + k, n + m] += curvature.sum()
