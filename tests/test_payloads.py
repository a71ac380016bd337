"""Where in a payload what is: sections and parts tile it, and nobody else need know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dask_gradcode.payloads import Statistic, slice_of

n_parameters = st.integers(0, 40)


orders = st.sampled_from([1, 2])


@given(n_parameters, orders)
def test_the_sections_are_views_that_tile_the_payload(n: int, order: int) -> None:
    statistic = Statistic.at(np.zeros(n), order)
    payload = np.zeros(statistic.size)
    value, gradient = statistic.value(payload), statistic.gradient(payload)
    assert (value.shape, gradient.shape) == ((), (n,))
    value[()] += 1.0
    gradient += 1.0
    if order == 2:
        statistic.add_hessian(payload, np.ones((n, n)))
    assert_array_equal(payload, np.ones(statistic.size))  # every entry is written to, and once


@given(n_parameters)
def test_a_hessian_is_symmetric_and_of_what_is_added_only_the_upper_triangle_counts(n: int) -> None:
    statistic, matrix = Statistic(n, order=2), np.random.default_rng(n).normal(size=(n, n))
    payload = np.zeros(statistic.size)
    for _ in range(2):
        statistic.add_hessian(payload, matrix)
    upper = np.triu(matrix)
    assert_array_equal(
        statistic.hessian(payload), 2.0 * (upper + upper.T - np.diag(np.diag(upper)))
    )


@given(n_parameters, orders, st.integers(1, 60))
def test_the_slices_tile_the_payload_evenly(n: int, order: int, n_parts: int) -> None:
    statistic = Statistic(n, order)
    payload = np.arange(float(statistic.size))
    parts = [payload[slice_of(payload.size, i, n_parts)] for i in range(n_parts)]
    assert_array_equal(np.concatenate(parts), payload)
    sizes = [part.size for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("i", "n"), [(-1, 2), (2, 2), (0, 0)])
def test_a_slice_that_does_not_exist_is_an_error(i: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got i={i} and n={n}"):
        slice_of(4, i, n)


@given(n_parameters, orders, st.data())
def test_some_parameters_payload_is_found_in_that_of_all(
    n: int, order: int, data: st.DataObject
) -> None:
    some = np.array(sorted(data.draw(st.sets(st.sampled_from(range(n))) if n else st.just([]))))
    some = some.astype(int)
    whole, cut = Statistic(n, order), Statistic(some.size, order)
    payload = np.random.default_rng(0).normal(size=whole.size)
    found = payload[whole.entries(some)]
    assert found.shape == (cut.size,)
    assert cut.value(found) == whole.value(payload)
    assert_array_equal(cut.gradient(found), whole.gradient(payload)[some])
    if order == 2:
        assert_array_equal(cut.hessian(found), whole.hessian(payload)[np.ix_(some, some)])


@pytest.mark.parametrize(("n", "dtype"), [(2**31 - 2, np.int32), (2**31 - 1, np.int64)])
def test_entries_take_no_more_room_than_they_need(n: int, dtype: type) -> None:
    entries = Statistic(n).entries(np.array([n - 1]))
    assert entries.dtype == dtype
    assert entries.tolist() == [0, n]
