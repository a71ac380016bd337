"""Several targets: they ride as further columns of the features, so that one round tells all.

Of the columns ``[X, Y]`` a Gram matrix has all that least squares of each target needs: ``X' X``,
``X' Y`` and ``Y' Y``. Codes, messages and kernels need not know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack, issparse

from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.typing import Rows

__all__ = ["beside", "beside_lazily", "flat", "is_column", "n_targets_of", "of_target"]


def n_targets_of(y: Any) -> int:
    """Return how many targets there are; 1 also for what is not two-dimensional.

    Parameters
    ----------
    y : array-like or dask collection of shape (n_samples,) or (n_samples, n_targets)
        Targets.

    Examples
    --------
    >>> n_targets_of([[1, 2], [3, 4], [5, 6]]), n_targets_of([1, 2, 3])
    (2, 1)
    """
    shape = _shape_of(y)
    return int(shape[1]) if len(shape) == 2 else 1


def is_column(y: Any) -> bool:
    """Say whether targets are a matrix of one column, of which scikit-learn keeps the shape."""
    shape = _shape_of(y)
    return len(shape) == 2 and shape[1] == 1


def _shape_of(y: Any) -> tuple[Any, ...]:
    """Return the shape of targets, which may be lazy; none of what is ragged."""
    shape: tuple[Any, ...] | None = getattr(y, "shape", None)
    if shape is None:
        try:
            shape = np.asarray(y).shape
        except ValueError:
            return ()
    return shape


def flat(y: Any) -> Any:
    """Return a column as a vector; a lazy one is taken as it is."""
    if is_dask(y) or not is_column(y):
        return y
    return y.iloc[:, 0] if hasattr(y, "iloc") else np.asarray(y)[:, 0]


def beside(X: Any, y: Any) -> Rows:
    """Return rows with their targets as further columns.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_rows, n_features)
        Features.
    y : ndarray or frame of shape (n_rows, n_targets)
        Targets.

    Examples
    --------
    >>> beside(np.eye(2), np.array([[3.0], [4.0]]))
    array([[1., 0., 3.],
           [0., 1., 4.]])
    """
    y = np.asarray(y)
    if issparse(X):
        return csr_array(hstack([csr_array(X), csr_array(y)], format="csr"))
    rows: Rows = np.ascontiguousarray(np.column_stack([X, y]))
    return rows


def beside_lazily(X: Any, y: Any) -> tuple[Any, Any]:
    """Return lazy rows with their targets as further columns, and the first of the targets.

    Parameters
    ----------
    X : dask array or frame of shape (n_samples, n_features)
        Features.
    y : dask array or frame, or array-like, of shape (n_samples, n_targets)
        Targets. In memory only where the chunks of ``X`` have known lengths.

    Raises
    ------
    ValueError
        If chunks do not fit.
    """
    import dask.array as da

    from dask_gradcode.cluster.data.lazy import as_dask_array, held_to_shape

    X = held_to_shape(as_dask_array(X, "X"))
    if is_dask(y):
        y = as_dask_array(y, "y")
    else:
        if np.isnan(X.shape[0]) or len(y) != X.shape[0]:
            raise ValueError(
                f"y has {len(y)} rows in memory, and X has {X.shape[0]} lazy ones: several targets "
                "must be lazy, too, where the lengths of chunks are unknown. Use da.from_array or "
                "dd.from_pandas with the chunks of X."
            )
        y = da.from_array(np.asarray(y), chunks=(X.chunks[0], -1))
    X, y = (a if a.numblocks[1] == 1 else a.rechunk({1: -1}) for a in (X, y))
    is_known = not (np.isnan(X.shape[0]) or np.isnan(y.shape[0]))
    if (X.numblocks[0] != y.numblocks[0] and not is_known) or (is_known and len(X) != len(y)):
        raise ValueError(
            f"X has {X.shape[0]} rows in {X.numblocks[0]} chunks, y {y.shape[0]} in "
            f"{y.numblocks[0]}: they must be the same rows."
        )
    if is_known and X.chunks[0] != y.chunks[0]:
        y = y.rechunk({0: X.chunks[0]})
    rows = da.map_blocks(
        beside,
        X,
        y,
        dtype=np.result_type(X.dtype, y.dtype),
        chunks=(X.chunks[0], (X.shape[1] + y.shape[1],)),
        meta=X._meta,
    )
    return rows, y[:, 0]


def of_target(whole: Quadratic, n_features: int, target: int) -> Quadratic:
    """Return half the squared residuals of one target, as a function of its coefficients.

    Parameters
    ----------
    whole : Quadratic
        Its Hessian is the Gram matrix of features and targets side by side.
    n_features : int
        Features.
    target : int
        Which target.

    Examples
    --------
    >>> rows = beside(np.eye(2), np.array([[3.0], [4.0]]))
    >>> gram = Quadratic(np.zeros(3), 0.0, np.zeros(3), rows.T @ rows)
    >>> of_target(gram, 2, 0).least()
    array([3., 4.])
    """
    n, column = n_features, n_features + target
    gram = whole.hessian
    return Quadratic(
        np.zeros(n), 0.5 * float(gram[column, column]), -gram[:n, column], gram[:n, :n]
    )
