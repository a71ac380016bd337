"""Who is asked first, who is spared, and how soon a wrong guess is made good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dask_gradcode.codes import (
    CyclicRepetition,
    Decoding,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Done,
    Event,
    Failed,
    Hedging,
    Lost,
    Planner,
    Ready,
    Round,
    State,
    UntilExact,
    WaitRule,
)
from dask_gradcode.rounds.plans.dues import PATIENCE
from dask_gradcode.rounds.plans.hedging import AT_ONCE, LEARN_EVERY, TOO_LITTLE

CODE = FractionalRepetition(4, 1)
NOBODY = np.zeros(0)
LATE = 2.0 * PATIENCE  # where rounds last for two seconds


def roles_of(orders: list[Ask]) -> list[int]:
    return [order.role for order in orders]


class Fit:
    """The rounds of one fit, of which each is told who answers."""

    def __init__(self, code: GradientCode = CODE) -> None:
        self.code, self.n_rounds, self.now = code, 0, 100.0
        self.planner: Planner = Hedging().start(code)

    def begin(self, absent: Sequence[Lost] = (), rule: WaitRule | None = None) -> list[int]:
        """Begin a round; who is asked first."""
        self.round = Round(self.n_rounds, self.code, rule, self.planner)
        self.n_rounds += 1
        return roles_of(self.round.begin(absent, self.now))

    @property
    def wait(self) -> float | None:
        """For how long the others wait; None if there are none."""
        return None if self.round.look_at is None else self.round.look_at - self.round.state.started

    def tell(self, *events: Event | int | None) -> list[int]:
        """Tell the round of events, or of who has answered; who is asked then."""
        asked: list[int] = []
        for event in events:
            if isinstance(event, int):
                (message,) = self.code.messages_of[event]
                event = Arrived(self.round.number, event, message, NOBODY)
            asked += roles_of(self.round.handle(event, self.now))
        return asked

    def end(self) -> None:
        assert self.round.outcome == Done()
        self.planner.end(self.round.record(0.0, 0.0))

    def run(self, answers: list[int], seconds: float = 2.0) -> tuple[list[int], float | None]:
        """Run a round that these roles answer after some seconds; who was first, and the wait."""
        first, wait = self.begin(), self.wait
        self.now += seconds
        if wait is not None and wait < seconds:
            self.tell(*[None] * self.code.n_workers)
        self.tell(*answers)
        self.end()
        return first, wait


def after_two_rounds(used: list[int], code: GradientCode = CODE) -> Fit:
    fit = Fit(code)
    for _ in range(2):
        fit.run(used)
    return fit


def about(seconds: float) -> object:
    return pytest.approx(seconds)


def test_at_first_all_are_asked_and_then_those_who_were_needed() -> None:
    fit = Fit()
    assert fit.run([1, 2]) == ([0, 1, 2, 3], None)
    assert fit.run([1, 2]) == ([1, 2], about(AT_ONCE))
    assert fit.run([1, 2]) == ([1, 2], about(LATE))


def test_the_others_are_asked_one_by_one_when_their_time_has_come() -> None:
    fit = after_two_rounds([1, 2])
    assert fit.begin() == [1, 2]
    assert fit.tell(None) == []
    fit.now += 2.5
    assert fit.tell(None) == [0]
    assert fit.round.look_at == fit.now  # the next one as soon as there is nothing to read
    assert fit.tell(None) == [3]
    assert fit.round.look_at is None
    assert fit.tell(None) == []


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_the_others_are_asked_at_once_when_one_of_the_likely_drops_out(how: str) -> None:
    fit = after_two_rounds([1, 2])
    fit.begin()
    failed = Failed(fit.round.number, 1, 1, OSError("disk"))
    assert fit.tell(Lost(1, "gone") if how == "lost" else failed) == [0]
    assert fit.round.look_at == fit.now
    assert fit.tell(None) == [3]


def test_it_is_no_matter_to_the_others_when_one_of_them_drops_out() -> None:
    fit = after_two_rounds([1, 2])
    fit.begin()
    assert fit.tell(Lost(0, "gone")) == []
    assert fit.wait == about(LATE)
    assert fit.tell(Ready(0)) == [0]  # who is there again is asked at once


@pytest.mark.parametrize("slow", range(2))
def test_the_others_wait_for_little_longer_than_rounds_last(slow: int) -> None:
    """The first round waits for connections, another one may have waited for workers to return."""
    fit = Fit()
    for number in range(2):
        fit.run([0, 2], seconds=60.0 if number == slow else 1.0 + number)
    fit.begin()
    assert fit.wait is not None
    assert AT_ONCE < fit.wait < LATE + 0.1


def waits_of(fit: Fit, used: list[int], n_rounds: int) -> float:
    """Run rounds and return the longest time for which the others would have waited."""
    return max(fit.run(used)[1] or 0.0 for _ in range(n_rounds))


def test_a_wrong_guess_spares_nobody_for_16_rounds_and_twice_as_many_the_next_time() -> None:
    guess, other = [0, 2], [1, 2]
    fit = after_two_rounds(guess)
    for n_rounds in (16, 32, 64):
        assert fit.run(other, seconds=3.5)[1] == about(LATE)  # who was needed had been spared
        assert waits_of(fit, other, n_rounds) == about(AT_ONCE)
        guess, other = other, guess


def test_a_wrong_guess_is_forgotten_after_as_many_good_ones() -> None:
    fit = after_two_rounds([0, 2])
    fit.run([1, 2], seconds=3.5)  # wrong
    for _ in range(16 + 40):
        fit.run([1, 2])
    assert fit.run([0, 2], seconds=3.5)[1] == about(LATE)  # wrong again, but long after
    assert waits_of(fit, [0, 2], 16) == about(AT_ONCE)
    assert fit.run([0, 2])[1] == about(LATE)


@pytest.mark.parametrize(("usual", "tolerable"), [(2.0, 3.0), (0.001, 0.001 + TOO_LITTLE)])
def test_a_guess_is_not_wrong_where_it_has_cost_little(usual: float, tolerable: float) -> None:
    for seconds, spared_again in ((0.99 * tolerable, True), (1.01 * tolerable, False)):
        fit = Fit()
        for _ in range(2):
            fit.run([0, 2], usual)
        fit.run([1, 2], seconds)
        wait = fit.run([1, 2], usual)[1]
        assert wait == about(max(PATIENCE * usual, AT_ONCE) if spared_again else AT_ONCE)


class AllOfTheFirstGroup(UntilExact):
    """Wants more than the sum needs."""

    def settle(self, state: State, now: float) -> Decoding | None:
        answered = {answer.role for answer in state.answers}
        return super().settle(state, now) if answered >= {0, 1} else None


def test_where_a_rule_wants_more_than_is_needed_for_the_sum_nobody_is_spared() -> None:
    fit = after_two_rounds([0, 2])
    for n_rounds in (16, 32, 64):
        assert fit.begin(rule=AllOfTheFirstGroup()) == [0, 2]
        assert fit.wait == about(LATE)
        fit.tell(0, 2)  # enough for the sum
        fit.now += 3.5
        assert 1 in fit.tell(None, None)
        fit.tell(1)
        fit.end()
        assert waits_of(fit, [0, 2], n_rounds) == about(AT_ONCE)


def test_now_and_then_those_come_first_who_were_not_needed() -> None:
    fit = Fit()
    rounds = [fit.run([0, 2])[0] for _ in range(3 * LEARN_EVERY)]
    learning = [number for number, first in enumerate(rounds, 1) if first == [1, 3, 0, 2]]
    assert learning == [LEARN_EVERY, 2 * LEARN_EVERY, 3 * LEARN_EVERY]


def test_where_one_who_was_needed_is_gone_all_are_asked() -> None:
    fit = Fit()
    fit.run([0, 2])
    assert fit.begin([Lost(0, "gone")]) == [1, 2, 3]


@pytest.mark.parametrize("code", [Uncoded(4), CyclicRepetition(4, 1)])
def test_it_holds_for_every_code(code: GradientCode) -> None:
    needed = list(range(code.n_workers - code.n_stragglers))
    fit = after_two_rounds(needed, code)
    assert fit.run(needed)[0] == needed
