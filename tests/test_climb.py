"""Messages on their way up their trees, on a worker: whole, cut and stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition
from dask_gradcode.codes.forest import leaves
from dask_gradcode.typing import Vector
from dask_gradcode.work import Climb, compute_message

CODE = DeclusteredRepetition(2, 1, n_leaves=8)


def value(leaf: int) -> Vector:
    """Numbers whose sums depend on the order of addition."""
    rng = np.random.default_rng(leaf)
    return np.asarray(rng.standard_normal(3) * 10.0 ** rng.integers(-8, 9, 3))


def total(message: int) -> Vector:
    """What a message must be, bit for bit."""
    children = CODE.children(message)
    return total(children[0]) + total(children[1]) if children else value(message)


@pytest.mark.parametrize("message", range(len(CODE.messages)))
def test_a_message_is_computed_by_adding_its_halves(message: int) -> None:
    computed: list[int] = []

    def compute(leaf: int) -> Vector:
        computed.append(leaf)
        return value(leaf)

    payload = compute_message(CODE, message, compute)
    assert payload is not None
    assert_array_equal(payload, total(message))
    assert computed == [*leaves(CODE, message)]


def test_a_message_without_children_is_its_own_leaf() -> None:
    payload = compute_message(CyclicRepetition(5, 2), 3, value)
    assert payload is not None
    assert_array_equal(payload, value(3))


def test_who_is_told_to_stop_computes_nothing_more() -> None:
    computed: list[int] = []

    def compute(leaf: int) -> Vector | None:
        computed.append(leaf)
        return None if len(computed) == 3 else value(leaf)

    assert compute_message(CODE, 0, compute) is None
    assert computed == [7, 8, 9]


@given(n_before=st.integers(0, 7), message=st.sampled_from([0, 1, 2, 15]))
def test_a_cut_gives_what_is_there_and_leaves_the_leaf_that_is_running(
    n_before: int, message: int
) -> None:
    under = [*leaves(CODE, message)]
    n_before = min(n_before, len(under) - 1)
    climb = Climb(CODE, message)
    for leaf in under[:n_before]:
        assert climb.running == leaf
        climb.take(value(leaf))
    sent = climb.cut()
    for part, payload in sent.items():
        assert_array_equal(payload, total(part))
    assert [leaf for part in sent for leaf in leaves(CODE, part)] == under[:n_before]
    assert len(sent) == n_before.bit_count()  # the fewest that there can be
    assert climb.message == climb.running == under[n_before]
    assert climb.cut() == {}  # there is nothing new
    kept = {part: payload.copy() for part, payload in sent.items()}
    climb.take(value(under[n_before]))
    assert climb.running is None
    assert_array_equal(climb.payload, value(under[n_before]))
    for part, payload in sent.items():  # they may still be on their way
        assert_array_equal(payload, kept[part])


def test_arrays_that_have_been_added_are_used_again() -> None:
    spare = [np.zeros(5), np.zeros(3)]
    climb, arrays = Climb(CODE, 0, spare), set[int]()
    while climb.running is not None:
        room = climb.room(3)
        room[:] = value(climb.running)
        arrays.add(id(room))
        climb.take(room)
    assert_array_equal(climb.payload, total(0))
    assert len(arrays) == 4  # one for each level of the tree
    assert all(array.size == 3 and array is not climb.payload for array in spare)
