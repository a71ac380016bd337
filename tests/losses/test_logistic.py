"""The logistic loss against scipy's functions and scikit-learn's log loss."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.metrics import log_loss

from dask_gradcode.losses import Logistic
from dask_gradcode.typing import Vector

rows = st.lists(
    st.tuples(st.floats(-1e300, 1e300), st.sampled_from([0.0, 1.0])), min_size=1, max_size=20
)
weights = st.floats(0.0, 1e6)


def arrays(pairs: list[tuple[float, float]]) -> tuple[Vector, Vector]:
    z, y = np.array(pairs).T
    return z, y


@given(rows)
def test_value_and_derivative_are_scipys(pairs: list[tuple[float, float]]) -> None:
    z, y = arrays(pairs)
    value, derivative = Logistic().pointwise(z, y)
    sign = 1 - 2 * y
    assert_allclose(value, np.logaddexp(0.0, sign * z), rtol=4e-15, atol=1e-300)
    assert_allclose(derivative, sign * expit(sign * z), rtol=4e-15, atol=1e-300)


@given(rows)
def test_the_derivative_is_probability_minus_label(pairs: list[tuple[float, float]]) -> None:
    z, y = arrays(pairs)
    assert_allclose(Logistic().pointwise(z, y)[1], expit(z) - y, rtol=1e-9, atol=1e-15)


@given(pairs=rows, negative=weights, positive=weights)
def test_class_weight_multiplies_the_rows_of_its_class(
    pairs: list[tuple[float, float]], negative: float, positive: float
) -> None:
    z, y = arrays(pairs)
    z = np.clip(z, -1e12, 1e12)
    weight = np.where(y == 1.0, positive, negative)
    weighted = Logistic(class_weight=(negative, positive)).pointwise(z, y)
    for ours, plain in zip(weighted, Logistic().pointwise(z, y), strict=True):
        assert_allclose(ours, weight * plain, rtol=1e-15)


@given(pairs=rows, positive=st.floats(-1e9, 1e9), other=st.floats(-1e9, 1e9))
def test_labels_may_be_any_two_numbers(
    pairs: list[tuple[float, float]], positive: float, other: float
) -> None:
    z, y = arrays(pairs)
    other = other if other != positive else positive + 1.0
    ours = Logistic(positive=positive).pointwise(z, np.where(y == 1.0, positive, other))
    assert_array_equal(ours, Logistic().pointwise(z, y))


def test_every_label_but_the_positive_one_is_negative() -> None:
    z = np.array([1.0, 1.0, 1.0, 1.0])
    _, derivative = Logistic(positive=2.0).pointwise(z, np.array([2.0, 0.0, 1.0, -5.0]))
    assert_array_equal(np.sign(derivative), [-1.0, 1.0, 1.0, 1.0])


def test_labels_may_be_integers() -> None:
    z, y = np.array([0.5, -2.0, 3.0]), np.array([0, 1, 1])
    assert_array_equal(Logistic().pointwise(z, y), Logistic().pointwise(z, y.astype(float)))


def test_a_predictor_of_zero_is_undecided() -> None:
    value, derivative = Logistic().pointwise(np.array([0.0, -0.0]), np.array([0.0, 1.0]))
    assert_array_equal(value, [np.log(2.0), np.log(2.0)])
    assert_array_equal(derivative, [0.5, -0.5])


def test_a_tiny_loss_keeps_its_digits() -> None:
    value, derivative = Logistic().pointwise(np.array([50.0, 700.0]), np.array([1.0, 1.0]))
    assert_allclose(value, np.exp([-50.0, -700.0]), rtol=1e-14)
    assert_allclose(derivative, -np.exp([-50.0, -700.0]), rtol=1e-14)


def test_a_huge_loss_is_the_margin() -> None:
    value, derivative = Logistic().pointwise(np.array([-1e300, 1e300]), np.array([1.0, 0.0]))
    assert_array_equal(value, [1e300, 1e300])
    assert_array_equal(derivative, [-1.0, 1.0])


@pytest.mark.parametrize("class_weight", [(1.0, 1.0), (0.3, 2.5), (0.0, 1.0)])
def test_the_sum_is_scikit_learns_log_loss(class_weight: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(scale=4.0, size=300), rng.integers(2, size=300).astype(float)
    value, _ = Logistic(class_weight=class_weight).pointwise(z, y)
    theirs = log_loss(
        y, expit(z), normalize=False, sample_weight=np.where(y == 1.0, *class_weight[::-1])
    )
    assert_allclose(value.sum(), theirs, rtol=1e-12)


@pytest.mark.parametrize("positive", [np.nan, np.inf, -np.inf])
def test_a_positive_label_that_is_not_finite_is_refused(positive: float) -> None:
    with pytest.raises(ValueError, match=f"needs a finite positive label, got {positive}"):
        Logistic(positive=positive)


@pytest.mark.parametrize(
    "class_weight",
    [(1.0,), (1.0, 1.0, 1.0), (), 1.0, ((1.0, 1.0),), (-1.0, 1.0), (1.0, np.nan), (np.inf, 1.0)],
)
def test_a_class_weight_that_is_not_two_finite_numbers_is_refused(class_weight: object) -> None:
    message = f"two finite numbers >= 0, got {re.escape(repr(class_weight))}"
    with pytest.raises(ValueError, match=message):
        Logistic(class_weight=class_weight)  # type: ignore[arg-type]
