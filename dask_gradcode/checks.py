"""scikit-learn's checks of arrays, which load scikit-learn only for what is not plainly right.

Workers check their chunks, and scikit-learn would cost each of them more memory than all else they
import. An array that passes is passed by a few looks at it; for any other scikit-learn is asked,
which takes it or says in its own words what is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from dask_gradcode.typing import Vector

__all__ = [
    "as_rows",
    "as_targets",
    "as_weights",
    "kind_of_targets",
    "refuse_missing",
    "refuse_words",
]

NUMBERS = "biuf"
"""The kinds of dtypes that are numbers."""


def as_rows(
    X: Any, estimator: str, *, ensure_min_samples: int = 1, ensure_all_finite: bool = True
) -> Any:
    """Return X as scikit-learn wants rows: 2-D, dense or CSR, of float64 or float32.

    Parameters
    ----------
    X : array-like or sparse array of shape (n_samples, n_features)
        In memory.
    estimator : str
        The estimator that asks, for the texts of errors.
    ensure_min_samples, ensure_all_finite
        As in ``sklearn.utils.check_array``.

    Returns
    -------
    ndarray or CSR array of shape (n_samples, n_features)
        X itself where it is right.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words; with a column's name, if it holds anything but numbers.

    Examples
    --------
    >>> as_rows(np.array([[1, 2]]), "me")
    array([[1., 2.]])
    """
    if _is_plain(X, 2) and X.shape[0] >= ensure_min_samples and X.shape[1] >= 1:
        values = X if isinstance(X, np.ndarray) else X.data
        if not ensure_all_finite or _is_finite(values):
            X = np.asarray(X) if isinstance(X, np.ndarray) else X
            return X if X.dtype in (np.float64, np.float32) else X.astype(np.float64)
    from sklearn.utils import check_array

    try:
        return check_array(
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            estimator=estimator,
            input_name="X",
            ensure_min_samples=ensure_min_samples,
            ensure_all_finite=ensure_all_finite,
        )
    except (ValueError, TypeError):
        refuse_words(X)
        raise


def refuse_words(X: Any, what: str = "X") -> None:
    """Raise for a column that holds anything but numbers: all of X would not say which.

    Parameters
    ----------
    X : pandas frame or ndarray of shape (n_rows, n_features)
        Anything else is passed over.
    what : str, default="X"
        What it is, for the text.

    Raises
    ------
    ValueError, TypeError
        With NumPy's reason.

    Examples
    --------
    >>> refuse_words(np.array([[1, "Rome"]], dtype=object))
    Traceback (most recent call last):
    ValueError: Column 1 of X must hold numbers: could not convert string to float: 'Rome'. Encode \
it, as by sklearn.preprocessing.OneHotEncoder or dask.dataframe.get_dummies, or leave it out.
    """
    columns: Any = ()
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        columns = ((n, c.to_numpy(dtype=object, na_value=np.nan)) for n, c in X.items())
    elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OSU":
        columns = enumerate(X.T)
    for name, values in columns:
        try:
            values.astype(np.float64)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"Column {name!r} of {what} must hold numbers: {error}. Encode it, as by "
                "sklearn.preprocessing.OneHotEncoder or dask.dataframe.get_dummies, or leave it "
                "out."
            ) from None


def as_targets(y: Any, estimator: str) -> Any:
    """Return targets as an array of shape (n_rows,), finite where they are numbers.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    y = np.asarray(y)
    if y.ndim == 1 and (y.dtype.kind not in "fO" or _is_finite(y)):
        return y
    from sklearn.utils import check_array, column_or_1d

    y = column_or_1d(y)
    if y.dtype.kind == "f":
        check_array(y, ensure_2d=False, ensure_min_samples=0, input_name="y", estimator=estimator)
    refuse_missing(y, "y")
    return y


def refuse_missing(values: Any, name: str) -> None:
    """Raise for objects of which some are missing: None, NaN, or pandas' NA and NaT.

    scikit-learn fails at most of them where it sorts or compares them, in words of neither.

    Parameters
    ----------
    values : array-like
        Numbers and strings are passed over.
    name : str
        What they are, for the text.

    Raises
    ------
    ValueError
        In scikit-learn's words for numbers.

    Examples
    --------
    >>> refuse_missing(["a", None], "y")
    Traceback (most recent call last):
    ValueError: Input y contains NaN.
    """
    values = np.asarray(values)
    if values.dtype.kind == "O" and any(_is_missing(value) for value in values.flat):
        raise ValueError(f"Input {name} contains NaN.")


def as_weights(sample_weight: Any, y: Any) -> Vector:
    """Return sample weights as an array of shape (n_rows,): finite and none negative.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,) or float
        Weights.
    y : ndarray of shape (n_rows,)
        What they weigh.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words.
    """
    weights: Vector
    if _is_plain(sample_weight, 1) and sample_weight.shape == y.shape and _is_finite(sample_weight):
        weights = np.ascontiguousarray(sample_weight, dtype=np.float64)
        if not (weights < 0.0).any():
            return weights
    from sklearn.utils.validation import _check_sample_weight

    weights = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    return weights


def kind_of_targets(y: Any) -> str:
    """Return scikit-learn's ``type_of_target``.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        At least one target, finite where they are numbers.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words, where it knows no such kind.

    Examples
    --------
    >>> [kind_of_targets(np.array(y)) for y in ([0, 1], [0, 1, 2], [0.5], ["a"])]
    ['binary', 'multiclass', 'continuous', 'binary']
    """
    plain = y.dtype.kind in f"{NUMBERS}U"
    if y.dtype.kind == "f":
        whole = y == np.trunc(y)
        if not whole.all():
            return "continuous"
        plain = not (
            np.abs(y) >= np.float64(2.0**63)
        ).any()  # those are no whole numbers to scikit-learn
    if y.dtype.kind == "O":
        plain = _is_finite(y)  # strings all of them
    if plain:
        return "binary" if len(np.unique(y)) <= 2 else "multiclass"
    from sklearn.utils.multiclass import type_of_target

    with np.errstate(invalid="ignore"):  # it casts those of 2 ** 63 and more to integers
        return str(type_of_target(y, input_name="y"))


def _is_plain(array: Any, ndim: int) -> bool:
    """Say whether an array is of a type, a dtype and a dimension that need no conversion."""
    if type(array) not in (np.ndarray, np.memmap, csr_array, csr_matrix):
        return False
    return array.ndim == ndim and array.dtype.kind in NUMBERS


def _is_missing(value: Any) -> bool:
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas' own


def _is_finite(values: Any) -> bool:
    if values.dtype.kind == "O":
        return all(isinstance(value, str) for value in values)
    if values.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):  # one pass without a mask, mostly: a sum may overflow
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
