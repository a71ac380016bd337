"""Who is asked for which slices, on a scripted clock."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import SlicedRepetition
from dask_gradcode.inspection import Inspector
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Done,
    Drop,
    Event,
    Everybody,
    Failed,
    Hedging,
    Lost,
    Order,
    Patience,
    Ready,
    Round,
    Silent,
)
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE
from dask_gradcode.rounds.plans.slicing import A_WHILE, GUESSED, LEARN_EVERY
from helpers import payloads_of

CODE = SlicedRepetition(6, 2)  # groups 0 to 2 and 3 to 5; slices 2 j and 2 j + 1 are role j's
LATE = PATIENCE + AT_LEAST  # when the others have taken a second
W = np.zeros(11)


class Fit:
    """Rounds of one fit, told by hand what happens when; payloads are added up in truth."""

    def __init__(self, code: SlicedRepetition = CODE, plan: Hedging | Everybody | None = None):
        self.code, self.number, self.start = code, -1, 0.0
        self.planner = (plan or Hedging()).start(code)

    def begin(self, *news: Event) -> list[Order]:
        self.number += 1
        self.start = 100.0 * self.number
        blocks = np.random.default_rng(self.number).normal(size=(self.code.n_blocks, 12))
        self.payloads, self.whole = payloads_of(self.code, blocks), blocks.sum(axis=0)
        witness = Inspector(self.code, W, Statistic.at(W))
        patience = Patience(recover=1000.0)
        self.round = Round(
            self.number, self.code, planner=self.planner, patience=patience, witness=witness
        )
        self.owed: dict[int, list[int]] = {}
        self.sent = dict.fromkeys(range(self.code.n_workers), Fraction())
        return self.obey(self.round.begin(news, self.start))

    def obey(self, orders: list[Order]) -> list[Order]:
        """Note what roles owe now."""
        for order in orders:
            match order:
                case Ask(role, messages):
                    self.owed.setdefault(role, []).extend(messages)
                case Drop(role, messages):
                    self.owed[role] = [m for m in self.owed[role] if m not in messages]
        return orders

    def tell(self, at: float, *events: Event | None) -> list[Order]:
        orders: list[Order] = []
        for event in events:
            orders += self.obey(self.round.handle(event, self.start + at))
        return orders

    def sends(self, role: int, at: float, n: int | None = None) -> list[Order]:
        """Have a role send what it owes, or the first of it."""
        orders: list[Order] = []
        for message in self.owed[role][:n]:
            self.owed[role].remove(message)
            self.sent[role] += Fraction(1, self.code.resolution)
            arrived = Arrived(self.number, role, message, self.payloads[message])
            orders += self.tell(at, arrived)
        return orders

    def end(self) -> None:
        assert self.round.outcome == Done()
        np.testing.assert_allclose(self.round.result(), self.whole, atol=1e-12)
        self.round.forget()
        self.planner.end(self.round.record(0.0, 0.0))

    def play(self, late: Sequence[int]) -> None:
        """A round in which some never answer, and the others after a second and at once."""
        self.begin()
        for role in range(self.code.n_workers):
            if role not in late:
                self.sends(role, 1.0)
        while self.round.outcome is None:
            assert self.round.look_at is not None
            at = self.round.look_at - self.start
            self.tell(at, None)
            for role in range(self.code.n_workers):
                if role not in late and self.owed[role]:
                    self.sends(role, at)
        self.end()


def test_at_first_everybody_is_asked_for_its_own_slices() -> None:
    assert Fit().begin() == [Ask(role, (2 * role, 2 * role + 1)) for role in range(6)]


@pytest.mark.parametrize("code", [SlicedRepetition(6, 2), SlicedRepetition(8, 3)], ids=repr)
def test_with_any_late_ones_each_of_the_others_sends_its_part_of_a_payload(
    code: SlicedRepetition,
) -> None:
    size = code.n_stragglers + 1
    groups = [range(i, i + size) for i in range(0, code.n_workers, size)]
    sets = chain.from_iterable(combinations(range(code.n_workers), k) for k in range(2 * size - 1))
    for late in sets:
        if any(set(group) <= set(late) for group in groups):
            continue
        fit = Fit(code)
        for _ in range(3):  # the last two know who is late when they begin
            fit.play(late)
            for group in groups:
                ready = [role for role in group if role not in late]
                assert {fit.sent[role] for role in ready} == {Fraction(1, len(ready))}


def test_who_is_late_is_known_once_half_have_answered() -> None:
    fit = Fit()
    fit.begin()
    for role in (0, 1, 3, 4):
        assert fit.sends(role, 1.0) == []
    assert fit.round.look_at == pytest.approx(LATE)
    assert fit.tell(LATE + 0.01, None) == [Ask(0, (4,)), Ask(1, (5,)), Ask(3, (10,)), Ask(4, (11,))]


def test_before_that_it_is_guessed_in_each_group() -> None:
    fit = Fit()
    fit.begin()
    fit.sends(4, 1.0)
    assert fit.round.look_at == pytest.approx(GUESSED + A_WHILE)
    (order,) = fit.tell(GUESSED + A_WHILE + 0.01, None)
    assert order == Ask(4, (6, 7, 10, 11))


def test_a_late_ones_own_slice_counts_if_it_comes_first_and_others_need_not_send_it() -> None:
    fit = Fit()
    fit.begin()
    for role in (0, 1, 3, 4, 5):
        fit.sends(role, 1.0)
    assert fit.tell(LATE + 0.01, None) == [Ask(0, (4,)), Ask(1, (5,))]
    assert fit.sends(2, 1.3, n=1) == [Drop(0, (4,))]
    fit.sends(1, 1.4)
    fit.end()
    used = [(a.role, a.message) for a in fit.round.state.answers if a.used]
    assert ((2, 4) in used, (0, 4) in used, (1, 5) in used) == (True, False, True)


def test_a_helper_that_is_late_itself_is_helped() -> None:
    fit = Fit()
    fit.begin()
    for role in (0, 1, 3, 4, 5):
        fit.sends(role, 1.0)
    fit.tell(LATE + 0.01, None)
    fit.sends(0, 1.2)
    at = LATE + 0.01 + GUESSED + A_WHILE + 0.01
    assert fit.tell(at, None) == [Ask(0, (5,))]
    fit.sends(0, at + 0.1)
    fit.end()


@pytest.mark.parametrize(
    "event",
    [
        Lost(2, "it is dead"),
        Silent(2, "it is frozen"),
        Failed(0, 2, 4, ZeroDivisionError("a bad row")),
    ],
    ids=["lost", "silent", "failed"],
)
@pytest.mark.parametrize("plan", [Hedging(), Everybody()], ids=repr)
def test_who_is_known_to_be_away_is_helped_at_once(event: Event, plan: Hedging | Everybody) -> None:
    fit = Fit(plan=plan)
    fit.begin()
    assert fit.tell(0.5, event) == [Ask(0, (4,)), Ask(1, (5,))]
    for role in (0, 1, 3, 4, 5):
        fit.sends(role, 1.0)
    fit.end()


def test_who_is_away_from_the_start_is_not_waited_for() -> None:
    fit = Fit()
    asked = {order.role: order.messages for order in fit.begin(Lost(2, "dead"), Lost(3, "dead"))}
    assert asked == {0: (0, 1, 4), 1: (2, 3, 5), 4: (8, 9, 6), 5: (10, 11, 7)}


def test_who_comes_back_is_asked_for_what_nobody_else_is() -> None:
    fit = Fit()
    fit.begin()
    for role in (0, 1, 2):
        fit.tell(0.1, Lost(role, "dead"))
        fit.owed[role] = []
    for role in (3, 4, 5):
        fit.sends(role, 1.0)
    assert fit.tell(2.0, Ready(1)) == [Ask(1, tuple(range(6)))]
    assert fit.tell(2.1, Ready(2)) == []
    fit.sends(1, 3.0)
    fit.end()


def test_who_was_late_is_not_believed_in_until_it_is_in_time_again() -> None:
    fit = Fit()
    fit.play(late=[2])
    asked = {order.role: order.messages for order in fit.begin()}
    assert (asked[0], asked[1], asked[2]) == ((0, 1, 4), (2, 3, 5), (4, 5))
    assert fit.sends(2, 0.5) == [Drop(0, (4,)), Drop(1, (5,))]
    for role in (0, 1, 3, 4, 5):
        fit.sends(role, 1.0)
    fit.end()
    assert fit.begin() == [Ask(role, (2 * role, 2 * role + 1)) for role in range(6)]


def test_now_and_then_everybody_is_believed_in() -> None:
    fit = Fit()
    for number in range(1, LEARN_EVERY + 1):
        asked = {order.role: order.messages for order in fit.begin()}
        believed = number in (1, LEARN_EVERY)
        assert (len(asked[0]) == 2) == believed
        for role in (0, 1, 3, 4, 5):
            fit.sends(role, 1.0)
        if believed:
            fit.tell(LATE + 0.01, None)
            for role in (0, 1):
                fit.sends(role, 1.5)
        fit.end()


def test_what_cannot_be_right_is_asked_of_others() -> None:
    fit = Fit()
    fit.begin()
    fit.tell(0.5, Arrived(0, 2, 4, np.ones(3)))
    assert fit.round.state.lost == {2: "it sent 3 numbers where 2 were expected"}
    for role in (0, 1, 3, 4, 5):
        fit.sends(role, 1.0)
    while fit.round.outcome is None:
        fit.tell((fit.round.look_at or 0.0) - fit.start, None)
        for role in (0, 1):
            fit.sends(role, 2.0)
    fit.end()


def test_a_replay_asks_as_the_round_did() -> None:
    fit = Fit()
    for _ in range(3):
        fit.play(late=[1, 2, 4])
        log = fit.round.log
        again = Round.replay(log)
        assert [step.orders for step in again.log.steps] == [step.orders for step in log.steps]
    assert_array_equal(again.state.arrived, np.ones(len(CODE.messages), dtype=bool))
