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
from sklearn._loss.loss import HalfTweedieLoss, HalfTweedieLossIdentity
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

from dask_gradcode.losses import Huber, Loss, Multinomial, Poisson, Squared, Tweedie

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


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("link", ["log", "identity"])
def test_tweedie_is_scikit_learns_half_deviance(power: float, link: str) -> None:
    y = Y + 0.5 if power >= 2 else Y - 1.0 if power <= 0 else Y
    z = Z if link == "log" else np.exp(Z)
    twin = (HalfTweedieLoss if link == "log" else HalfTweedieLossIdentity)(power=power)
    value, derivative = Tweedie(power, link).pointwise(z, y)
    theirs, slope = twin.loss_gradient(y, z)
    if link == "log":
        theirs += twin.constant_to_optimal_zero(y)
    assert_allclose(value, theirs, rtol=1e-12, atol=1e-12 * abs(theirs).max())
    assert_allclose(derivative, slope, rtol=1e-12, atol=1e-14 * abs(slope).max())


@pytest.mark.parametrize(
    ("loss", "power", "z"),
    [(Poisson(), 1.0, Z), (Squared(), 0.0, Z + 1.0)],
    ids=["Poisson", "squared"],
)
def test_tweedie_has_other_losses_among_it(loss: Loss, power: float, z: Any) -> None:
    tweedie = Tweedie(power, "log" if power else "identity")
    for ours, other in zip(tweedie.pointwise(z, Y), loss.pointwise(z, Y), strict=True):
        assert_allclose(ours, other, rtol=1e-9, atol=1e-12)
    assert_allclose(tweedie.curvature(z, Y), loss.curvature(z, Y), rtol=1e-12)


@given(st.floats(-2.0, 4.0), st.floats(0.1, 15.0), st.floats(1e-9, 1e9))
def test_a_mean_is_as_far_from_a_target_in_any_unit(power: float, ratio: float, y: float) -> None:
    loss, ratios = Tweedie(power), np.array([-ratio, ratio])
    there = loss.pointwise(np.log(y) + ratios, np.full(2, y))
    for ours, other in zip(there, loss.pointwise(ratios, np.ones(2)), strict=True):
        assert_allclose(ours, y ** (2 - power) * other, rtol=1e-9)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_a_mean_that_is_not_positive_is_led_back_by_a_parabola(power: float) -> None:
    loss, z = Tweedie(power, "identity", least=0.5), np.array([0.5, 0.0, -0.5, -100.0])
    value, slope = loss.pointwise(z, np.full(4, 2.0))
    expected = 0.5**-power
    assert_allclose(slope, expected * (z - 2.0), rtol=1e-12)
    assert_allclose(value - value[0], 0.5 * expected * ((z - 2.0) ** 2 - 1.5**2), rtol=1e-12)
    assert_allclose(loss.curvature(z[1:], np.full(3, 2.0)), expected)
    if power < 2:  # the minimum for targets of zero is at zero
        assert loss.pointwise(np.zeros(1), np.zeros(1))[1] == 0.0


@pytest.mark.parametrize(("power", "y"), [(1.0, -1.0), (1.5, -1.0), (2.0, -1.0), (3.0, -1.0)])
def test_targets_out_of_the_domain_have_no_loss(power: float, y: float) -> None:
    assert np.isnan(Tweedie(power).pointwise(np.zeros(1), np.array([y]))[0]).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.nan,), "finite power, got nan"),
        (("1",), "finite power, got '1'"),
        ((1.5, "logit"), "link='log' or 'identity', got 'logit'"),
        ((1.5, "identity", 0.0), "finite positive least mean, got 0.0"),
        ((1.5, "identity", np.inf), "finite positive least mean, got inf"),
    ],
)
def test_what_tweedie_cannot_be_is_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Tweedie(*arguments)


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
