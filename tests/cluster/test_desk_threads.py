"""A desk of two threads: both compute, one reads, and what it reads stops both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.desk import Desk
from dask_gradcode.cluster.worker.wire import Kind, pack
from dask_gradcode.codes import DeclusteredRepetition
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Crew, Work
from visits import Visit, visit_for

CODE = DeclusteredRepetition(2, 1, n_leaves=4)  # message 0 has leaves 3 to 6: blocks 0 to 3
LONG = 60.0  # seconds that no test takes, unless it fails

entered = [threading.Event() for _ in range(4)]
opened = [threading.Event() for _ in range(4)]
meeting = threading.Barrier(2)


class InTime(Work):
    """Adds a block's number, once it is opened; until then looks whether to stop."""

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        number = int(block.y[0])
        if w[0] == 0.0:
            entered[number].set()
            while not opened[number].is_set():
                if should_stop():
                    return False
        out[0] += number
        return True


def on_a_helper(w: Vector, block: Block) -> tuple[float, Vector]:
    meeting.wait(LONG)
    if "gradcode-helper" in threading.current_thread().name:
        raise ZeroDivisionError("not on this one")
    return 0.0, w


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    crew = Crew(2)
    blocks = {i: Block(np.ones((1, 1)), np.array([i])) for i in range(4)}
    desk = Desk(Shard(0, blocks), crew)
    serving = threading.Thread(target=desk.run)
    serving.start()
    yield desk
    desk.close()
    serving.join()
    crew.close()


@pytest.fixture
def visit(desk: Desk) -> Iterator[Visit]:
    """A visitor whose first two leaves are being computed, one on each thread."""
    for event in (*entered, *opened):
        event.clear()
    visit = visit_for(desk, InTime(), CODE)
    visit.begin(np.zeros(1), 1, 2)
    assert entered[0].wait(LONG)
    assert entered[1].wait(LONG)
    yield visit
    visit.close()


def assert_answers(visit: Visit, message: int, value: float) -> None:
    answer = visit.next()
    assert (answer.kind, answer.round, answer.number) == (Kind.ANSWER, visit.round, message)
    assert answer.body.view(np.float64)[0] == value


def test_both_threads_compute_the_leaves_of_one_message(visit: Visit) -> None:
    for event in opened:
        event.set()
    assert_answers(visit, 1, 0.0 + 1.0)
    assert_answers(visit, 2, 2.0 + 3.0)


def test_a_newer_round_stops_both(visit: Visit) -> None:
    visit.begin(np.ones(1), 0)
    assert_answers(visit, 0, 6.0)


def test_who_drops_a_message_stops_both_and_gets_the_next_one(visit: Visit) -> None:
    opened[2].set()
    opened[3].set()
    visit.link.add(pack(Kind.DROP, 0, 1, np.array([1])))
    assert_answers(visit, 2, 5.0)


@pytest.mark.parametrize("slower", [0, 1])
def test_who_yields_keeps_the_first_leaf_and_the_other_thread_gives_up_its_own(
    visit: Visit, slower: int
) -> None:
    if slower == 1:
        opened[0].set()  # after it nothing is left to begin: who reads waits for the helper
    visit.link.add(pack(Kind.YIELD, 0, 0))
    frame = visit.next()
    while frame.kind is Kind.ANSWER:
        assert (frame.number, frame.body.view(np.float64)[0]) == (3, 0.0)
        frame = visit.next()
    assert frame.kind is Kind.YIELDED
    assert frame.number in (3, 3 + slower)
    opened[frame.number - 3].set()
    assert_answers(visit, frame.number, frame.number - 3.0)


def test_who_goes_away_stops_both(desk: Desk, visit: Visit) -> None:
    visit.close()
    other = visit_for(desk, InTime(), CODE)
    other.begin(np.ones(1), 0)
    assert_answers(other, 0, 6.0)
    other.close()


def test_an_error_on_a_helper_is_told_as_any_other(desk: Desk) -> None:
    visit = visit_for(desk, on_a_helper)  # of two blocks, one for each
    visit.begin(np.zeros(1), 0)
    error = visit.error()
    assert isinstance(error, ZeroDivisionError)
    assert error.__notes__[0].startswith("while computing block ")
    visit.close()
