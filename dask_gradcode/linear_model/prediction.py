"""Prediction: at once for data in memory, lazily for dask collections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from dask_gradcode.linear_model.inputs import is_dask

__all__ = ["predict_with"]


def predict_with(
    estimator: Any, function: Callable[[Any], Any], X: Any, like: Any, names: Any = None
) -> Any:
    """Apply a function to rows, chunk by chunk and lazily where they are dask's.

    Parameters
    ----------
    estimator : estimator
        Must be fitted, on as many features with the same names.
    function : callable
        From an array of shape (n_rows, n_features) to one of n_rows rows.
    X : array-like, CSR array or dask collection of shape (n_samples, n_features)
        The rows.
    like : ndarray of shape (0,) or (0, n_columns)
        Has the dtype and the columns of the result.
    names : array-like of length n_columns, optional
        Names of the columns, used where X is a dask frame.

    Returns
    -------
    ndarray, dask array, dask Series or dask DataFrame
        A Series, or with columns a DataFrame, with the index of X, for a dask frame.
    """
    check_is_fitted(estimator, "coef_")
    if not is_dask(X):
        return function(validate_data(estimator, X, accept_sparse="csr", reset=False))
    from dask_gradcode.cluster.data.forms import check_two_dimensional
    from dask_gradcode.cluster.predict import lazily

    check_two_dimensional(X)
    _check_feature_names(estimator, X._meta, reset=False)
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return lazily(function, X, like, names, estimator=type(estimator).__name__)
