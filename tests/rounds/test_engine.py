"""The loop that drives rounds, through a port whose clock and events are scripted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from code_lists import FEW
from dask_gradcode.codes import FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.codes.forest import leaves
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Balancing,
    Deadline,
    Done,
    Drop,
    Engine,
    Event,
    Everybody,
    Failed,
    Fastest,
    Heard,
    Hedging,
    InsufficientWorkersError,
    Lost,
    Order,
    Overdue,
    Patience,
    Planner,
    Policy,
    Ready,
    Round,
    RoundLog,
    Silent,
    UntilExact,
    WaitRule,
    Yield,
    Yielded,
)
from dask_gradcode.typing import Vector
from helpers import answers_of
from scripted import Scripted, sums
from worlds import Watched

LIKELY, RARE = 0.6, 0.1
SEVERAL = [code for code in FEW if code.n_workers > 1]


class Chatty(Scripted):
    """A port that is never silent: every tenth of a second somebody answers an old round."""

    def __init__(self, code: GradientCode, answers: Mapping[int, float], **more: Patience) -> None:
        super().__init__(code, **more)
        self.answers = answers  # when each of them comes

    def events(self, until: float | None) -> Sequence[Event]:
        self.clock += 0.1
        due = [m for m, at in self.answers.items() if self.clock - 0.1 < at <= self.clock]
        return [self.arrived(0, self.round - 1), *map(self.arrived, due)]


def test_a_deadline_is_kept_whatever_chatters() -> None:
    port = Chatty(Uncoded(2), {1: 0.15})
    round_ = Engine(port.code, port, Deadline(1.0)).run()
    assert port.clock == pytest.approx(1.0, abs=0.11)
    assert_allclose(round_.result(), 2 * sums(port.code)[1])


def test_the_others_are_asked_in_time_whatever_chatters() -> None:
    port = Chatty(FractionalRepetition(4, 1), {0: 1.0, 2: 1.0})
    engine = Engine(port.code, port)
    for _ in range(2):
        port.answers = {0: port.clock + 1.0, 2: port.clock + 1.0}
        round_ = engine.run()
        engine.conclude(round_, round_.record(0.0, 0.0))
    began, port.asked = port.clock, []
    port.answers = {1: began + 1.5, 2: began + 1.5}
    engine.run()
    when = {order.role: at - began for at, order in port.asked}
    assert when == {
        0: 0.0,
        2: 0.0,
        1: pytest.approx(1.15, abs=0.06),
        3: pytest.approx(1.2, abs=0.11),
    }


def test_a_round_without_answers_is_given_up_whatever_chatters() -> None:
    port = Chatty(Uncoded(2), {0: 0.5}, patience=Patience(answer=2.0))
    with pytest.raises(InsufficientWorkersError):
        Engine(port.code, port).run()
    assert port.ended is not None
    assert isinstance(port.ended.outcome, Overdue)
    assert port.clock == pytest.approx(2.5, abs=0.11)


def test_answers_that_come_late_are_entered_in_their_own_round() -> None:
    port = Scripted(FractionalRepetition(2, 1))
    engine, w = Engine(port.code, port, policy=Everybody()), np.zeros(2)

    def first() -> Iterator[Sequence[Event]]:
        port.clock = 1.0
        yield [port.arrived(1)]

    def second() -> Iterator[Sequence[Event]]:
        port.clock = 5.0
        yield [port.arrived(0, round=0)]
        port.clock = 6.0
        yield [port.arrived(0)]

    port.script = first()
    one = engine(w)
    port.script = second()
    two = engine(w)
    assert_array_equal(one.record.arrived_at, [5.0, 1.0])
    assert_array_equal(two.record.arrived_at, [5.0, np.nan])
    assert_array_equal(one.gradient, two.gradient)
    port.script = iter([[port.arrived(1)]])
    port.clock = 9.0
    engine.drain()
    assert_array_equal(two.record.arrived_at, [5.0, 8.0])


def test_what_contradicts_an_earlier_answer_is_told_with_its_round() -> None:
    port = Scripted(FractionalRepetition(2, 1))
    engine = Engine(port.code, port, policy=Everybody())

    def script() -> Iterator[Sequence[Event]]:
        yield [port.arrived(1)]
        yield [Arrived(0, 0, 0, port.payloads[0] + 1.0), port.arrived(0)]

    port.script = script()
    engine(np.zeros(2))
    engine(np.zeros(2))
    assert [(number, doubt.roles) for number, doubt in engine.doubts] == [(0, (1, 0))]


def test_who_is_absent_is_named_when_the_round_cannot_end() -> None:
    port = Scripted(Uncoded(2))
    port.absent = [Lost(1, "it is dead")]
    with pytest.raises(InsufficientWorkersError, match=r"Stuck\(missing=\(0, 1\)\)"):
        Engine(port.code, port).run()
    assert port.ended is not None
    assert port.ended.state.lost == {1: "it is dead"}


class Wild(Scripted):
    """A port that draws what happens, as long as what was asked for may come and time goes on."""

    def __init__(self, code: GradientCode, seed: int) -> None:
        super().__init__(code, Patience(recover=20.0, answer=200.0))
        self.draw = np.random.default_rng(seed)
        self.open: list[tuple[int, int]] = []  # role and message that may yet come
        self.away: set[int] = set()
        self.told: list[int] = []  # who may yet say that it has yielded

    def begin(self, round: int, w: Vector, order: int) -> Sequence[Lost]:
        self.open.clear()
        self.told.clear()
        self.absent = [Lost(role, "away") for role in sorted(self.away)]
        return super().begin(round, w, order)

    def send(self, orders: Sequence[Order]) -> None:
        super().send(orders)
        for order in orders:
            role = order.role
            if role in self.away:
                continue  # it has gone in the same moment
            match order:
                case Ask(_, messages):
                    self.open += [(role, message) for message in messages]
                case Drop(_, messages) if self.draw.random() < 0.5:  # else it is too late
                    self.open = [(r, i) for r, i in self.open if r != role or i not in messages]
                case Yield():
                    self.told.append(role)

    def events(self, until: float | None) -> Sequence[Event]:
        step = self.draw.exponential(1.0)
        if until is not None and until <= self.clock + step:
            self.clock = max(self.clock, until)
            return []
        self.clock += step
        return [event for _ in range(self.draw.integers(1, 4)) for event in self.event()]

    def event(self) -> Sequence[Event]:
        role = int(self.draw.integers(self.code.n_workers))
        chance = self.draw.random()
        if chance < LIKELY and self.open:
            answer = self.open.pop(int(self.draw.integers(len(self.open))))
            return [self.arrived(answers_of(self.code).index(answer))] * int(
                self.draw.integers(1, 3)
            )
        if chance < LIKELY + RARE:
            self.away.add(role)
            self.open = [(other, message) for other, message in self.open if other != role]
            self.told = [other for other in self.told if other != role]
            return [Lost(role, "drawn")]
        if chance < LIKELY + 2 * RARE and self.away:
            back = self.away.pop()
            return [Ready(back)]
        if chance < LIKELY + 2.5 * RARE and role not in self.away:
            busy = bool(self.draw.random() < 0.5)
            return [Heard(role) if self.draw.random() < 0.3 else Silent(role, "drawn", busy)]
        if self.told and self.draw.random() < LIKELY:
            return self.yielded(self.told.pop(0))
        if chance < LIKELY + 2.7 * RARE and self.open:
            role, message = self.open.pop()
            return [Failed(self.round, role, message, OSError("drawn"))]
        return [self.arrived(0, round=self.round - 1)]

    def yielded(self, role: int) -> Sequence[Event]:
        """Some leaves of the message that it is at, and what it goes on with."""
        owed = [message for other, message in self.open if other == role]
        self.open = [(other, message) for other, message in self.open if other != role]
        if not owed:
            return [Yielded(self.round, role, None)]
        parts = [*leaves(self.code, owed[0])]
        n = int(self.draw.integers(len(parts)))
        self.open.append((role, parts[n]))
        index = answers_of(self.code).index
        return [
            *(self.arrived(index((role, part))) for part in parts[:n]),
            Yielded(self.round, role, parts[n]),
        ]


@pytest.mark.parametrize("policy", [Everybody(), Hedging(), Balancing()], ids=repr)
@pytest.mark.parametrize("rule", [UntilExact(), Deadline(5.0), Fastest(2)], ids=repr)
@given(code=st.sampled_from(SEVERAL), seed=st.integers(0, 2**32))
def test_whatever_happens_a_round_ends_with_the_sum_or_with_the_reason(
    code: GradientCode, seed: int, rule: WaitRule, policy: Policy
) -> None:
    port = Wild(code, seed)
    engine, whole = Engine(code, port, rule, Watched(policy)), sums(code).sum(axis=0)
    logs: list[RoundLog] = []
    for _ in range(8):
        try:
            round_ = engine.run(np.zeros(2))
        except InsufficientWorkersError:
            assert port.ended is not None
            assert not code.can_decode(port.ended.state.arrived)
            logs.append(port.ended.log)
            break
        record = round_.record(0.0, 0.0)
        if record.exact:
            assert_allclose(round_.result(), whole, atol=1e-7)
        assert record.exact or not rule.exact
        kinds = (record.late, record.lost, record.not_needed, record.unplaced)
        assert len(set().union(*kinds)) == sum(map(len, kinds))
        answered = {(a.role, a.message) for a in record.answers if a.seconds <= record.seconds}
        owing = {
            role
            for role in range(code.n_workers)
            if not {(role, i) for i in round_.state.asked.get(role, ())} <= answered
        }
        assert owing <= set().union(*kinds)
        engine.conclude(round_, record)
        logs.append(round_.log)
    for log in logs:
        again = Round.replay(log)
        assert [tuple(step.orders) for step in again.log.steps] == [
            tuple(step.orders) for step in log.steps
        ]
        assert again.outcome is not None


def test_a_log_can_be_kept_and_tells_what_happened(tmp_path: object) -> None:
    port = Scripted(FractionalRepetition(2, 1))
    port.script = iter(
        [
            [Lost(0, "its process ended")],
            [],
            [Silent(1, "busy", may_be_busy=True)],
            [port.arrived(1, 0)],
        ]
    )
    round_ = Engine(port.code, port).run(np.zeros(2))
    path = f"{tmp_path}/round.log"
    round_.log.save(path)
    again = RoundLog.load(path)
    assert str(again) == str(round_.log)
    first, second, third, *_ = str(again).splitlines()
    assert first.startswith("Round 0 of FractionalRepetition")
    assert "the round begins" in second
    assert "Ask(role=0" in third
    assert "Lost(role=0, why='its process ended')" in str(again)
    replayed = Round.replay(again)
    assert replayed.outcome == round_.outcome
    with pytest.raises(RuntimeError, match="let go"):
        replayed.result()


class Nobody(Policy):
    """Asks nobody."""

    def start(self, code: GradientCode) -> Planner:
        return Planner()


def test_a_round_can_be_replayed_with_another_plan() -> None:
    code = FractionalRepetition(2, 1)
    round_ = Round(0, code)  # everybody is asked
    round_.begin([], 0.0)
    round_.handle(Arrived(0, 1, 0, np.zeros(0)), 1.0)
    again = Round.replay(round_.log, plan=Nobody())
    assert [*map(len, (step.orders for step in again.log.steps))] == [0, 0]
    assert again.outcome == Done()


def test_a_round_that_was_interrupted_before_it_began_cannot_be_replayed() -> None:
    log = Round(7, FractionalRepetition(2, 1)).log
    assert str(log).startswith("Round 7 of ")
    with pytest.raises(ValueError, match="Round 7 was interrupted before it began"):
        Round.replay(log)


def test_the_last_logs_are_kept_and_those_of_an_error_or_a_new_doubt() -> None:
    port = Scripted(FractionalRepetition(2, 1))
    engine = Engine(port.code, port, policy=Everybody())
    for number in range(100):
        wrong = port.payloads[0] + 1.0
        late = [Arrived(number - 1, 0, 0, wrong)] if number in (4, 5) else []
        port.script = iter([[*late, port.arrived(1, number)]])
        engine.run(np.zeros(2))
    assert [log.number for log in engine.logs] == [3, *range(36, 100)]
    assert [len(step.doubts) for step in engine.logs[0].steps] == [0, 0, 1]
    port.script = iter([[Lost(0, "gone"), Lost(1, "gone")]])
    with pytest.raises(InsufficientWorkersError):
        engine.run(np.zeros(2))
    for number in range(101, 171):
        port.script = iter([[port.arrived(1, number)]])
        engine.run(np.zeros(2))
    numbers = [log.number for log in engine.logs]
    assert numbers[:3] == [3, 100, 107]
    assert not isinstance(Round.replay(engine.logs[1]).outcome, Done)
    assert isinstance(Round.replay(engine.logs[2]).outcome, Done)
