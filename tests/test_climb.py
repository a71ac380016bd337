"""Messages on their way up their trees, on a worker: whole, cut and stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition
from dask_gradcode.codes.forest import leaves
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Climb, Crew, Piece, Work, compute_message

CODE = DeclusteredRepetition(2, 1, n_leaves=8)


def value(leaf: int) -> Vector:
    """Numbers whose sums depend on the order of addition."""
    rng = np.random.default_rng(leaf)
    return np.asarray(rng.standard_normal(3) * 10.0 ** rng.integers(-8, 9, 3))


class Values(Work):
    """Computes the value of a leaf, in two parts; ``computed`` lists the leaves of all parts."""

    def __init__(self, leaf: int, computed: list[int]) -> None:
        self.leaf, self.computed = leaf, computed

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        if should_stop():
            return False
        self.computed.append(self.leaf)
        out += coefficient * value(self.leaf)
        return True


def cut(computed: list[int], n_parts: int = 1) -> Callable[[int], list[Piece]]:
    """Return what cuts a leaf in parts, of which the first is its value and the others nothing."""

    def pieces(leaf: int) -> list[Piece]:
        work, nothing = Values(leaf, computed), Block(np.zeros((0, 1)), np.zeros(0))
        return [
            Piece(np.zeros(1), 3, [(0, nothing, float(part == 0), work)]) for part in range(n_parts)
        ]

    return pieces


def total(message: int) -> Vector:
    """What a message must be, bit for bit."""
    children = CODE.children(message)
    return total(children[0]) + total(children[1]) if children else value(message)


@pytest.mark.parametrize("message", range(len(CODE.messages)))
def test_a_message_is_computed_by_adding_its_halves(message: int) -> None:
    computed: list[int] = []
    payload = compute_message(CODE, message, cut(computed))
    assert payload is not None
    assert_array_equal(payload, total(message))
    assert computed == [*leaves(CODE, message)]


def test_a_message_without_children_is_its_own_leaf() -> None:
    payload = compute_message(CyclicRepetition(5, 2), 3, cut([]))
    assert payload is not None
    assert_array_equal(payload, value(3))


def test_who_is_told_to_stop_computes_nothing_more() -> None:
    computed: list[int] = []
    assert compute_message(CODE, 0, cut(computed), lambda: len(computed) == 3) is None
    assert computed == [7, 8, 9]


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("n_parts", [1, 2, 3])
@pytest.mark.parametrize("message", [0, 1, 15, 22])
def test_the_bits_do_not_depend_on_the_threads(message: int, n_parts: int, n_threads: int) -> None:
    computed: list[int] = []
    with closing(Crew(n_threads)) as crew:
        payload = compute_message(CODE, message, cut(computed, n_parts), crew=crew)
    assert payload is not None
    assert_array_equal(payload, total(message))
    assert sorted(computed) == sorted([*leaves(CODE, message)] * n_parts)


@given(n_before=st.integers(0, 7), message=st.sampled_from([0, 1, 2, 15]))
def test_a_cut_gives_what_is_there_and_leaves_the_leaf_that_is_running(
    n_before: int, message: int
) -> None:
    under = [*leaves(CODE, message)]
    n_before = min(n_before, len(under) - 1)
    climb = Climb(CODE, message)
    for leaf in under[:n_before]:
        assert climb.running == leaf
        climb.take(leaf, value(leaf))
    sent = climb.cut()
    for part, payload in sent.items():
        assert_array_equal(payload, total(part))
    assert [leaf for part in sent for leaf in leaves(CODE, part)] == under[:n_before]
    assert len(sent) == n_before.bit_count()  # the fewest that there can be
    assert climb.message == climb.running == under[n_before]
    assert climb.cut() == {}  # there is nothing new
    kept = {part: payload.copy() for part, payload in sent.items()}
    climb.take(under[n_before], value(under[n_before]))
    assert climb.running is None
    assert_array_equal(climb.payload, value(under[n_before]))
    for part, payload in sent.items():  # they may still be on their way
        assert_array_equal(payload, kept[part])


def test_what_is_no_longer_wanted_after_a_cut_is_neither_computed_nor_taken_in() -> None:
    computed: list[int] = []
    climb, sent = Climb(CODE, 0), list[dict[int, Vector]]()

    def cut_after_three() -> bool:
        if len(computed) == 3 and not sent:
            sent.append(climb.cut())
        return False

    payload = climb.finish(cut(computed), cut_after_three)
    assert payload is not None
    assert computed == [7, 8, 9, 10]
    assert sent[0].keys() == {3, 9}
    assert_array_equal(payload, value(10))
    climb.take(11, value(11))
    assert climb.message == 10
    assert_array_equal(climb.payload, value(10))


def test_arrays_that_have_been_added_are_used_again() -> None:
    arrays = set[int]()

    class Seen(Values):
        def add(self, block: Block, w: Vector, coefficient: float, out: Vector, *_: object) -> bool:
            arrays.add(id(out))
            out += value(self.leaf)
            return True

    def pieces(leaf: int) -> list[Piece]:
        nothing = Block(np.zeros((0, 1)), np.zeros(0))
        return [Piece(np.zeros(1), 3, [(0, nothing, 1.0, Seen(leaf, []))])]

    unused = [np.zeros(5), np.zeros(3)]
    climb = Climb(CODE, 0, unused)
    payload = climb.finish(pieces)
    assert payload is not None
    assert_array_equal(payload, total(0))
    assert len(arrays) == 4  # one for each level of the tree
    assert all(array.size == 3 and array is not payload for array in unused)
