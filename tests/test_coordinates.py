"""Coordinates: there and back, and the chain rule, whatever the layout."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.losses import Layout
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Evaluation, Matrix, Vector

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)) * [1e3, 1.0, 1e-4] + [1e6, 0.0, 1.0]
LAYOUTS = [Layout(3, k, own, b) for k, own, b in product((1, 4), (0, 1), (False, True))]
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
with_intercept = pytest.mark.parametrize("layout", LAYOUTS[1::2], ids=repr)
without_intercept = pytest.mark.parametrize("layout", LAYOUTS[::2], ids=repr)


def coordinates(layout: Layout, *, separate: bool = False) -> Coordinates:
    spread = Spread.of(X)
    return Coordinates.of(layout, spread, least=1e-9, unit=5.0, size=7.0, separate=separate)


@with_intercept
def test_predictions_are_those_of_centred_and_scaled_columns(layout: Layout) -> None:
    there = coordinates(layout)
    u = RNG.normal(size=layout.size)
    w = there.to_model(u)
    scaled = (X - there.shift) / there.scale @ layout.coef(u)
    expected = 5.0 * (scaled + layout.intercept(u))
    assert_allclose(X @ layout.coef(w) + layout.intercept(w), expected, atol=1e-6)
    assert_allclose(layout.own(w), 5.0 * layout.own(u))
    assert_allclose(there.to_solver(w), u, atol=1e-9)


@without_intercept
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e3])
def test_without_an_intercept_predictions_spread_alike_in_every_direction(
    layout: Layout, constant: float
) -> None:
    rows = RNG.normal(size=(100_000, 4)) * [1.0, 1e-3, 1e3, 0.0] + [4e6, 5.0, 1e4, constant]
    rows = rows[:, : 4 if constant else 3]
    layout = Layout(rows.shape[1], layout.n_outputs, layout.n_own, False)
    there = Coordinates.of(layout, Spread.of(rows), least=1e-9, unit=5.0, size=7.0)
    one = Layout(rows.shape[1], 1, 0, False)
    slopes = Coordinates(one, there.shift, there.scale)
    z = rows @ np.column_stack([slopes.to_model(u) for u in np.eye(one.size)])
    spreads = np.linalg.eigvalsh(z.T @ z / len(z))
    assert 0.2 < spreads[0] < spreads[-1] < 5.0
    u = RNG.normal(size=layout.size)
    w = there.to_model(u)
    together = np.column_stack([z @ v for v in layout.coef(u).T])
    assert_allclose(rows @ layout.coef(w), 5.0 * together, atol=1e-6)
    assert_allclose(layout.own(w), 5.0 * layout.own(u))
    assert_allclose(there.to_solver(w), u, atol=1e-6)


@every_layout
def test_gradients_follow_the_chain_rule(layout: Layout) -> None:
    there, slope = coordinates(layout), RNG.normal(size=layout.size)

    def plane(w: Vector) -> Evaluation:
        return Evaluation(float(slope @ w), slope, rounding=1e-16)

    mapped, zero = there.objective(plane), np.zeros(layout.size)
    values = [mapped(unit).value - mapped(zero).value for unit in np.eye(layout.size)]
    seen = mapped(zero)
    assert_allclose(seen.gradient, values, rtol=1e-9)
    assert seen.rounding >= 1e-16 * 5.0 / 7.0


@every_layout
def test_a_penalty_and_zeros_are_of_the_original_coefficients(layout: Layout) -> None:
    there, u = coordinates(layout, separate=True), RNG.normal(size=layout.size)
    layout.coef(u)[1] = 0.0
    coef = layout.coef(there.to_model(u))
    assert_array_equal(coef[1], 0.0)
    assert_allclose(there.penalty(3.0).value(u), 3.0 * abs(coef).sum() / 7.0)


@without_intercept
def test_a_gradient_can_be_told_in_other_coordinates(layout: Layout) -> None:
    there, other = coordinates(layout, separate=True), coordinates(layout)
    gradient = RNG.normal(size=layout.size)
    told = there.told_in(other, there.gradient(gradient))
    assert_allclose(told, other.gradient(gradient), rtol=1e-9)


def test_indicators_are_left_as_they_are() -> None:
    rows, layout = (
        (RNG.random((1000, 5)) < [0.001, 0.1, 0.5, 0.99, 2.0]) * 1.0,
        Layout(5, 1, 0, False),
    )
    rows[0] = 1.0
    there = Coordinates.of(layout, Spread.of(rows), least=1e-3, unit=1.0, size=1.0)
    u = RNG.normal(size=5)
    assert_array_equal(there.to_model(u), u)


def test_standardised_columns_are_left_as_they_are() -> None:
    rows, layout = StandardScaler().fit_transform(X), Layout(3, 1, 0, True)
    there = Coordinates.of(layout, Spread.of(rows), least=1e-3, unit=1.0, size=1.0)
    u = RNG.normal(size=4)
    assert_array_equal(there.to_model(u), u)


def test_what_a_checkpoint_holds_is_the_same_coordinates() -> None:
    there = coordinates(LAYOUTS[1])
    twin = Coordinates.recalled(LAYOUTS[1], there.state)
    u = RNG.normal(size=LAYOUTS[1].size)
    assert_array_equal(twin.to_model(u), there.to_model(u))


def linear_hessian(layout: Layout, rows: Matrix) -> Matrix:
    """The Hessian of half the squares of ``rows @ coef + intercept``, the same for each output."""
    if layout.has_intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    return np.kron(rows.T @ rows, np.eye(layout.n_outputs))


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if not one.n_own], ids=repr)
def test_the_hessian_is_mapped_by_the_chain_rule(layout: Layout) -> None:
    there = coordinates(layout)
    jacobian = np.column_stack([there.to_model(u) for u in np.eye(layout.size)])
    hessian = linear_hessian(layout, X)
    expected = jacobian.T @ hessian @ jacobian / 7.0
    tolerance = 1e-3 * np.abs(np.diag(expected)).max()  # X has columns 1e3 deviations from zero
    assert_allclose(there.hessian(hessian), expected, atol=tolerance)


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if not one.n_own and one.has_intercept])
def test_a_hessian_about_the_means_loses_no_digits(layout: Layout) -> None:
    there = coordinates(layout)
    scaled = 5.0 * (X - there.shift) / there.scale
    expected = linear_hessian(layout, scaled)
    n = layout.n_slopes  # intercepts are in units of 5, too
    expected[n:] *= 5.0
    expected[:, n:] *= 5.0
    about = there.about
    assert about is not None
    assert_array_equal(about, there.shift * [1.0, 0.0, 1.0])  # where zero is 1e3 scales away
    found = there.hessian(linear_hessian(layout, X - about), about)
    assert_allclose(found, expected / 7.0, rtol=1e-9, atol=1e-9)
