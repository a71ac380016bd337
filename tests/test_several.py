"""Several points in one vector, and their payloads: each is found again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dask_gradcode.payloads import Statistic
from dask_gradcode.several import Several, abreast, n_points_of

n_parameters, n_points = st.integers(0, 12), st.integers(1, 6)
orders = st.sampled_from([1, 2])


@given(n_parameters, n_points, orders)
def test_the_payloads_of_the_points_tile_that_of_all(p: int, n: int, order: int) -> None:
    several = Several(Statistic(p, order), n)
    payload, found = np.arange(float(several.size)), np.zeros(several.size)
    assert (several.n_parameters, several.order) == (p * n, order)
    for k in range(n):
        one = several.point(payload, k)
        assert one.shape == (several.each.size,)
        assert several.each.value(one) == several.value(payload)[k]
        gradient = several.gradient(payload).reshape(p, n)[:, k]
        assert_array_equal(several.each.gradient(one), gradient)
        several.point(found, k)[:] += one
    assert_array_equal(found, payload)


@given(n_parameters, n_points)
def test_the_gradients_lie_as_the_points_do(p: int, n: int) -> None:
    points = np.random.default_rng(0).normal(size=(n, p))
    several = Several(Statistic(p), n)
    payload = np.zeros(several.size)
    several.gradient(payload)[:] = abreast(points)
    for k in range(n):
        assert_array_equal(several.each.gradient(several.point(payload, k)), points[k])
    assert (n_points_of(points), n_points_of(payload)) == (n, 1)
    assert abreast(payload) is payload


@given(n_parameters, n_points, orders, st.data())
def test_some_parameters_payloads_are_found_in_those_of_all(
    p: int, n: int, order: int, data: st.DataObject
) -> None:
    some = np.array(sorted(data.draw(st.sets(st.sampled_from(range(p))) if p else st.just([]))))
    some = some.astype(int)
    whole = Several(Statistic(p, order), n)
    payload = np.random.default_rng(0).normal(size=whole.size)
    entries = whole.entries((some[:, None] * n + np.arange(n)).ravel())
    cut = Several(Statistic(some.size, order), n)
    assert (entries.shape, entries.dtype) == ((cut.size,), np.int32)
    for k in range(n):
        of_one = whole.point(payload, k)[whole.each.entries(some)]
        assert_array_equal(cut.point(payload[entries], k), of_one)


def test_entries_take_no_more_room_than_they_need() -> None:
    for p, dtype in ((2**30 - 2, np.int32), (2**30 - 1, np.int64)):  # of two points
        entries = Several(Statistic(p), 2).entries(np.array([2 * p - 2, 2 * p - 1]))
        assert entries.dtype == dtype
        assert entries.tolist() == [0, 1, 2 * p, 2 * p + 1]
