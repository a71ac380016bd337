"""Means and squares against numpy's, put together from any cuts, weighted, dense and sparse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from dask_gradcode.spread import Spread, rounded

RNG = np.random.default_rng(0)
N = RNG.normal(size=(300, 3))
WEIGHT = RNG.integers(0, 3, 300).astype(float)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9, 1e12])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_it_does_not_cancel_however_far_from_zero(offset: float, weight: Any, form: Any) -> None:
    X = N + offset
    found = Spread.of(form(X), weight)
    exact = np.longdouble(X)
    mean = np.average(exact, axis=0, weights=weight)
    squares = ((exact - mean) ** 2 * (np.ones(300) if weight is None else weight)[:, None]).sum(0)
    assert_allclose(found.mean, mean.astype(float), rtol=1e-15, atol=1e-15)
    assert_allclose(found.squares, squares.astype(float), rtol=1e-9 if offset < 1e10 else 1e-6)


@given(st.lists(st.integers(0, 300), max_size=4))
def test_parts_add_up_to_the_whole_however_rows_are_cut(cuts: list[int]) -> None:
    X = np.where(N > 0, N, 0.0) + np.array([0.0, 0.0, 1e6])
    borders = [0, *sorted(cuts), 300]
    parts = [
        Spread.of(csr_array(X[a:b]) if a % 2 else X[a:b], WEIGHT[a:b])
        for a, b in itertools.pairwise(borders)
    ]
    total, whole = sum(parts[1:], parts[0]), Spread.of(X, WEIGHT)
    assert total.weight == whole.weight
    assert_allclose(total.mean, whole.mean, rtol=1e-14)
    assert_allclose(total.squares, whole.squares, rtol=1e-10)
    assert_array_equal(total.present, whole.present)
    for centred in (True, False):
        assert_array_equal(total.deviation(centred=centred), whole.deviation(centred=centred))


def test_indicator_columns_are_in_units_already() -> None:
    X = (RNG.random((1000, 4)) < [0.001, 0.01, 0.1, 0.5]).astype(float)
    X[0] = 1.0
    assert_array_equal(Spread.of(csr_array(X)).deviation(centred=False), np.ones(4))
    assert (Spread.of(X).deviation(centred=True) > 0.7).all()


@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_dummies_side_by_side_are_known_to_add_up_to_one(form: Any, weight: Any) -> None:
    dummies = np.eye(4)[np.append(0, RNG.choice([0, 2, 3], 299))]  # no row has the second
    several = np.column_stack([N + 1e6, 2.0 * dummies, N[:, :1] > 0.0, np.ones(300)])
    one = Spread.of(form(several), weight).adding_up_to_one
    assert_allclose(one, [0, 0, 0, 0.5, 0, 0.5, 0.5, 0, 0], rtol=1e-12)
    overlapping = np.column_stack([N > 0.0, N, np.ones(300)])
    for X in (several[:, :6], several[:, [3, 7, 5, 6]], overlapping):
        assert Spread.of(form(X), weight).adding_up_to_one is None


def test_constant_columns_and_values_that_overflow_can_be_divided_by() -> None:
    X = np.column_stack([np.full(9, 0.1), np.zeros(9), np.full(9, 7.3e5), 1e200 * N[:9, 0]])
    found = Spread.of(X).deviation(centred=True)
    assert_array_equal(found, rounded(np.array([0.1, 1.0, 7.3e5, 1.0])))


def test_columns_that_a_part_does_not_have_are_zero() -> None:
    X = np.zeros((300, 5))
    X[:, [1, 4]] = N[:, :2]
    wide = Spread.of(csr_array(N[:, :2])).widened(np.array([1, 4]), 5)
    for name in ("mean", "squares", "present"):
        assert_allclose(getattr(wide, name), getattr(Spread.of(X), name), rtol=1e-12, atol=1e-12)
