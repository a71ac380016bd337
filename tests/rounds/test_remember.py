"""Older sums that stand in: the rule on a scripted clock, and rounds against plain sums."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    GraphRepetition,
    PartialStragglers,
    SlicedDesign,
    SlicedRepetition,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Busy,
    Done,
    Engine,
    Event,
    Failed,
    Free,
    LetFinish,
    Lost,
    Patience,
    Ready,
    Remember,
    Round,
    Slow,
    Stale,
    Stuck,
)
from dask_gradcode.rounds.memory import Memory
from dask_gradcode.simulation import SimulatedObjective
from dask_gradcode.stragglers import Slowdown
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import logistic_data
from scripted import Scripted

N = 4


class Told:
    """A round of four uncoded roles under ``Remember`` that begins at 100 s."""

    def __init__(self, *news: Event, patience: Patience | None = None, **rule: Any) -> None:
        code = Uncoded(N)
        plan = LetFinish().start(code)
        self.round = Round(20, code, Remember(**rule), plan, patience or Patience())
        self.orders = [*self.round.begin(news, 100.0)]

    def asked(self) -> list[int]:
        return [order.role for order in self.orders if isinstance(order, Ask)]

    def answer(self, role: int, after: float) -> None:
        self.tell(Arrived(20, role, role, np.zeros(2)), after)

    def tell(self, event: Event | None, after: float) -> None:
        self.orders += self.round.handle(event, 100.0 + after)


def stale(role: int, age: int = 3) -> Stale:
    return Stale(role, role, age)


def test_what_is_late_is_waited_for_as_many_times_as_half_of_the_others_take() -> None:
    told = Told(*map(stale, range(N)), factor=1.5)
    told.answer(0, 1.0)
    assert told.round.look_at is None  # of the usual time nothing is known yet
    told.answer(1, 1.2)
    assert told.round.look_at == pytest.approx(101.5)  # 1.5 times the lower median of two
    told.answer(2, 1.4)
    assert told.round.look_at == pytest.approx(101.8)
    told.tell(None, 1.79)
    assert told.round.outcome is None
    told.tell(None, 1.81)
    assert told.round.outcome == Done()
    assert not told.round.state.decodable
    record = told.round.record(0.0, 0.0)
    assert (record.age, record.exact, record.residual, record.error) == (3, False, 1.0, 0.25)


def test_all_answers_in_time_are_the_exact_sum() -> None:
    told = Told(*map(stale, range(N)))
    for role in range(N):
        told.answer(role, 1.0)
    assert told.round.outcome == Done()
    assert told.round.record(0.0, 0.0).age == 0
    assert told.round.drift() is None


def test_nothing_stands_in_for_what_is_not_remembered() -> None:
    told = Told(*map(stale, range(3)))
    for role in range(3):
        told.answer(role, 1.0)
    told.tell(None, 1000.0)
    assert told.round.outcome is None
    told.answer(3, 2000.0)
    assert told.round.outcome == Done()


def test_what_is_too_old_is_waited_for_until_something_younger_comes() -> None:
    told = Told(*map(stale, range(3)), stale(3, age=17), Busy(3), Slow(3), max_age=16)
    assert told.asked() == [0, 1, 2]
    for role in range(3):
        told.answer(role, 1.0)
    told.tell(None, 5.0)
    assert told.round.outcome is None
    told.tell(stale(3, age=8), 6.0)
    assert told.round.outcome == Done()
    assert told.round.record(0.0, 0.0).age == 8


def test_who_is_busy_is_asked_once_it_is_free_and_then_waited_for() -> None:
    told = Told(*map(stale, range(N)), Busy(3))
    assert told.asked() == [0, 1, 2]
    told.tell(Free(3), 0.5)
    assert told.asked() == [0, 1, 2, 3]
    for role in range(3):
        told.answer(role, 1.0)
    assert told.round.outcome is None
    assert told.round.look_at == pytest.approx(102.0)  # 1.5 s after it was asked
    told.answer(3, 1.5)
    assert told.round.outcome == Done()
    assert told.round.state.decodable


def test_who_is_slow_is_asked_and_not_waited_for() -> None:
    told = Told(*map(stale, range(N)), Slow(3))
    assert told.asked() == [0, 1, 2, 3]
    for role in range(3):
        told.answer(role, 1.0)
    assert told.round.outcome == Done()


def test_who_was_slow_for_the_last_time_is_not_waited_for_once_free() -> None:
    told = Told(*map(stale, range(N)), Busy(3))
    told.tell(Free(3, slow=True), 0.5)
    assert told.asked() == [0, 1, 2, 3]
    for role in range(3):
        told.answer(role, 1.0)
    assert told.round.outcome == Done()


def test_a_round_has_one_new_sum_at_least() -> None:
    told = Told(*map(stale, range(N)), *map(Busy, range(N)))
    assert told.asked() == []
    told.tell(None, 50.0)
    assert told.round.outcome is None
    told.tell(Free(2, slow=True), 60.0)
    told.answer(2, 61.0)
    assert told.round.outcome == Done()


def test_the_lost_are_done_without_as_long_as_what_they_sent_is_young() -> None:
    young = Told(*map(stale, range(N)), Lost(3, "it is dead"))
    old = Told(*map(stale, range(3)), stale(3, age=17), Lost(3, "it is dead"))
    for told in young, old:
        for role in range(3):
            told.answer(role, 1.0)
    assert young.round.outcome == Done()
    assert isinstance(old.round.outcome, Stuck)


def test_the_lost_are_waited_for_when_what_they_sent_is_old() -> None:
    news = *map(stale, range(3)), stale(3, age=17), Lost(3, "it is dead")
    told = Told(*news, patience=Patience(recover=60.0))
    for role in range(3):
        told.answer(role, 1.0)
    assert told.round.outcome is None
    told.tell(Ready(3), 9.0)
    assert told.asked() == [0, 1, 2, 3]
    told.answer(3, 11.0)
    assert told.round.outcome == Done()


def test_all_that_are_left_are_not_enough_without_anything_new() -> None:
    told = Told(*map(stale, range(N)), *(Lost(role, "it is dead") for role in range(N)))
    assert told.round.outcome == Stuck((0, 1, 2, 3))


def test_a_replay_decides_as_the_round_did() -> None:
    told = Told(*map(stale, range(N)), Busy(3))
    told.tell(Free(3), 0.5)
    for role in range(3):
        told.answer(role, 1.0)
    told.tell(None, 2.0)
    again = Round.replay(told.round.log)
    assert (again.outcome, again.seconds) == (told.round.outcome, told.round.seconds)
    assert [s.orders for s in again.log.steps] == [s.orders for s in told.round.log.steps]


def test_replicas_of_one_missing_sum_count_once() -> None:
    """Role 1 is not asked any more when it is free, as role 0 has sent what it would send."""
    code = FractionalRepetition(4, 1)
    round_ = Round(20, code, Remember(), LetFinish().start(code))
    round_.begin([Stale(0, 0, 1), Stale(2, 1, 1), Busy(1)], 100.0)
    round_.handle(Arrived(20, 0, 0, np.zeros(2)), 101.0)
    assert round_.handle(Free(1), 101.1) == []
    assert round_.look_at == pytest.approx(101.5)
    round_.handle(None, 101.6)
    assert round_.outcome == Done()


def test_it_does_without_timers_where_nothing_is_remembered() -> None:
    told = Told()
    told.answer(0, 1.0)
    told.answer(1, 1.0)
    assert told.round.look_at is None


@pytest.mark.parametrize(
    "code",
    [
        CyclicRepetition(4, 1),
        DeclusteredRepetition(4, 1),
        GraphRepetition(6, 3),
        SlicedRepetition(4, 1),
        SlicedDesign(3, (0,)),
    ],
    ids=repr,
)
def test_codes_of_other_sums_are_refused(code: GradientCode) -> None:
    with pytest.raises(ValueError, match=r"no block in common.*code='uncoded'"):
        Remember().check(code)


@pytest.mark.parametrize(
    "code", [Uncoded(4), FractionalRepetition(4, 1), FractionalRepetition(6, 2)], ids=repr
)
def test_codes_of_plain_sums_are_taken(code: GradientCode) -> None:
    Remember().check(code)


def test_messages_in_two_parts_may_be_plain_sums() -> None:
    Remember().check(PartialStragglers(FractionalRepetition(4, 1), 1))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"factor": 0.9}, "factor in the range"),
        ({"factor": inf}, "factor in the range"),
        ({"factor": "2"}, "factor in the range"),
        ({"max_age": 0}, "max_age, an int"),
        ({"max_age": 2.0}, "max_age, an int"),
        ({"max_age": True}, "max_age, an int"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Remember(**parameters)


# ---- the engine, on a script


class Sums(Scripted):
    """Answers are of the point: the value is ``w @ w`` and the gradient ``2 w`` times role + 1."""

    def begin(self, round: int, w: Vector, order: int) -> Any:
        self.w = w.copy()
        return super().begin(round, w, order)

    def payload(self, role: int, w: Vector) -> Vector:
        return (role + 1) * np.array([w @ w, *(2 * w)])

    def arrived(self, answer: int, round: int | None = None, w: Vector | None = None) -> Arrived:
        number = self.round if round is None else round
        return Arrived(number, answer, answer, self.payload(answer, self.w if w is None else w))


def engine_after_two_rounds() -> tuple[Engine, Sums]:
    """Roles 0, 1 and 2 of which everything is remembered, of the points 0 and 1."""
    port = Sums(Uncoded(3))
    engine = Engine(port.code, port, Remember())
    for w in 0.0, 1.0:
        port.script = _all_of(port)
        engine(np.array([w]))
    return engine, port


def _all_of(port: Sums) -> Any:
    port.clock += 1.0
    yield [port.arrived(role) for role in range(3)]


def without(port: Sums, role: int, *more: Event) -> Any:
    """All but one answer, and then it is too late."""
    yield [*more]
    port.clock += 1.0
    yield [port.arrived(other) for other in range(3) if other != role]
    port.clock += 1.0
    yield []


def test_value_and_gradient_of_an_older_point_stand_in() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    seen = engine(np.array([3.0]))
    # of role 2 the value 3 and the slope 6 at the point 1, along which the value is 15 at 3
    assert seen.value == 3 * 9.0 + 15.0
    assert_array_equal(seen.gradient, [3 * 6.0 + 6.0])
    # its gradient grew by 6 from the point 0 to the point 1, and the point 3 is twice as far
    assert seen.drift is not None
    assert_array_equal(seen.drift, [12.0])
    assert (seen.record.age, seen.record.drift) == (1, 12.0)
    assert seen.record.late == (2,)


def test_what_comes_late_is_remembered_and_its_worker_is_asked_then() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    port.asked.clear()
    late = port.arrived(2, port.round, port.w)
    port.script = without(port, 2, late)
    seen = engine(np.array([4.0]))
    assert [order.role for _, order in port.asked] == [0, 1, 2]
    assert (seen.record.age, seen.record.exact) == (1, False)
    assert_array_equal(seen.gradient, [3 * 8.0 + 3 * 6.0])
    assert seen.drift is not None
    assert_array_equal(seen.drift, [12.0])  # from 6 to 18 in a round


def test_an_exact_round_asks_everybody_and_waits() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    port.asked.clear()

    def script() -> Any:
        port.clock += 1.0
        yield [port.arrived(0), port.arrived(1)]
        port.clock += 1000.0
        yield []
        yield [port.arrived(2)]

    port.script = script()
    seen = engine.exactly(np.array([5.0]))
    assert [order.role for _, order in port.asked] == [0, 1, 2]
    assert seen.drift is None
    assert seen.record.exact
    assert_array_equal(seen.gradient, [60.0])


def test_what_cannot_be_right_is_not_remembered() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    wrong = Arrived(port.round, 2, 2, np.full(2, np.nan))
    port.script = without(port, 2, wrong)
    seen = engine(np.array([4.0]))
    assert_array_equal(seen.gradient, [3 * 8.0 + 6.0])  # still of the point 1
    assert seen.record.age == 2
    assert len(engine.doubts) == 1


def test_a_worker_that_failed_in_an_older_round_is_asked_again() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    port.asked.clear()
    failed = Failed(port.round, 2, 2, ZeroDivisionError())
    port.script = without(port, 2, failed)
    engine(np.array([4.0]))
    assert [order.role for _, order in port.asked] == [0, 1, 2]


def test_who_was_lost_while_busy_is_asked_when_it_is_back() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    port.asked.clear()
    port.script = without(port, 2, Lost(2, "its process ended"), Ready(2))
    engine(np.array([4.0]))
    assert [order.role for _, order in port.asked] == [0, 1, 2]


def test_who_comes_back_between_two_rounds_is_asked() -> None:
    engine, port = engine_after_two_rounds()
    port.script = without(port, 2)
    engine(np.array([3.0]))
    port.asked.clear()
    port.absent = [Ready(2)]  # type: ignore[list-item]
    port.script = without(port, 2)
    engine(np.array([4.0]))
    assert [order.role for _, order in port.asked] == [0, 1, 2]


def test_a_second_look_at_the_same_point_leaves_the_drift_as_it_is() -> None:
    engine, port = engine_after_two_rounds()
    port.script = _all_of(port)
    engine.exactly(np.array([1.0]))
    port.script = without(port, 2)
    seen = engine(np.array([1.5]))
    assert seen.drift is not None
    assert_array_equal(
        seen.drift, [6.0]
    )  # of the round from 0 to 1, as half of its distance is less


def test_what_comes_after_the_end_is_for_the_next_round() -> None:
    engine, port = engine_after_two_rounds()

    def script() -> Any:
        port.clock += 1.0
        yield [port.arrived(0)]
        port.clock += 10.0
        yield [port.arrived(1), port.arrived(2)]  # with the first of them it is over

    port.script = script()
    seen = engine(np.array([3.0]))
    assert seen.value == 3 * 9.0 + 15.0
    assert seen.record.age == 1
    assert [answer.used for answer in seen.record.answers] == [True, True, False]
    port.script = without(port, 2)
    seen = engine(np.array([4.0]))
    assert_array_equal(seen.gradient, [3 * 8.0 + 3 * 6.0])
    assert seen.record.age == 1


def test_a_point_may_be_changed_by_its_owner() -> None:
    engine, port = engine_after_two_rounds()
    w = np.array([1.0])
    port.script = _all_of(port)
    engine(w)
    w[:] = 3.0
    port.script = without(port, 2)
    assert engine(w).value == 3 * 9.0 + 15.0


def test_an_answer_that_is_older_than_what_is_remembered_changes_nothing() -> None:
    memory, statistic = Memory(Uncoded(1), 1.5), Statistic(1)
    for number in 0, 1:
        memory.begin(number, np.ones(1), statistic, [])
        memory.ask([Ask(0, (0,))], 0.0)
    memory.keep(Arrived(1, 0, 0, np.ones(2)))
    memory.keep(Arrived(0, 0, 0, np.zeros(2)))
    assert memory.begin(2, np.ones(1), statistic, []) == [Busy(0)]


# ---- whole runs on a virtual clock, against plain sums


@settings(max_examples=40, deadline=None)
@given(
    code=st.sampled_from(
        [Uncoded(2), Uncoded(5), FractionalRepetition(4, 1), FractionalRepetition(6, 2)]
    ),
    slow=st.sampled_from(
        [
            Slowdown(8.0, probability=0.3, seed=1),
            Slowdown(3.0, probability=0.5, seed=2),
            Slowdown(30.0, workers=[0, 1]),
            Slowdown(2.0, workers=[1]),
        ]
    ),
    rule=st.builds(Remember, factor=st.floats(1.0, 3.0), max_age=st.integers(1, 20)),
    seed=st.integers(0, 99),
)
def test_a_sum_is_of_the_points_that_the_log_tells(
    code: GradientCode, slow: Slowdown, rule: Remember, seed: int
) -> None:
    X, y = logistic_data(10 * code.n_blocks, 3)
    blocks = {
        i: Block(X[10 * i : 10 * i + 10], y[10 * i : 10 * i + 10].astype(float))
        for i in range(code.n_blocks)
    }
    objective = SimulatedObjective(code, blocks, Logistic(), slow, wait=rule, overhead=0.01)
    rng, points = np.random.default_rng(seed), list[Vector]()
    w = np.zeros(3)
    for number in range(30):
        w = w + 0.1 * rng.standard_normal(3)
        points.append(w)
        exact = bool(rng.random() < 0.1)
        seen = objective.exactly(w) if exact else objective(w)
        ages = remembered(objective.logs[-1].steps, objective.logs[-1].news)
        fresh = {answer.message for answer in seen.record.answers if answer.used}
        missing = set(range(len(code.messages))) - fresh
        value, gradient = 0.0, np.zeros(3)
        for message, sent in enumerate(code.messages):
            at = w if message in fresh else points[number - ages[message]]
            for block in sent.blocks:
                margin = (2 * blocks[block].y - 1) * (blocks[block].X @ at)
                slope = -(blocks[block].X.T @ ((2 * blocks[block].y - 1) / (1 + np.exp(margin))))
                value += np.logaddexp(0.0, -margin).sum() + slope @ (w - at)
                gradient += slope
        assert_allclose(seen.gradient, gradient, atol=1e-12)
        assert seen.value == pytest.approx(value)
        assert fresh
        assert (seen.drift is None) == (not missing) == seen.record.exact
        assert seen.record.age == max((ages[message] for message in missing), default=0)
        assert seen.record.age <= rule.max_age
        assert not (exact and missing)


def remembered(steps: Any, news: Any) -> dict[int, int]:
    told = [*news, *(step.event for step in steps)]
    return {event.message: event.age for event in told if isinstance(event, Stale)}
