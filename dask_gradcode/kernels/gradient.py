"""One pass over rows: the value of a linear model's loss and its gradient, added in place.

The pass goes in chunks of rows so that the rows are still in cache when the transposed product
reads them again, and so that a straggler can give up stale work between two chunks. Chunk borders
depend on the rows alone and BLAS runs on one thread, hence the same rows give the same bits on any
worker.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dask_gradcode.kernels.chunks import row_chunks
from dask_gradcode.kernels.rows import chunk_rows
from dask_gradcode.losses import Loss
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Rows, Vector

__all__ = ["add_value_and_gradient", "never"]


def never() -> bool:
    """Do not stop: the ``should_stop`` of work that is always wanted."""
    return False


def add_value_and_gradient(
    loss: Loss,
    X: Rows,
    y: Vector,
    sample_weight: Vector | None,
    w: Vector,
    coefficient: float,
    total: Vector,
    should_stop: Callable[[], bool] = never,
    run: slice | None = None,
    statistic: Statistic | None = None,
) -> bool:
    """Add a multiple of a loss's value and gradient over some rows to ``total``.

    Parameters
    ----------
    loss : Loss
        Sums ``sample_weight * loss(X @ coef + intercept, y)`` over the rows. Its values may have
        shape (n_points, n_rows), if the statistic has several points.
    X : ndarray or csr_array of shape (n_rows, n_features)
        Dense rows in C order.
    y : ndarray of shape (n_rows,)
        Targets.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.
    w : ndarray of shape (n_parameters,)
        Coefficients, intercepts if there are any, the loss's own parameters: in the order of
        :class:`~dask_gradcode.losses.Layout`.
    coefficient : float
        The multiple.
    total : ndarray of shape (statistic.size,)
        A payload; value and gradient are added to it in place.
    should_stop : callable, optional
        Asked between chunks of rows.
    run : slice, optional
        Which rows. None: all of them.
    statistic : Statistic, optional
        Where in the payload they are. None: one value and its gradient.

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
    >>> import numpy as np
    >>> from dask_gradcode.losses import Logistic
    >>> X, y = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    >>> total = np.zeros(2)
    >>> add_value_and_gradient(Logistic(), X, y, None, np.zeros(1), 1.0, total)
    True
    >>> total.round(3)
    array([ 1.386, -1.   ])
    """
    layout = loss.layout(X.shape[1], w.size)
    coef, intercept, own = layout.coef(w), layout.intercept(w), layout.own(w)
    n_outputs, statistic = layout.n_outputs, statistic or Statistic.at(w)
    total_value, gradient = statistic.value(total), statistic.gradient(total)
    step = chunk_rows(X, n_outputs)
    for chunk, rows in row_chunks(X, run, step):
        if should_stop():
            return False
        z = rows.times(coef)
        if intercept.size:
            z += intercept
        if own.size:
            z = np.hstack([z, np.broadcast_to(own, (len(z), own.size))])
        value, derivative = loss.pointwise(z if z.shape[1] > 1 else z[:, 0], y[chunk])
        derivative = derivative.reshape(z.shape)
        if sample_weight is not None:
            weight = sample_weight[chunk]
            value, derivative = value * weight, derivative * weight[:, None]
        total_value[()] += coefficient * value.sum(axis=-1)
        signed = coefficient * derivative  # coefficient x sample weight x derivative: one factor
        columns = signed.sum(axis=0) if z.shape[1] > 1 else [signed.sum()]
        if own.size:
            signed = np.ascontiguousarray(signed[:, :n_outputs])
        rows.add_transposed(signed, layout.coef(gradient))
        if intercept.size:
            layout.intercept(gradient)[:] += columns[:n_outputs]
        if own.size:
            layout.own(gradient)[:] += columns[n_outputs:]
    return True
