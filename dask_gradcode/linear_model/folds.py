"""Rows with the number of their fold as a further column, which travels with them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, check_cv

from dask_gradcode.linear_model.several import beside, beside_lazily
from dask_gradcode.typing import Rows

__all__ = ["beside_folds", "beside_lazy_folds", "fold_numbers", "in_words"]

_Numbers = NDArray[np.intp]
_INSTEAD = "GridSearchCV(CodedRidge(), {'alpha': alphas}, cv=cv)"


def beside_folds(cv: Any, X: Any, y: Any) -> tuple[Rows, _Numbers]:
    """Return rows with the numbers of their folds, and how many rows each fold has.

    Parameters
    ----------
    cv : int, splitter or iterable
        As scikit-learn takes it.
    X : ndarray or sparse array of shape (n_samples, n_features)
        Rows of floating-point numbers.
    y : ndarray of shape (n_samples,)
        Targets.

    Returns
    -------
    rows : ndarray or csr_array of shape (n_samples, n_features + 1)
        The rows.
    sizes : ndarray of int, shape (n_folds,)
        Rows of each fold.

    Raises
    ------
    ValueError
        If a row is not held out once, or a fold is not trained on all others.

    Examples
    --------
    >>> beside_folds(2, np.zeros((3, 1)), np.zeros(3))
    (array([[0., 0.],
           [0., 0.],
           [0., 1.]]), array([2, 1]))
    """
    numbers, n_folds = fold_numbers(cv, X, y, instead=_INSTEAD)
    rows = beside(X, numbers[:, None].astype(X.dtype))
    return rows, np.bincount(numbers, minlength=n_folds)


def fold_numbers(
    cv: Any, X: Any, y: Any, *, instead: str, classifier: bool = False
) -> tuple[_Numbers, int]:
    """Return in which fold each row is held out, and how many folds there are.

    Parameters
    ----------
    cv : int, splitter or iterable
        As scikit-learn takes it.
    X : ndarray or sparse array of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Targets.
    instead : str
        What to use where folds are others, for the text of the error.
    classifier : bool, default=False
        Whether a number of folds stands for stratified ones.

    Raises
    ------
    ValueError
        If a row is not held out once, or a fold is not trained on all others.

    Examples
    --------
    >>> fold_numbers(2, np.zeros((3, 1)), np.zeros(3), instead="GridSearchCV")
    (array([0, 0, 1]), 2)
    """

    def refuse(what: str) -> None:
        raise ValueError(
            "cv must hold out each row once and train on all others, as KFold does, so that rounds "
            f"serve all folds; here {what}. Use {instead}."
        )

    rows, n_folds = np.arange(X.shape[0]), 0
    numbers, times = np.zeros((2, len(rows)), dtype=np.intp)
    for n_folds, (train, test) in enumerate(check_cv(cv, y, classifier=classifier).split(X, y), 1):
        train, test = rows[train], rows[test]  # they may be masks
        if not (np.bincount(np.append(train, test), minlength=len(rows)) == 1).all():
            refuse(f"fold {n_folds - 1} is not trained on all rows but its own")
        numbers[test] = n_folds - 1
        times[test] += 1
    if n_folds < 2:
        refuse("there are fewer than two folds")
    if not (times == 1).all():
        refuse(f"a row is held out {times[times != 1][0]} times")
    return numbers, n_folds


def in_words(cv: Any) -> str:
    """Return what an error says of folds: a list of them is too long."""
    return f"cv={cv!r}" if hasattr(cv, "split") else f"cv of type {type(cv).__name__}"


def beside_lazy_folds(cv: Any, X: Any) -> tuple[Any, _Numbers]:
    """Return lazy rows with the numbers of their folds, and how many rows each fold has.

    Parameters
    ----------
    cv : int or KFold
        Which does not shuffle: folds are runs of rows.
    X : dask array or frame of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    rows : dask array of shape (n_samples, n_features + 1)
        The rows.
    sizes : ndarray of int, shape (n_folds,)
        Rows of each fold.

    Raises
    ------
    ValueError
        For other splitters, unknown lengths, and fewer rows than folds.

    Examples
    --------
    >>> import dask.array as da
    >>> beside_lazy_folds(2, da.zeros((3, 1), chunks=2))[0].compute()
    array([[0., 0.],
           [0., 0.],
           [0., 1.]])
    """
    import dask.array as da

    from dask_gradcode.cluster.data.lazy import as_dask_array

    X = as_dask_array(X, "X")
    splitter = check_cv(cv, classifier=False)
    if not isinstance(splitter, KFold) or splitter.shuffle:
        raise ValueError(
            "Of dask data folds are runs of rows, so cv must be a number of them or KFold without "
            f"shuffle, got {in_words(cv)}. Use None for leave-one-out, or data in memory."
        )
    n_samples, n_folds = X.shape[0], splitter.get_n_splits()
    if np.isnan(n_samples):
        raise ValueError(
            "Of dask data folds are runs of rows, so the lengths of chunks must be known. Use "
            "X.compute_chunk_sizes() for an array, X.to_dask_array(lengths=True) for a frame, and "
            "y likewise."
        )
    if n_folds > n_samples:
        raise ValueError(
            f"Cannot have number of splits n_splits={n_folds} greater than the number of samples: "
            f"n_samples={n_samples}."
        )
    sizes = np.full(n_folds, n_samples // n_folds)
    sizes[: n_samples % n_folds] += 1
    ends = np.cumsum(sizes)
    places = da.arange(n_samples, chunks=(X.chunks[0],))
    numbers = places.map_blocks(partial(np.searchsorted, ends, side="right"), dtype=np.intp)
    numbers = numbers[:, None].astype(np.result_type(X.dtype, np.float32))
    return beside_lazily(X, numbers)[0], sizes
