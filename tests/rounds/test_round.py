"""A round on a scripted clock: what it answers to every event, and what it sums in the end."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from code_lists import LARGER, OF_FOUR
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import (
    Answer,
    Arrived,
    Ask,
    Deadline,
    Done,
    Event,
    Failed,
    Fastest,
    Heard,
    Lost,
    Order,
    Outcome,
    Overdue,
    Patience,
    Planner,
    Ready,
    Round,
    Silent,
    State,
    Stuck,
    Unplaced,
    UntilExact,
    WaitRule,
)
from dask_gradcode.rounds.plans.base import ask
from dask_gradcode.rounds.stand_in import ScaledUp
from dask_gradcode.typing import Matrix, Part, Vector
from helpers import OwnThenNext, answers_of, payloads_of

NUMBER = 7
ERROR = ValueError("a bad block")
PATIENT = Patience(recover=1000.0)


def sums(code: GradientCode) -> Matrix:
    """Value and gradient of each block, in whole numbers."""
    return np.random.default_rng(0).integers(-9, 10, (code.n_blocks, 3)).astype(float)


class Script:
    """A round that is told by number which answers arrive, one a second."""

    def __init__(
        self,
        code: GradientCode,
        wait: WaitRule | None = None,
        block_rows: Vector | None = None,
        w: Vector | None = None,
        patience: Patience | None = None,
        planner: Planner | None = None,
    ) -> None:
        self.code, self.now, self.answers = code, 100.0, answers_of(code)
        self.payloads = payloads_of(code, sums(code))
        witness = None if w is None else Inspector(code, w, Statistic.at(w))
        rest = patience or PATIENT, ScaledUp(code, block_rows), witness
        self.round = Round(NUMBER, code, wait, planner, *rest)
        self.orders = self.round.begin([], self.now)

    def arrived(self, answer: int, number: int = NUMBER) -> Arrived:
        role, message = self.answers[answer]
        return Arrived(number, role, message, self.payloads[message])

    def feed(self, event: Event | int | None) -> Outcome | None:
        """Tell the round of something; how it has ended, if it has."""
        self.now += 1.0
        event = self.arrived(event) if isinstance(event, int) else event
        self.orders = self.round.handle(event, self.now)
        return self.round.outcome

    @property
    def hopeless(self) -> bool:
        """Whether the round waits only for somebody to come back."""
        return self.round.outcome is None and self.round.look_at is not None


def with_payload(script: Script, answer: int, payload: Any) -> Arrived:
    return replace(script.arrived(answer), payload=payload)


def failed(code: GradientCode, answer: int, number: int = NUMBER) -> Failed:
    return Failed(number, *answers_of(code)[answer], ERROR)


def assert_done_as_soon_as_decodable(code: GradientCode, order: list[int]) -> None:
    script, arrived = Script(code), np.zeros(len(code.messages), dtype=bool)
    for answer in order:
        arrived[script.answers[answer][1]] = True
        possible = code.decode(arrived).residual < 1e-8
        assert script.feed(answer) == (Done() if possible else None)
        if possible:
            break
    assert_allclose(script.round.result(), sums(code).sum(axis=0), atol=1e-10)


@pytest.mark.parametrize("code", OF_FOUR, ids=repr)
def test_a_round_is_done_at_the_earliest_decodable_arrival(code: GradientCode) -> None:
    for order in permutations(range(4)):
        assert_done_as_soon_as_decodable(code, list(order))


@given(code=st.sampled_from(LARGER), data=st.data())
def test_a_larger_round_is_done_at_the_earliest_decodable_arrival(
    code: GradientCode, data: st.DataObject
) -> None:
    assert_done_as_soon_as_decodable(code, data.draw(st.permutations(range(len(answers_of(code))))))


@given(
    code=st.sampled_from([c for c in OF_FOUR + LARGER if not (c.divides or c.shares_sending)]),
    data=st.data(),
)
def test_a_round_answers_any_events_as_the_code_allows(
    code: GradientCode, data: st.DataObject
) -> None:
    script, n = Script(code), len(answers_of(code))
    arrived, able = np.zeros(len(code.messages), dtype=bool), set(script.answers)
    in_error: set[int] = set()
    kinds = st.sampled_from(
        ["arrived", "failed", "lost", "unplaced", "ready", "old", "old failed", "nothing"]
    )
    for kind, number in data.draw(st.lists(st.tuples(kinds, st.integers(0, n - 1)), max_size=30)):
        role, message = script.answers[number]
        held = [(role, i) for i in code.messages_of[role]]
        events = {
            "arrived": script.arrived(number),
            "failed": failed(code, number),
            "lost": Lost(role, "gone"),
            "unplaced": Unplaced(role, "on its way"),
            "ready": Ready(role),
            "old": script.arrived(number, NUMBER - 1),
            "old failed": failed(code, number, NUMBER - 1),
            "nothing": None,
        }
        answer = script.feed(events[kind])
        again = [i for _, i in held if kind == "ready" and not arrived[i] and (role, i) not in able]
        arrived[message] |= kind == "arrived"
        able -= {(role, message)} if kind in ("arrived", "failed") else set()
        able -= set(held) if kind in ("lost", "unplaced") else set()
        able |= {(role, i) for i in again}
        in_error = (in_error | {role} if kind == "failed" else in_error) - (
            {role} if kind == "ready" else set()
        )
        if code.can_decode(arrived):
            assert answer == Done()
            assert_allclose(script.round.result(), sums(code).sum(axis=0), atol=1e-8)
            return
        fine = {b for r in range(code.n_workers) if r not in in_error for b in code.blocks_of(r)}
        possible = arrived.copy()
        possible[[i for _, i in able]] = True
        hopeless = not code.can_decode(possible)
        if hopeless and len(fine) < code.n_blocks:
            missing = {role for role, i in script.answers if not arrived[i]}
            assert answer == Stuck(tuple(sorted(missing)))
            return
        assert answer is None
        assert script.orders == ([Ask(role, tuple(again))] if again else [])
        assert script.hopeless == hopeless


def test_answers_to_another_round_change_nothing() -> None:
    script = Script(Uncoded(2))
    for number in (NUMBER - 1, NUMBER + 1):
        assert script.feed(script.arrived(0, number)) is None
        assert script.feed(failed(script.code, 0, number)) is None
    assert not script.round.state.arrived.any()
    assert script.round.state.pending.all()
    assert not script.round.state.errors


def test_a_second_copy_of_an_answer_changes_nothing() -> None:
    script = Script(Uncoded(2))
    script.feed(0)
    other = Arrived(NUMBER, 0, 0, np.full(3, 1e9))
    assert script.feed(other) is None
    assert script.feed(1) == Done()
    assert_array_equal(script.round.result(), sums(script.code).sum(axis=0))
    assert script.round.state.answers == [Answer(0, 0, 1.0), Answer(1, 1, 3.0)]


def test_a_round_that_is_done_stays_done() -> None:
    script = Script(FractionalRepetition(4, 1))
    assert [script.feed(0), script.feed(2)] == [None, Done()]
    before = script.round.result()
    late = [1, 0, Lost(0, "gone"), Ready(3), failed(script.code, 3), None, Lost(2, "gone")]
    assert [script.feed(event) for event in late] == [Done()] * len(late)
    assert_array_equal(script.round.result(), before)
    record = script.round.record(0.0, 0.0)
    assert (record.not_needed, record.lost, record.seconds) == ((1, 3), (), 2.0)


class AskSome(Planner):
    """Asks some roles, and nobody else."""

    def __init__(self, *roles: int) -> None:
        self.roles = roles

    def begin(self, state: State, now: float) -> list[Order]:
        return ask(self.roles, state)


def test_who_is_silent_at_the_end_is_not_needed_unless_found_late_or_absent() -> None:
    script = Script(FractionalRepetition(10, 1), planner=AskSome(0, 2, 3, 4, 6, 7, 8))
    for event in (Lost(3, "gone"), Unplaced(9, "on its way"), 0, 2, 4, 6, 8):
        script.feed(event)
    script.round.late = {0, 3, 5}
    record = script.round.record(0.0, 0.0)
    assert (record.not_needed, record.late) == ((1, 7), (5,))
    assert (record.lost, record.unplaced, record.spared) == ((3,), (9,), (1, 5))


def test_an_answer_that_comes_together_with_the_last_one_is_in_time() -> None:
    script = Script(FractionalRepetition(4, 1))
    assert [script.feed(0), script.feed(2)] == [None, Done()]
    assert script.round.handle(script.arrived(3), script.now) == []
    assert script.round.record(0.0, 0.0).not_needed == (1,)


def test_a_role_that_is_not_placed_yet_is_waited_for_and_is_not_restored_when_it_comes() -> None:
    script = Script(Uncoded(2))
    assert script.feed(Unplaced(1, "on its way")) is None
    assert script.hopeless
    assert script.round.state.lost == {1: "on its way"}
    assert script.feed(Ready(1, again=False)) is None
    assert script.orders == [Ask(1, (1,))]
    assert [script.feed(0), script.feed(1)] == [None, Done()]
    record = script.round.record(0.0, 0.0)
    assert (record.unplaced, record.lost, record.restored) == ((), (), ())
    assert record.placed == (1,)


IMPATIENT = Patience()


@pytest.mark.parametrize("fatal", [Lost(2, "gone"), failed(Uncoded(4), 2)], ids=["lost", "failed"])
def test_a_fatal_loss_names_every_role_that_is_missing(fatal: Event) -> None:
    script = Script(Uncoded(4), patience=IMPATIENT)
    script.feed(0)
    assert script.feed(fatal) == Stuck((1, 2, 3))
    assert script.feed(Ready(2)) == Stuck((1, 2, 3))  # the end is the end


def test_losses_are_waited_out_while_the_others_are_enough() -> None:
    script = Script(FractionalRepetition(4, 1), patience=IMPATIENT)
    assert script.feed(Lost(0, "gone")) is None
    assert script.feed(failed(script.code, 3)) is None
    assert script.round.state.lost == {0: "gone"}
    assert script.round.state.errors == {3: ERROR}
    assert script.feed(Lost(1, "gone")) == Stuck((0, 1, 2, 3))


def test_who_is_absent_at_the_beginning_is_not_asked() -> None:
    code = FractionalRepetition(4, 1)
    round_ = Round(NUMBER, code)
    absent = [Lost(1, "dead"), Unplaced(2, "on its way")]
    assert round_.begin(absent, 0.0) == [Ask(0, (0,)), Ask(3, (1,))]
    assert round_.state.lost == {1: "dead", 2: "on its way"}
    hopeless = Round(NUMBER, Uncoded(2))
    assert hopeless.begin([Lost(1, "dead")], 0.0) == [Ask(0, (0,))]
    assert hopeless.outcome == Stuck((0, 1))


def test_a_role_that_is_ready_is_asked_for_exactly_what_is_missing() -> None:
    script = Script(OwnThenNext(3))
    assert script.code.messages_of[1] == (2, 3)
    script.feed(Ready(1))
    assert script.orders == []
    script.feed(2)
    script.feed(Lost(1, "gone"))
    script.feed(Lost(0, "gone"))
    for event, orders in ((Ready(1), [Ask(1, (3,))]), (Ready(1), []), (Ready(0), [Ask(0, (0, 1))])):
        script.feed(event)
        assert script.orders == orders
    assert not script.round.state.lost


def test_a_round_without_hope_goes_on_when_the_role_is_ready_again() -> None:
    script = Script(Uncoded(2))
    assert script.feed(Lost(1, "gone")) is None
    assert script.hopeless
    script.feed(Ready(1))
    assert script.orders == [Ask(1, (1,))]
    assert not script.hopeless
    assert [script.feed(0), script.feed(1)] == [None, Done()]
    assert script.round.record(0.0, 0.0).lost == ()


# ---------------------------------------------------------------- patience


def test_the_lost_are_waited_for_as_long_as_patience_says() -> None:
    script = Script(Uncoded(2), patience=Patience(recover=3.0))
    script.feed(Lost(1, "gone"))
    assert script.round.look_at == 104.0
    assert [script.feed(None), script.feed(0), script.feed(None)] == [None, None, Stuck((1,))]


def test_patience_begins_anew_when_there_was_hope_in_between() -> None:
    script = Script(Uncoded(2), patience=Patience(recover=3.0))
    events = [Lost(1, "gone"), None, Ready(1), Lost(1, "gone"), None, None]
    assert [script.feed(event) for event in events] == [None] * 6
    assert script.feed(None) == Stuck((0, 1))


def test_what_has_failed_wherever_it_is_held_is_not_waited_for() -> None:
    script = Script(FractionalRepetition(2, 1))
    assert script.feed(failed(script.code, 0)) is None
    assert script.feed(failed(script.code, 1)) == Stuck((0, 1))


def test_the_silent_are_not_given_up_while_the_others_are_enough() -> None:
    script = Script(FractionalRepetition(4, 1), patience=IMPATIENT)
    for event in (Silent(0, "frozen"), None, Silent(0, "still frozen")):
        assert script.feed(event) is None
    assert [script.feed(1), script.feed(2)] == [None, Done()]
    assert script.round.record(0.0, 0.0).lost == ()


def test_the_silent_are_lost_when_they_were_needed_for_too_long() -> None:
    script = Script(FractionalRepetition(4, 1), patience=Patience(recover=2.0))
    script.feed(Lost(0, "gone"))
    assert [script.feed(Silent(1, "frozen")), script.feed(None)] == [None, None]
    assert script.round.look_at == 104.0
    assert script.feed(Silent(1, "still frozen")) == Stuck((0, 1, 2, 3))
    assert script.round.state.lost == {0: "gone", 1: "still frozen"}


def test_those_who_may_be_busy_are_waited_for_as_the_slow_are() -> None:
    script = Script(Uncoded(2), patience=IMPATIENT)
    busy = Silent(1, "no heartbeat", may_be_busy=True)
    assert [script.feed(event) for event in (busy, 0, None, busy)] == [None] * 4
    assert script.feed(1) == Done()


def test_where_there_is_a_sum_already_no_silent_one_is_waited_for_to_better_it() -> None:
    code = CyclicRepetition(4, 1)
    for busy in (False, True):
        script = Script(code, UntilExact(max_amplification=1e-9))
        assert [script.feed(message) for message in (0, 1, 2)] == [None] * 3
        assert script.feed(Silent(2, "it has answered")) is None
        assert script.feed(Silent(3, "frozen", may_be_busy=busy)) == Done()
        assert script.round.record(0.0, 0.0).lost == (3,)


@pytest.mark.parametrize("sign", [Heard(1), Arrived(NUMBER, 1, 1, np.zeros(3))], ids=type)
def test_who_is_heard_from_again_is_waited_for(sign: Event) -> None:
    script = Script(Uncoded(3), patience=Patience(recover=2.0))
    events = [Silent(1, "frozen"), sign, None, None]
    assert [script.feed(event) for event in events] == [None] * 4
    assert script.round.state.silent == {}


def test_a_round_without_any_answer_is_given_up_in_the_end() -> None:
    script = Script(Uncoded(3), patience=Patience(answer=3.0))
    assert script.round.look_at == 103.0
    assert [script.feed(None), script.feed(0)] == [None, None]
    assert script.round.look_at == 105.0
    assert [script.feed(None)] * 2 == [None] * 2
    assert script.feed(None) is None
    assert script.feed(None) == Overdue((1, 2), 3.0)


# ---------------------------------------------------------------- messages that cannot be right

NOT_FINITE = "it sent a message that is not finite"
POINT = np.zeros(2)
BAD = [np.array([1.0, np.nan, 2.0]), np.array([np.inf, 1.0, 2.0]), np.array([1.0, -np.inf, np.inf])]


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("code", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=repr)
def test_a_message_that_is_not_finite_is_an_erasure(code: GradientCode, bad: Vector) -> None:
    for liar in range(4):
        script = Script(code, w=POINT)
        assert script.feed(with_payload(script, liar, bad)) is None
        for other in set(range(4)) - {liar}:
            answer = script.feed(other)
        assert answer == Done()
        assert_allclose(script.round.result(), sums(code).sum(axis=0), atol=1e-10)
        assert script.round.record(0.0, 0.0).lost == (liar,)
        _, message = script.answers[liar]
        assert script.round.doubts == [Doubt((liar,), code.messages[message].blocks, NOT_FINITE)]


def test_a_message_of_the_wrong_size_is_an_erasure() -> None:
    script = Script(FractionalRepetition(2, 1), w=POINT)
    for size in (2, 4):
        assert script.feed(with_payload(script, 0, np.ones(size))) is None
    assert script.round.state.lost == {0: "it sent 2 numbers where 3 were expected"}
    part = Part(np.ones(2), np.array([0, 3]), size=4)
    assert script.feed(with_payload(script, 1, part)) is None
    assert script.hopeless
    script.feed(Ready(1))
    assert script.orders == [Ask(1, (0,))]
    assert script.feed(1) == Done()


@pytest.mark.parametrize("code", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=repr)
def test_a_sum_that_is_not_finite_is_believed_when_all_replicas_say_so(code: GradientCode) -> None:
    script = Script(code, w=POINT)
    infinite = np.where(code.encoding_matrix[:, :1] != 0, np.inf, 0.0)
    script.payloads = [np.add(*both) for both in zip(script.payloads, infinite, strict=True)]
    for number in range(4):
        answer = script.feed(number)
        assert (answer == Done()) == (
            number >= (2 if isinstance(code, FractionalRepetition) else 3)
        )
    assert not np.isfinite(script.round.result()).all()
    assert script.round.record(0.0, 0.0).lost == ()
    assert script.round.doubts == []


def test_a_lost_replica_may_yet_contradict_a_message_that_is_not_finite() -> None:
    code = FractionalRepetition(2, 1)
    for returns in (True, False):
        script = Script(code, w=POINT, patience=Patience(recover=2.0))
        script.feed(Lost(1, "gone"))
        assert script.feed(with_payload(script, 0, BAD[0])) is None
        assert script.hopeless
        if returns:
            script.feed(Ready(1))
            assert script.orders == [Ask(1, (0,))]
            assert script.feed(1) == Done()
            assert_array_equal(script.round.result(), sums(code).sum(axis=0))
        else:
            assert [script.feed(None), script.feed(None)] == [None, Done()]
            assert_array_equal(script.round.result(), BAD[0])


def test_at_a_point_that_is_not_finite_neither_is_the_sum() -> None:
    script = Script(Uncoded(2), w=np.array([np.inf, 0.0]))
    assert script.feed(with_payload(script, 0, BAD[0])) is None
    assert script.feed(1) == Done()
    assert script.round.doubts == []


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("changed", [0, 1, 2])
def test_replicas_that_disagree_are_doubted(changed: int, late: bool) -> None:
    code = FractionalRepetition(4, 1)
    script = Script(code, w=POINT)
    lie = script.payloads[0].copy()
    lie[changed] += 1e-3
    for event in (
        [0, 2, with_payload(script, 1, lie)] if late else [0, with_payload(script, 1, lie)]
    ):
        script.feed(event)
    assert script.feed(2) == Done()
    blocks = code.messages[0].blocks
    assert script.round.doubts == [
        Doubt((0, 1), blocks, "they sent different sums of the same rows")
    ]
    assert_array_equal(script.round.result(), sums(code).sum(axis=0))


@given(
    values=st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3),
    rounding=st.lists(st.floats(-1e-12, 1e-12), min_size=3, max_size=3),
)
def test_replicas_that_agree_to_rounding_are_not_doubted(
    values: list[float], rounding: list[float]
) -> None:
    script = Script(FractionalRepetition(2, 1), w=POINT)
    first = np.array(values)
    second = first + np.array(rounding) * np.abs(first).max()
    entries = np.arange(3, dtype=np.int32)
    script.feed(with_payload(script, 0, first))
    script.feed(with_payload(script, 1, Part(second, entries, size=3)))
    assert script.round.doubts == []


def test_messages_that_are_let_go_can_still_be_compared() -> None:
    script = Script(FractionalRepetition(2, 1), w=POINT)
    script.feed(0)
    script.round.forget()
    with pytest.raises(RuntimeError, match="have been let go"):
        script.round.result()
    assert script.feed(with_payload(script, 1, np.array([5.0, 5.0, 5.0]))) == Done()
    assert [doubt.roles for doubt in script.round.doubts] == [(0, 1)]


def test_the_record_says_who_is_there_again() -> None:
    script = Script(FractionalRepetition(4, 1))
    for event in (Lost(3, "gone"), 0, Ready(3), 3):
        script.feed(event)
    record = script.round.record(0.0, 0.0)
    assert (record.lost, record.restored) == ((), (3,))


def test_the_record_says_what_the_round_did() -> None:
    script = Script(FractionalRepetition(6, 1))
    for event in (0, Lost(2, "gone"), 3, failed(script.code, 5), 4):
        script.feed(event)
    record = script.round.record(value=1.5, grad_norm=0.25)
    assert (record.round, record.value, record.grad_norm) == (NUMBER, 1.5, 0.25)
    assert_array_equal(record.arrived_at, [1.0, np.nan, np.nan, 3.0, 5.0, np.nan])
    assert_array_equal(record.used, [True, False, False, True, True, False])
    assert (record.seconds, record.not_needed, record.lost) == (5.0, (1,), (2, 5))
    assert (record.residual, record.amplification, record.exact) == (0.0, 1.0, True)


def test_a_message_that_comes_late_is_entered_in_the_record() -> None:
    script = Script(FractionalRepetition(2, 1))
    script.feed(0)
    record = script.round.record(0.0, 0.0)
    assert_array_equal(record.arrived_at, [1.0, np.nan])
    for event in (None, script.arrived(1, NUMBER + 1), 1, 1):
        assert script.feed(event) == Done()
    assert_array_equal(record.arrived_at, [1.0, 4.0])
    assert (record.seconds, record.not_needed) == (1.0, (1,))  # of the round that is over


def test_there_is_no_result_and_no_record_before_the_end() -> None:
    script = Script(Uncoded(2))
    script.feed(0)
    for question in (script.round.result, lambda: script.round.record(0.0, 0.0)):
        with pytest.raises(RuntimeError, match="Round 7 has not enough messages yet"):
            question()


# ---------------------------------------------------------------- wait rules


def residual_and_exact(script: Script) -> tuple[float, bool]:
    record = script.round.record(0.0, 0.0)
    return record.residual, record.exact


def amplification(code: GradientCode, messages: list[int]) -> float:
    return code.decode(np.isin(np.arange(len(code.messages)), messages)).amplification


def test_an_ill_conditioned_decoding_waits_for_one_more_message() -> None:
    code = CyclicRepetition(5, 2)
    three, four = amplification(code, [0, 1, 2]), amplification(code, [0, 1, 2, 3])
    assert four < three
    script = Script(code, UntilExact(max_amplification=(three + four) / 2))
    assert [script.feed(i) for i in range(4)] == [None, None, None, Done()]
    assert script.round.record(0.0, 0.0).amplification == four
    assert_allclose(script.round.result(), sums(code).sum(axis=0), atol=1e-10)


@pytest.mark.parametrize("last", [Lost(4, "gone"), failed(CyclicRepetition(5, 2), 4), 4], ids=type)
def test_an_ill_conditioned_decoding_is_taken_when_nothing_more_can_come(last: Event | int) -> None:
    script = Script(CyclicRepetition(5, 2), UntilExact(max_amplification=0.5))
    script.feed(Lost(3, "gone"))
    assert [script.feed(i) for i in range(3)] == [None] * 3
    assert script.feed(last) == Done()
    assert_allclose(script.round.result(), sums(script.code).sum(axis=0), atol=1e-10)


ROWS = np.array([10.0, 20.0, 30.0, 40.0])


def test_the_fastest_are_summed_and_scaled_up_by_their_rows() -> None:
    script = Script(Uncoded(4), Fastest(2), ROWS)
    assert [script.feed(3), script.feed(1)] == [None, Done()]
    blocks = sums(script.code)
    assert_allclose(script.round.result(), (blocks[1] + blocks[3]) * 100 / 60, rtol=1e-14)
    assert residual_and_exact(script) == (1.0, False)
    assert script.round.record(0.0, 0.0).not_needed == (0, 2)


def test_without_row_counts_blocks_count_the_same() -> None:
    script = Script(Uncoded(4), Fastest(1))
    script.feed(2)
    assert_array_equal(script.round.result(), 4 * sums(script.code)[2])


def test_all_of_the_fastest_are_the_exact_sum() -> None:
    script = Script(Uncoded(4), Fastest(4), ROWS)
    assert [script.feed(i) for i in range(4)] == [None, None, None, Done()]
    assert_array_equal(script.round.result(), sums(script.code).sum(axis=0))
    assert residual_and_exact(script) == (0.0, True)


def test_the_fastest_are_not_waited_for_when_the_sum_is_exact() -> None:
    script = Script(FractionalRepetition(6, 2), Fastest(5))
    assert [script.feed(0), script.feed(4)] == [None, Done()]
    assert_array_equal(script.round.result(), sums(script.code).sum(axis=0))
    assert residual_and_exact(script) == (0.0, True)


def test_the_fastest_are_fewer_when_no_more_can_come() -> None:
    script = Script(Uncoded(4), Fastest(3), ROWS)
    script.feed(Lost(0, "gone"))
    assert [script.feed(1), script.feed(failed(script.code, 2))] == [None, None]
    assert script.feed(Lost(3, "gone")) == Done()
    assert_array_equal(script.round.result(), 5 * sums(script.code)[1])


def test_a_worker_is_among_the_fastest_when_all_its_messages_are_here() -> None:
    script = Script(OwnThenNext(3), Fastest(1))
    assert [script.feed(i) for i in (0, 2, 3)] == [None, None, Done()]


def test_at_the_deadline_the_best_approximation_is_taken() -> None:
    script = Script(FractionalRepetition(4, 1), Deadline(3.0), ROWS)
    assert [script.feed(0), script.feed(None), script.feed(None)] == [None] * 2 + [Done()]
    assert_allclose(script.round.result(), sums(script.code)[:2].sum(axis=0) * 100 / 30)
    assert residual_and_exact(script) == (1.0, False)


def test_after_the_deadline_the_first_message_is_waited_for() -> None:
    script = Script(CyclicRepetition(5, 2), Deadline(0.5))
    assert [script.feed(None), script.feed(None)] == [None] * 2
    assert script.feed(4) == Done()
    residual, exact = residual_and_exact(script)
    assert residual == script.code.decode(np.arange(5) == 4).residual > 0.1
    assert not exact


def test_before_the_deadline_an_exact_sum_is_enough() -> None:
    script = Script(CyclicRepetition(4, 1), Deadline(60.0), ROWS)
    assert [script.feed(i) for i in (2, 0, 3)] == [None] * 2 + [Done()]
    assert_allclose(script.round.result(), sums(script.code).sum(axis=0), atol=1e-10)
    assert residual_and_exact(script)[1]


def test_before_the_deadline_a_round_ends_when_nothing_more_can_come() -> None:
    script = Script(Uncoded(3), Deadline(60.0))
    assert [script.feed(1), script.feed(Lost(0, "gone"))] == [None] * 2
    assert script.feed(Lost(2, "gone")) == Done()
    assert_array_equal(script.round.result(), 3 * sums(script.code)[1])


@pytest.mark.parametrize("wait", [UntilExact(), Fastest(1), Deadline(60.0)], ids=repr)
def test_no_rule_ends_a_round_of_which_nothing_can_come(wait: WaitRule) -> None:
    script = Script(Uncoded(2), wait, patience=IMPATIENT)
    script.feed(Lost(0, "gone"))
    assert script.feed(Lost(1, "gone")) == Stuck((0, 1))


@pytest.mark.parametrize("seconds", [0, -1.0, np.nan, "1 s", None])
def test_a_deadline_lies_in_the_future(seconds: Any) -> None:
    with pytest.raises(ValueError, match=f"needs seconds > 0, got {seconds!r}"):
        Deadline(seconds)


@pytest.mark.parametrize("n_workers", [-1, 0, 5, 2.5, True, "3", None])
def test_the_fastest_are_some_of_the_codes_workers(n_workers: Any) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the code's 4, got {n_workers!r}"):
        Fastest(n_workers).check(Uncoded(4))


def test_rules_that_make_sense_are_not_refused() -> None:
    for wait in (UntilExact(), Fastest(1), Fastest(4), Deadline(0.1)):
        wait.check(Uncoded(4))
    assert [wait.exact for wait in (UntilExact(), Fastest(4), Deadline(0.1))] == [
        True,
        False,
        False,
    ]


def test_the_fastest_of_groups_are_right_on_average() -> None:
    """Fewer replicas than are ignored: whoever is among the fastest, what is scaled up is fair."""
    code = FractionalRepetition(6, 1)
    found = []
    for fastest in combinations(range(6), 3):
        script = Script(code, Fastest(3))
        for worker in fastest:
            script.feed(worker)
        assert script.round.outcome == Done()
        found.append(script.round.result())
    assert_allclose(np.mean(found, axis=0), sums(code).sum(axis=0))
