"""The losses of regression and of many classes against scipy's and scikit-learn's own formulas."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import huber, log_softmax, softmax
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

from dask_gradcode.losses import Huber, Multinomial, Poisson, Squared

RNG = np.random.default_rng(0)
Z, Y = RNG.normal(scale=2.0, size=300), RNG.poisson(2.0, size=300).astype(float)

finite = st.floats(-1e6, 1e6)


def test_squared_is_half_the_squared_error() -> None:
    assert_allclose(Squared().pointwise(Z, Y)[0].mean(), mean_squared_error(Y, Z) / 2)


def test_poisson_is_half_the_deviance() -> None:
    value, derivative = Poisson().pointwise(Z, Y)
    assert_allclose(value.mean(), mean_poisson_deviance(Y, np.exp(Z)) / 2)
    assert_allclose(derivative, np.exp(Z) - Y)


def test_a_steep_poisson_loss_goes_on_along_its_tangent() -> None:
    at, beyond = (Poisson().pointwise(np.array([z]), np.array([3.0])) for z in (200.0, 210.0))
    assert_allclose(beyond[0] - at[0], 10 * (at[1]), rtol=1e-12)
    assert beyond[1] == at[1]


@given(z=finite, y=finite, scale=st.floats(1e-6, 1e6), epsilon=st.floats(1.0, 10.0))
def test_huber_is_scipys_function_of_the_scaled_residual(
    z: float, y: float, scale: float, epsilon: float
) -> None:
    value, _ = Huber(epsilon).pointwise(np.array([[z, scale]]), np.array([y]))
    expected = scale + 2 * huber(epsilon, (z - y) / scale) * scale
    assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


parameter = st.floats(-10.0, 10.0) | st.floats(-1e-9, 1e-9)


@given(st.lists(parameter, min_size=4, max_size=4), finite, st.floats(1.0, 10.0))
def test_huber_is_convex_in_prediction_and_scale_together(
    ends: list[float], y: float, epsilon: float
) -> None:
    loss, (a, b) = Huber(epsilon, floor=1e-12), np.reshape(ends, (2, 2))
    points = np.array([a, b, 0.5 * (a + b)])
    value, derivative = loss.pointwise(points, np.full(3, y))
    slack = 1e-12 * (1.0 + abs(value).max())
    assert value[2] <= 0.5 * (value[0] + value[1]) + slack
    assert value[1] >= value[0] + derivative[0] @ (b - a) - slack


@given(t=st.floats(-1e100, 1e-3), epsilon=st.floats(1.01, 10.0))
def test_the_slope_of_huber_does_not_vanish_where_the_scale_has_collapsed(
    t: float, epsilon: float
) -> None:
    _, derivative = Huber(epsilon).pointwise(np.array([[1.0, t]]), np.zeros(1))
    assert_allclose(derivative[0, 1], 1.0 - epsilon**2, rtol=1e-6)


@pytest.mark.parametrize("floor", [0.0, -1.0, np.nan, np.inf, "1"])
def test_a_floor_that_is_not_finite_and_positive_is_refused(floor: Any) -> None:
    with pytest.raises(ValueError, match=f"positive floor, got {re.escape(repr(floor))}"):
        Huber(1.35, floor)


@pytest.mark.parametrize("epsilon", [0.5, np.nan, np.inf, "1"])
def test_an_epsilon_that_is_not_finite_and_at_least_1_is_refused(epsilon: Any) -> None:
    with pytest.raises(ValueError, match=f"finite epsilon >= 1, got {re.escape(repr(epsilon))}"):
        Huber(epsilon)


@given(st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=4), st.integers(0, 3))
def test_multinomial_is_scipys_log_softmax(z: list[float], own: int) -> None:
    classes = (-2.0, 0.0, 0.5, 9.0)
    value, derivative = Multinomial(classes).pointwise(np.array([z]), np.array([classes[own]]))
    assert_allclose(value, -log_softmax(z)[own], rtol=1e-12, atol=1e-12)
    assert_allclose(derivative[0], softmax(z) - np.eye(4)[own], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("class_weight", [None, (0.3, 2.0, 0.0)])
def test_the_sum_is_scikit_learns_log_loss(class_weight: Any) -> None:
    z, y = RNG.normal(size=(200, 3)), RNG.integers(0, 3, 200)
    weight = np.ones(200) if class_weight is None else np.array(class_weight)[y]
    value, _ = Multinomial((0.0, 1.0, 2.0), class_weight).pointwise(z, y.astype(float))
    theirs = log_loss(y, softmax(z, axis=1), normalize=False, sample_weight=weight)
    assert_allclose(value.sum(), theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((1.0,),), "at least two finite classes"),
        (((0.0, np.nan),), "at least two finite classes"),
        (((1.0, 0.0),), "ascending classes"),
        (((0.0, 1.0), (1.0,)), "class_weight >= 0 for each of the 2 classes"),
        (((0.0, 1.0), (1.0, -1.0)), "class_weight >= 0 for each of the 2 classes"),
    ],
)
def test_classes_that_are_none_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Multinomial(*arguments)
