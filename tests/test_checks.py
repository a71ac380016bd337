"""What passes without scikit-learn passes with it, to the same result; what does not, raises."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight

from dask_gradcode.checks import as_rows, as_targets, as_weights, kind_of_targets

NUMERIC = st.sampled_from(["?", "i1", "u2", "i8", "f2", "f4", "f8", "c16"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = NUMERIC.flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
COLUMNS = st.one_of(
    NUMERIC.flatmap(lambda dtype: hnp.arrays(dtype, st.integers(1, 5))),
    hnp.arrays("f8", st.integers(1, 5), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0**63, 1e300])),
    st.lists(st.sampled_from(["a", "b", "long"]), min_size=1).map(np.array),
    st.lists(st.sampled_from(["a", "b", 1, None, 2.5]), min_size=1).map(
        lambda labels: np.array(labels, dtype=object)
    ),
)


def outcome(function: Callable[[], Any]) -> Any:
    """Return a function's result, or its error in words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function()
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def assert_same_outcome(ours: Any, theirs: Any) -> None:
    ours, theirs = outcome(ours), outcome(theirs)
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    if scipy.sparse.issparse(theirs):
        ours, theirs = ours.toarray(), theirs.toarray()
    assert_array_equal(ours, theirs)


@given(X=ARRAYS, finite=st.booleans(), least=st.integers(0, 2), sparse=st.booleans())
def test_rows_are_scikit_learns(X: Any, finite: bool, least: int, sparse: bool) -> None:
    if sparse and X.ndim == 2 and X.dtype != np.float16:
        X = scipy.sparse.csr_array(X)
    options = {"ensure_min_samples": least, "ensure_all_finite": finite}
    floats = [np.float64, np.float32]
    theirs = {"accept_sparse": "csr", "dtype": floats, "estimator": "me", "input_name": "X"}
    assert_same_outcome(
        lambda: as_rows(X, "me", **options),  # type: ignore[arg-type]
        lambda: check_array(X, **theirs, **options),
    )


@pytest.mark.parametrize("form", [np.ma.asarray, scipy.sparse.csc_array, scipy.sparse.coo_matrix])
def test_other_forms_of_rows_are_scikit_learns(form: Callable[[Any], Any]) -> None:
    X = form(np.array([[0.0, 1.0], [2.0, 0.0]]))
    assert_same_outcome(
        lambda: as_rows(X, "me"),
        lambda: check_array(X, accept_sparse="csr", estimator="me", input_name="X"),
    )


def test_rows_whose_sum_overflows_are_finite() -> None:
    X = np.full((2, 2), 1e308)
    assert as_rows(X, "me") is X


@given(y=st.one_of(ARRAYS, COLUMNS))
def test_targets_are_scikit_learns(y: Any) -> None:
    def theirs() -> Any:
        column = column_or_1d(y)
        if column.dtype.kind == "f":
            check_array(
                column, ensure_2d=False, ensure_min_samples=0, input_name="y", estimator="me"
            )
        if None in column.tolist():  # at which scikit-learn fails later, in other words
            raise ValueError("Input y contains NaN.")
        return column

    assert_same_outcome(lambda: as_targets(y, "me"), theirs)


@given(y=COLUMNS)
def test_the_kind_of_targets_is_scikit_learns(y: Any) -> None:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        return  # they have been refused by then
    kind = outcome(lambda: kind_of_targets(y))
    assert kind == outcome(lambda: type_of_target(y, input_name="y"))


@given(
    weight=st.one_of(
        hnp.arrays(NUMERIC, 3),
        hnp.arrays("f8", 3, elements=st.sampled_from([-1.0, 0.0, 2.0, np.inf, np.nan])),
        hnp.arrays("f8", (3, 1)),
        hnp.arrays("f8", 4),
        st.floats(),
    )
)
def test_weights_are_scikit_learns(weight: Any) -> None:
    if not np.asarray(weight).any():
        return  # some zeros are allowed in a chunk, see describe_targets
    y = np.zeros(3)
    assert_same_outcome(
        lambda: as_weights(weight, y),
        lambda: _check_sample_weight(weight, y, dtype=np.float64, ensure_non_negative=True),
    )
