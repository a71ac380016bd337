"""A desk whose visitor wants slices: the sum is computed once and kept for as long as its round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from counted import Counted, visited
from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.wire import Kind, pack
from dask_gradcode.codes import SlicedRepetition
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from visits import Visit

CODE = SlicedRepetition(3, 2)  # six slices, of which role 0 is asked for the first two
SHARD = Shard(0, {block: Block(np.ones((3, 1)), np.zeros(3)) for block in range(3)})
W = np.arange(11.0)
WHOLE = np.array([9.0, *(3.0 * W)])


@pytest.fixture
def desk() -> Iterator[tuple[Visit, Counted]]:
    with visited(SHARD, CODE) as both:
        yield both


@pytest.fixture
def visit(desk: tuple[Visit, Counted]) -> Visit:
    return desk[0]


@pytest.fixture
def work(desk: tuple[Visit, Counted]) -> Counted:
    return desk[1]


def tell(visit: Visit, kind: Kind, *messages: int) -> None:
    which = np.array(messages, dtype=np.int64)
    visit.link.add(pack(kind, visit.round, which.size, which))


def answers(visit: Visit, *messages: int, whole: Vector = WHOLE) -> None:
    """Check that slices come, in that order."""
    for message in messages:
        frame = visit.next()
        assert (frame.kind, frame.round, frame.number) == (Kind.ANSWER, visit.round, message)
        expected = CODE.messages[message].slices.of(whole)
        np.testing.assert_array_equal(frame.body.view(np.float64), expected)


def test_all_slices_are_of_a_sum_that_is_computed_once_a_round(visit: Visit, work: Counted) -> None:
    for number in range(3):
        visit.begin(W + number, 0, 1)
        whole = np.array([9.0, *(3.0 * (W + number))])
        answers(visit, 0, 1, whole=whole)
        tell(visit, Kind.ASK, 5, 3)
        answers(visit, 5, 3, whole=whole)
        assert work.n_calls == 3 * (number + 1)


def test_a_slice_that_is_dropped_is_not_sent_and_the_sum_is_not_given_up(
    visit: Visit, work: Counted
) -> None:
    work.gate.clear()
    visit.begin(W, 0, 1)
    assert work.begun.wait(30)
    tell(visit, Kind.DROP, 0)  # that it is at
    tell(visit, Kind.ASK, 4)
    work.gate.set()
    answers(visit, 1, 4)
    tell(visit, Kind.ASK, 0)  # it is wanted after all
    answers(visit, 0)
    assert work.n_calls == 3


def test_an_error_stands_in_the_place_of_each_slice_and_ends_with_the_round(
    visit: Visit, work: Counted
) -> None:
    work.error = True
    visit.begin(W, 0, 1)
    tell(visit, Kind.ASK, 2)
    for message in (0, 1, 2):
        frame = visit.next()
        assert (frame.kind, frame.number) == (Kind.ERROR, message)
        assert isinstance(unpack_error(frame.body.data), ZeroDivisionError)
    assert work.n_calls == 1
    work.error = False
    visit.begin(W, 0, 1)
    answers(visit, 0, 1)


def test_a_round_that_is_superseded_leaves_no_sum_to_the_next(visit: Visit, work: Counted) -> None:
    work.gate.clear()
    visit.begin(W, 0, 1)
    assert work.begun.wait(30)
    visit.begin(2.0 * W, 0, 1)
    work.gate.set()
    answers(visit, 0, 1, whole=np.array([9.0, *(6.0 * W)]))
