"""What a virtual worker does with its time, and a port that tells it to yield and to drop."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gradcode.codes import DeclusteredRepetition
from dask_gradcode.rounds import Arrived, Ask, Drop, Event, Order, Yield, Yielded
from dask_gradcode.simulation.agenda import Agenda
from dask_gradcode.simulation.port import VirtualPort
from dask_gradcode.stragglers import FixedDelay, NeverAnswers, StragglerModel

# the root of share 0 is message 0, its halves are 1 and 2, its leaves 3 to 6
CODE = DeclusteredRepetition(2, 1, n_leaves=4)


def agenda(*messages: int, at: float = 0.0) -> Agenda:
    made = Agenda(CODE)
    made.begin(at)
    made.ask(messages, now=0.0, pace=1.0)
    return made


def test_messages_are_computed_one_after_the_other_from_when_the_worker_is_free() -> None:
    made = Agenda(CODE)
    made.begin(at=2.0)
    assert made.ask([1, 6], now=0.0, pace=1.0) == [(1, 4.0), (6, 5.0)]
    assert made.ask([5], now=1.0, pace=2.0) == [(5, 7.0)]
    assert made.ask([7], now=10.0, pace=1.0) == [(7, 14.0)]  # it was idle
    assert made.unfinished(now=4.5) == {6, 5, 7}
    assert made.unfinished(now=5.0) == {5, 7}


@pytest.mark.parametrize(
    ("now", "finished", "running"),
    [
        (0.0, [], (3, 1.0)),
        (0.5, [], (3, 1.0)),
        (1.0, [3], (4, 2.0)),
        (2.5, [1], (5, 3.0)),
        (3.5, [1, 5], (6, 4.0)),
        (4.5, [], (7 + 3, 5.0)),  # the first message is done, and has been sent
        (8.0, [], None),
    ],
)
def test_a_cut_leaves_the_leaf_that_is_running(
    now: float, finished: list[int], running: tuple[int, float] | None
) -> None:
    made = agenda(0, 7)
    assert made.cut(now) == (finished, running)
    free_at = running[1] if running else now
    assert made.ask([6], now, pace=1.0) == [(6, free_at + 1.0)]
    assert made.unfinished(now) == {6, *(running or ())[:1]}


def test_a_second_cut_finds_nothing_more_to_send() -> None:
    made = agenda(0)
    assert made.cut(1.5) == ([3], (4, 2.0))
    assert made.cut(1.6) == ([], (4, 2.0))
    assert made.cut(2.0) == ([], None)


def test_what_is_dropped_before_it_begins_leaves_time_for_the_rest() -> None:
    made = agenda(0, 7, 8)
    assert dict(made.drop([7], now=1.5)) == {0: 4.0, 8: 6.0}
    assert made.ask([3], now=1.5, pace=1.0) == [(3, 7.0)]


def test_what_is_dropped_while_it_is_computed_ends_at_once() -> None:
    made = agenda(0, 8)
    assert made.drop([0], now=1.5) == [(8, 3.5)]
    assert made.cut(2.0) == ([], (10, 2.5))


def test_it_is_no_matter_to_drop_what_is_done_or_was_never_asked() -> None:
    made = agenda(3, 8)
    assert made.drop([3, 5], now=1.5) == []
    assert made.ask([4], now=1.5, pace=1.0) == [(4, 4.0)]


# ---- the port


class World:
    """A port whose events are noted with their times."""

    def __init__(self, model: StragglerModel | None = None, overhead: float = 0.0) -> None:
        nothing = np.zeros(0)
        model = model or StragglerModel()
        self.port = VirtualPort(CODE, model, 8.0, overhead, lambda i, w, order: nothing)
        self.number = -1
        self.begin()

    def begin(self) -> None:
        self.number += 1
        self.port.begin(self.number, np.zeros(0), 1)

    def send(self, *orders: Order, until: float) -> list[tuple[float, tuple[object, ...]]]:
        """Give orders, and return when which message came, or who yielded, up to some time."""
        self.port.send(orders)
        told: list[tuple[float, tuple[object, ...]]] = []
        while events := self.port.events(until):
            told += ((self.port.now(), self._of(event)) for event in events)
        return told

    @staticmethod
    def _of(event: Event) -> tuple[object, ...]:
        match event:
            case Arrived(_, role, message):
                return role, message
            case Yielded(_, role, running):
                return "yielded", role, running
        return (event,)


def test_who_yields_sends_what_it_has_finished_and_then_says_so() -> None:
    world = World(overhead=0.25)
    assert world.send(Ask(0, (0,)), until=2.5) == []
    assert world.send(Yield(0), until=20.0) == [
        (2.75, (0, 1)),
        (2.75, ("yielded", 0, 5)),
        (3.25, (0, 5)),
    ]


def test_who_has_nothing_to_do_says_so_at_once() -> None:
    world = World()
    assert world.send(Ask(0, (3,)), until=2.0) == [(1.0, (0, 3))]
    assert world.send(Yield(0), until=3.0) == [(2.0, ("yielded", 0, None))]


def test_who_is_in_a_delay_reads_no_orders() -> None:
    world = World(FixedDelay(5.0, workers=[0]))
    assert world.send(Ask(0, (0,)), Yield(0), until=4.0) == []
    assert world.send(until=20.0) == [(5.0, ("yielded", 0, 3)), (6.0, (0, 3))]


def test_what_is_dropped_does_not_come_and_the_rest_comes_once() -> None:
    world = World()
    assert world.send(Ask(0, (3, 4, 5, 6)), until=0.5) == []
    assert world.send(Drop(0, (6,)), until=2.5) == [(1.0, (0, 3)), (2.0, (0, 4))]
    assert world.send(Drop(0, (5,)), until=20.0) == []


def test_who_has_done_what_is_dropped_sends_it_no_more_but_goes_on() -> None:
    world = World(overhead=1.0)
    world.send(Ask(0, (3, 4)), until=1.5)  # the first is computed, and on its way
    told = world.send(Drop(0, (3,)), until=20.0)
    assert (3.0, (0, 4)) in told


def test_what_was_asked_in_an_older_round_is_given_up_when_a_newer_one_asks() -> None:
    world = World()
    world.send(Ask(0, (0,)), Yield(0), until=0.5)
    world.begin()
    assert world.send(Ask(0, (3,)), until=20.0) == [(1.5, (0, 3))]


def test_who_never_answers_yields_never() -> None:
    world = World(NeverAnswers(workers=[0]))
    assert world.send(Ask(0, (0,)), Ask(1, (7,)), until=5.0) == [(4.0, (1, 7))]
    assert world.send(Yield(0), until=50.0) == []
