"""Labels with the folds of cross-validation, of data in memory and of dask data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, check_cv

from dask_gradcode.linear_model.folds import fold_numbers, in_words
from dask_gradcode.linear_model.pairs import Pairs, paired_lazily, seen_lazily
from dask_gradcode.targets import Targets

__all__ = ["folds_of", "seen_on_workers", "stratified_on_workers"]

_INSTEAD = "GridSearchCV(CodedLogisticRegression(), {'C': Cs}, cv=cv)"


def folds_of(cv: Any, X: Any, y: Any, labels: Any) -> tuple[NDArray[np.intp], Pairs]:
    """Return labels with their folds, as one number a row, and what the numbers mean.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        As scikit-learn takes it.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Their labels.
    labels : ndarray of shape (n_labels,)
        Which there are, sorted.

    Raises
    ------
    ValueError
        If a row is not held out once, or a fold is not trained on all others.

    Examples
    --------
    >>> X, y = np.zeros((5, 1)), np.array(["a", "a", "b", "b", "a"])
    >>> folds_of(2, X, y, np.array(["a", "b"]))[0]
    array([0, 0, 1, 3, 2])
    """
    numbers, n_folds = fold_numbers(cv, X, y, instead=_INSTEAD, classifier=True)
    pairs = Pairs(labels, n_folds)
    return pairs.of(y, numbers), pairs


def seen_on_workers(y: Any, estimator: str, client: Any) -> tuple[Any, Targets, Any]:
    """Return lazy labels as a dask array, what they are, and what each chunk of them is.

    Parameters
    ----------
    y : dask array, Series or frame of one column
        Labels.
    estimator : str
        The estimator that asks, for the texts of errors.
    client : distributed.Client, str or None
        Its cluster looks at them; None is the current one's.
    """
    from dask_gradcode.cluster.client.computing import computing
    from dask_gradcode.cluster.data.lazy import as_column, as_dask_array

    lazy = as_column(as_dask_array(y, "y"), "y")
    with computing(client, y=y):
        return lazy, *seen_lazily(lazy, estimator)


def stratified_on_workers(
    cv: Any, y: Any, targets: Targets, chunks: Any, estimator: str
) -> tuple[Any, Pairs]:
    """Return lazy labels with their folds, as one number a row, and what the numbers mean.

    Parameters
    ----------
    cv : int, StratifiedKFold or None
        Which does not shuffle. None is 5.
    y, targets, chunks
        As :func:`seen_on_workers` returns them.
    estimator : str
        The estimator that asks, for the texts of errors.

    Raises
    ------
    ValueError
        For other splitters, and where no label has a row for each fold.

    Warns
    -----
    UserWarning
        If some label has fewer.
    """
    splitter = check_cv(cv, targets.labels[:2], classifier=True)
    if type(splitter) is not StratifiedKFold or splitter.shuffle:
        raise ValueError(
            "Of dask data workers assign the folds, so cv must be a number of them or "
            f"StratifiedKFold without shuffle, got {in_words(cv)}. Use y in memory for others."
        )
    n_folds = splitter.get_n_splits()
    if n_folds > targets.counts.max():
        raise ValueError(
            f"n_splits={n_folds} cannot be greater than the number of members in each class."
        )
    if n_folds > targets.counts.min():
        warnings.warn(
            f"The least populated class in y has only {targets.counts.min()} members, which is "
            f"less than n_splits={n_folds}.",
            UserWarning,
            stacklevel=5,
        )
    pairs = Pairs(targets.labels, n_folds)
    return paired_lazily(y, pairs, chunks, estimator), pairs
