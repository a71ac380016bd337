"""A desk that is asked for digests: a sum stays as long as its round, and is sent if asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from counted import Counted, visited
from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.transport.link import Refused
from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.wire import Kind, pack
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from dask_gradcode.work.account import digest_of
from visits import Visit

CODE = FractionalRepetition(2, 1)
SHARD = Shard(0, {block: Block(np.ones((3, 1)), np.zeros(3)) for block in range(2)})
W = np.arange(4.0)


def whole(w: Vector) -> Vector:
    return np.array([6.0, *(2.0 * w)])


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


def ask(visit: Visit, *asks: int) -> None:
    visit.link.add(pack(Kind.ASK, visit.round, len(asks), np.array(asks, dtype=np.int64)))


def announced(visit: Visit, w: Vector) -> None:
    frame = visit.next()
    assert (frame.kind, frame.round, frame.number) == (Kind.DIGEST, visit.round, 0)
    assert frame.body.tobytes() == digest_of(whole(w))


def sent(visit: Visit, w: Vector) -> None:
    frame = visit.next()
    assert (frame.kind, frame.round, frame.number) == (Kind.ANSWER, visit.round, 0)
    np.testing.assert_array_equal(frame.body.view(np.float64), whole(w))


def test_a_sum_is_computed_once_and_kept_until_the_next_round(visit: Visit, work: Counted) -> None:
    for number in range(4):
        w = W + number
        visit.begin(w, ~0)
        announced(visit, w)
        if number % 2:
            ask(visit, 0)
            sent(visit, w)
            ask(visit, 0, ~0)  # as often as it is wanted
            sent(visit, w)
            announced(visit, w)
        assert work.n_calls == 2 * (number + 1)
    visit.begin(W, 0)
    sent(visit, W)
    visit.begin(2.0 * W, ~0, 0)
    announced(visit, 2.0 * W)
    sent(visit, 2.0 * W)


def test_a_round_that_is_superseded_leaves_nothing_to_the_next(visit: Visit, work: Counted) -> None:
    work.gate.clear()
    visit.begin(W, ~0)
    assert work.begun.wait(30)
    visit.begin(2.0 * W, ~0)
    work.gate.set()
    announced(visit, 2.0 * W)
    ask(visit, 0)
    sent(visit, 2.0 * W)


def test_an_error_is_told_in_place_of_a_digest(visit: Visit, work: Counted) -> None:
    work.error = True
    visit.begin(W, ~0)
    frame = visit.next()
    assert (frame.kind, frame.number) == (Kind.ERROR, 0)
    assert isinstance(unpack_error(frame.body.data), ZeroDivisionError)
    work.error = False
    visit.begin(W, ~0)
    announced(visit, W)


def test_what_is_dropped_is_not_announced(visit: Visit, work: Counted) -> None:
    work.gate.clear()
    visit.begin(W, ~0)
    assert work.begun.wait(30)
    visit.link.add(pack(Kind.DROP, visit.round, 1, np.array([0], dtype=np.int64)))
    ask(visit, 0)
    work.gate.set()
    sent(visit, W)


def test_a_digest_of_no_message_of_the_job_is_refused(visit: Visit) -> None:
    visit.begin(W, ~7)
    with pytest.raises(Refused, match="Message 7 was asked for"):
        visit.next()
