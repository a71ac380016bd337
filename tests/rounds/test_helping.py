"""What others do for those who are late, on a scripted clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import DeclusteredRepetition, GradientCode
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
    Heard,
    Hedging,
    Lost,
    Order,
    Patience,
    Planner,
    Ready,
    Round,
    Silent,
    Stuck,
    Yield,
    Yielded,
)
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE
from dask_gradcode.rounds.plans.helping import ANSWERS_WITHIN

# Share i has root 7 i, halves 7 i + 1 and 7 i + 2, leaves 7 i + 3 to 7 i + 6. Its first and third
# leaf lie on the next worker, too, the others on the one after that.
CODE = DeclusteredRepetition(3, 1, n_leaves=4)
RING = DeclusteredRepetition(4, 1, spread=1, n_leaves=4)  # whole on the next worker
LATE = PATIENCE + AT_LEAST  # when the others have taken a second
ERROR = ZeroDivisionError("a bad row")


class Fit:
    """Rounds of one fit, told by hand what happens when; payloads are added up in truth."""

    def __init__(self, code: GradientCode = CODE, planner: Planner | None = None) -> None:
        self.code, self.number, self.start = code, -1, 0.0
        self.planner = planner or Hedging().start(code)

    def begin(self, *news: Event, start: float = 0.0) -> list[Order]:
        self.number, self.start = self.number + 1, start
        blocks = np.random.default_rng(self.number).integers(-9, 10, (self.code.n_blocks, 3))
        self.payloads, self.whole = self.code.encoding_matrix @ blocks, blocks.sum(axis=0)
        w = np.zeros(2)
        self.round = Round(
            self.number,
            self.code,
            planner=self.planner,
            patience=Patience(recover=100.0),
            witness=Inspector(self.code, w, Statistic.at(w)),
        )
        return self.round.begin(news, start)

    def tell(self, at: float, *events: Event | None) -> list[Order]:
        """Tell the round of events, some time after its start; what it wants done."""
        return [o for event in events for o in self.round.handle(event, self.start + at)]

    def sends(self, role: int, *messages: int, at: float, number: int | None = None) -> list[Order]:
        of = self.number if number is None else number
        return self.tell(at, *(Arrived(of, role, i, self.payloads[i]) for i in messages))

    def yields(self, role: int, running: int | None, at: float) -> list[Order]:
        return self.tell(at, Yielded(self.number, role, running))

    @property
    def look_at(self) -> float:
        assert self.round.look_at is not None
        return self.round.look_at - self.start

    def assert_done(self) -> None:
        assert self.round.outcome == Done()
        assert_array_equal(self.round.result(), self.whole)
        again = Round.replay(self.round.log)
        assert again.outcome == Done()
        assert [tuple(step.orders) for step in again.log.steps] == [
            tuple(step.orders) for step in self.round.log.steps
        ]
        self.planner.end(self.round.record(0.0, 0.0))


def late_owner(*news: Event, code: GradientCode = CODE) -> Fit:
    """A round in which worker 0 has just been told to yield; the others took a second."""
    fit = Fit(code)
    fit.begin(*news)
    for role in range(1, code.n_workers):
        assert fit.sends(role, *code.first(role), at=1.0) == []
    assert fit.look_at == pytest.approx(LATE)
    assert fit.tell(LATE, None) == [Yield(0)]
    return fit


def blocks_asked(fit: Fit, orders: Sequence[Order]) -> dict[int, set[int]]:
    """Which blocks each role is asked for, none of them twice."""
    found: dict[int, set[int]] = {}
    for order in orders:
        assert isinstance(order, Ask)
        blocks = [b for message in order.messages for b in fit.code.messages[message].blocks]
        assert found.get(order.role, set()).isdisjoint(blocks)
        found.setdefault(order.role, set()).update(blocks)
    assert len(set().union(*found.values())) == sum(map(len, found.values()))
    return found


# ---- nobody is late


@pytest.mark.parametrize("policy", [Hedging(), Everybody()])
def test_everybody_is_asked_for_its_own_share_and_for_nothing_more(policy: Hedging) -> None:
    fit = Fit(planner=policy.start(CODE))
    for number in range(3):
        assert fit.begin(start=10.0 * number) == [Ask(0, (0,)), Ask(1, (7,)), Ask(2, (14,))]
        assert fit.round.look_at is None
        assert [fit.sends(role, 7 * role, at=1.0 + 0.1 * role) for role in range(3)] == [[]] * 3
        fit.assert_done()


def test_who_is_a_little_late_is_told_nothing() -> None:
    fit = Fit()
    fit.begin()
    fit.sends(1, 7, at=1.0)
    assert fit.look_at > 10.0  # of one of three little is learned
    fit.sends(2, 14, at=1.0)
    assert fit.tell(LATE - 1e-6, None) == []
    assert fit.sends(0, 0, at=LATE - 1e-6) == []
    fit.assert_done()


# ---- somebody is late


def test_what_the_late_has_not_begun_is_asked_of_those_who_hold_it() -> None:
    fit = late_owner()
    assert fit.sends(0, 3, at=LATE) == []
    orders = fit.yields(0, running=4, at=LATE)
    asked = blocks_asked(fit, orders)
    assert {1, 2, 3} <= set().union(*asked.values()) | {1}  # it is at block 1
    assert 2 in asked[1]  # each of what it holds
    assert 3 in asked[2]
    fit.sends(0, 4, at=1.3)
    fit.sends(1, 5, at=1.5)
    assert fit.round.outcome is None
    fit.sends(2, 6, at=1.5)
    fit.assert_done()


def test_who_has_finished_nothing_is_helped_with_all() -> None:
    fit = late_owner()
    asked = blocks_asked(fit, fit.yields(0, running=3, at=LATE))
    assert asked[1] >= {2}
    assert asked[2] >= {1, 3}
    fit.sends(2, 4, 6, at=1.7)
    fit.sends(1, 5, at=1.7)
    fit.sends(0 if 0 not in asked.get(1, ()) else 1, 3, at=1.7)
    fit.assert_done()


def test_who_owes_nothing_any_more_has_nothing_to_give_up() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2):
        fit.sends(role, 7 * role, at=1.0)
    assert fit.tell(LATE, None) == [Yield(0), Yield(3)]
    assert fit.sends(0, 0, at=1.2) == []  # on its way when it was told
    assert fit.yields(0, running=None, at=1.21) == []
    asked = blocks_asked(fit, fit.yields(3, running=24, at=1.22))
    assert {*asked} == {0}
    assert asked[0] >= {13, 14, 15}  # it holds all of what is open, and is free
    fit.sends(0, *fit.round.state.owed(0), at=2.0)
    if fit.round.outcome is None:
        fit.sends(3, 24, at=2.0)
    fit.assert_done()


def test_what_is_asked_after_a_yield_is_not_given_up_by_it() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2):
        fit.sends(role, 7 * role, at=1.0)
    fit.tell(LATE, None)  # 0 and 3 are told to yield
    fit.sends(0, 0, at=1.2)
    fit.yields(3, running=24, at=1.21)
    owed = fit.round.state.owed(0)
    assert owed  # although it has not answered yet that it was told to yield
    assert fit.yields(0, running=None, at=1.22) == []
    assert fit.round.state.owed(0) == owed
    assert fit.round.look_at is not None
    fit.sends(0, *owed, at=2.0)
    if fit.round.outcome is None:
        fit.sends(3, 24, at=2.0)
    fit.assert_done()


def test_when_the_root_comes_after_all_what_others_were_asked_for_is_dropped() -> None:
    fit = late_owner()
    asked = fit.tell(fit.look_at, None)  # no answer
    assert {order.role for order in asked} == {1, 2}
    owed = {role: fit.round.state.owed(role) for role in (1, 2)}
    orders = fit.sends(0, 0, at=1.5)
    assert fit.round.outcome == Done()
    assert orders == []  # the next round supersedes it all
    assert all(owed.values())


def test_when_a_root_comes_in_the_middle_what_others_were_asked_for_is_dropped() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2):
        fit.sends(role, 7 * role, at=1.0)
    assert fit.tell(LATE, None) == [Yield(0), Yield(3)]
    asked = blocks_asked(fit, fit.tell(fit.look_at, None))  # neither has answered
    # share 3 lies on those two alone, both of whom are doubted
    assert asked == {1: {0, 1, 2, 3}, 0: {12, 13, 14, 15}}
    assert fit.sends(0, 0, at=1.6) == [Drop(1, (0,))]
    assert fit.round.state.owed(1) == set()
    assert fit.sends(1, 0, at=1.7) == []  # too late to be dropped: nothing is counted twice
    fit.sends(0, 21, at=2.5)
    fit.assert_done()


def test_who_never_answers_a_yield_is_doubted_in_time_and_all_it_owes_is_asked_of_others() -> None:
    fit = late_owner()
    assert fit.look_at == pytest.approx(LATE + max(ANSWERS_WITHIN, 0.25 / 4))
    asked = blocks_asked(fit, fit.tell(fit.look_at, None))
    assert asked == {1: {0, 2}, 2: {1, 3}}
    fit.sends(1, 3, 5, at=2.0)
    fit.sends(2, 4, 6, at=2.0)
    fit.assert_done()


def test_who_answers_every_yield_but_gets_no_further_is_helped_with_its_block_in_the_end() -> None:
    fit = late_owner()
    fit.sends(0, 1, 5, at=LATE)
    assert fit.yields(0, running=6, at=LATE) == []  # it should soon be done
    at = LATE
    for _ in range(3):
        at = fit.look_at
        assert fit.tell(at, None) == [Yield(0)]
        if orders := fit.yields(0, running=6, at=at + 0.001):
            break
    assert orders == [Ask(2, (6,))]
    assert at < LATE + 1.0  # while a block takes a quarter of a second
    fit.sends(2, 6, at=at + 0.25)
    fit.assert_done()


def test_what_somebody_is_at_is_dropped_if_it_has_come_from_others() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2):
        fit.sends(role, 7 * role, at=1.0)
    fit.tell(LATE, None)
    fit.tell(fit.look_at, None)  # 0 and 3 are doubted
    assert fit.sends(1, 0, at=1.6) == [Drop(0, (0,))]
    assert fit.yields(0, running=6, at=1.61) == [Drop(0, (6,))]  # sent before it read that
    fit.sends(0, 21, at=2.0)
    fit.assert_done()


def test_two_helpers_that_are_late_are_told_to_yield_in_turn() -> None:
    fit = late_owner()
    fit.tell(fit.look_at, None)  # 1 and 2 compute two blocks each, all of share 0
    assert fit.tell(fit.look_at, None) == [Yield(1), Yield(2)]
    assert fit.sends(1, 3, at=2.1) == []
    fit.yields(1, running=5, at=2.1)
    fit.yields(2, running=4, at=2.1)
    # block 3 is open: 2 is at block 1, 0 is doubted
    assert 6 in fit.round.state.owed(2)
    fit.sends(1, 5, at=2.3)
    fit.sends(2, 4, 6, at=2.6)
    fit.assert_done()


def test_a_helper_that_dies_leaves_its_part_to_those_who_are_left() -> None:
    fit = late_owner()
    fit.yields(0, running=3, at=LATE)
    owed = {block for i in fit.round.state.owed(1) for block in CODE.messages[i].blocks}
    assert owed
    orders = fit.tell(1.3, Lost(1, "it is dead"))
    # only the slow owner holds it now
    assert blocks_asked(fit, orders) == {0: owed - {0}}
    fit.sends(2, 4, 6, at=1.6)
    fit.sends(0, 3, 5, at=2.0)
    fit.assert_done()


def test_those_who_are_doubted_are_asked_where_nobody_else_is_left() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (0, 1, 2):
        fit.sends(role, 7 * role, at=1.0)
    fit.tell(1.1, Silent(0, "no heartbeat"))
    assert fit.tell(1.2, Lost(3, "it is dead")) == [Ask(0, (21,))]
    fit.tell(1.3, Heard(0))
    fit.sends(0, 21, at=2.0)
    fit.assert_done()


def test_who_was_told_to_yield_and_has_answered_in_full_is_asked_for_more() -> None:
    fit = late_owner()
    fit.sends(0, 0, at=1.2)
    fit.assert_done()
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2):
        fit.sends(role, 7 * role, at=1.0)
    fit.tell(LATE, None)
    fit.sends(0, 0, at=1.2)
    fit.tell(LATE + 0.25, None)  # 3 is doubted, 0 is not, though it will never answer the Yield
    assert fit.round.state.owed(0) == {21}


# ---- somebody is lost, or wakes


def test_the_share_of_who_is_absent_at_the_beginning_is_divided_at_once() -> None:
    fit = Fit()
    orders = fit.begin(Lost(0, "it is dead"))
    assert orders[:2] == [Ask(1, (7,)), Ask(2, (14,))]
    assert blocks_asked(fit, orders[2:]) == {1: {0, 2}, 2: {1, 3}}
    for role, messages in ((1, (7, 3, 5)), (2, (14, 4, 6))):
        fit.sends(role, *messages, at=2.0)
    fit.assert_done()


def test_whole_halves_are_asked_for_as_one_message() -> None:
    code = DeclusteredRepetition(3, 1, spread=2, n_leaves=4)
    fit = Fit(code)
    orders = fit.begin(Lost(0, "it is dead"))
    assert orders[2:] == [Ask(1, (1,)), Ask(2, (2,))]
    assert Fit(RING).begin(Lost(0, "it is dead"))[-1] == Ask(1, (0,))


def test_who_is_lost_before_half_have_answered_is_helped_all_the_same() -> None:
    fit = Fit()
    fit.begin()
    assert blocks_asked(fit, fit.tell(0.1, Lost(0, "it is dead"))) == {1: {0, 2}, 2: {1, 3}}
    assert fit.tell(0.2, Ready(0)) == []  # all is in work
    for role, messages in ((1, (7, 3, 5)), (2, (14, 4, 6))):
        fit.sends(role, *messages, at=2.0)
    fit.assert_done()


def test_who_comes_back_is_asked_for_what_nobody_else_holds() -> None:
    fit = Fit(RING)
    fit.begin()
    fit.sends(2, 14, at=1.0)
    fit.sends(3, 21, at=1.0)
    fit.tell(1.01, Lost(0, "it is dead"))
    assert fit.tell(1.02, Lost(1, "it is dead")) == [Ask(2, (7,))]
    assert fit.tell(1.1, Ready(0)) == [Ask(0, (0,))]
    fit.sends(2, 7, at=2.0)
    fit.sends(0, 0, at=2.0)
    fit.assert_done()


def test_who_wakes_in_the_next_round_is_part_of_it() -> None:
    fit = late_owner()
    fit.tell(fit.look_at, None)
    fit.sends(1, 3, 5, at=1.8)
    fit.sends(2, 4, 6, at=1.8)
    fit.assert_done()
    assert fit.begin(start=10.0)[0] == Ask(0, (0,))
    before = fit.round.state.owed(0)
    # it reads now what it was told in the round before
    assert fit.tell(0.1, Yielded(0, 0, 3), Failed(0, 0, 0, ERROR)) == []
    assert fit.sends(0, 3, at=0.1, number=0) == []
    assert fit.round.state.owed(0) == before
    assert not fit.round.state.errors
    fit.sends(1, 7, at=1.0)
    fit.sends(2, 14, at=1.0)
    assert fit.look_at == pytest.approx(LATE)  # it is still expected to answer
    assert fit.tell(fit.look_at, None) == [Yield(0)]
    fit.sends(0, 0, at=1.2)
    fit.assert_done()


def test_an_answer_that_comes_twice_counts_once_for_its_senders_speed() -> None:
    fits = [late_owner() for _ in range(2)]
    for n, fit in enumerate(fits, 1):
        message = Arrived(0, 0, 3, fit.payloads[3])
        fit.tell(LATE, *[message] * n)
        fit.yields(0, running=4, at=LATE)
    assert fits[0].look_at == fits[1].look_at
    assert fits[0].round.state.asked == fits[1].round.state.asked


# ---- what cannot be computed, or cannot be right


def test_what_has_failed_on_one_is_computed_by_others() -> None:
    fit = Fit()
    fit.begin()
    orders = fit.tell(0.5, Failed(0, 0, 0, ERROR))
    assert blocks_asked(fit, orders) == {1: {0, 2}, 2: {1, 3}}
    for role, messages in ((1, (7, 3, 5)), (2, (14, 4, 6))):
        fit.sends(role, *messages, at=2.0)
    fit.assert_done()
    assert fit.round.state.errors == {0: ERROR}


def test_what_has_failed_on_all_who_hold_it_ends_the_round_at_once() -> None:
    fit = Fit()
    fit.begin()
    fit.tell(0.5, Failed(0, 0, 0, ERROR))
    other = ZeroDivisionError("the same row")
    assert fit.tell(0.6, Failed(0, 1, 3, other)) == []
    assert isinstance(fit.round.outcome, Stuck)
    assert fit.round.state.errors == {0: ERROR, 1: other}


def test_a_helper_that_fails_is_asked_for_nothing_more() -> None:
    fit = late_owner()
    fit.yields(0, running=3, at=LATE)
    owed = {block for i in fit.round.state.owed(1) for block in CODE.messages[i].blocks}
    orders = fit.tell(1.3, *(Failed(0, 1, i, ERROR) for i in sorted(fit.round.state.owed(1))[:1]))
    assert blocks_asked(fit, orders) == {0: owed - {0}}
    fit.sends(2, 4, 6, at=1.6)
    fit.sends(0, 3, 5, at=2.0)
    fit.assert_done()


def test_what_is_put_aside_is_computed_by_others() -> None:
    fit = Fit()
    fit.begin()
    nan = np.full(3, np.nan)
    orders = fit.tell(0.5, Arrived(0, 0, 0, nan))
    assert blocks_asked(fit, orders) == {1: {0, 2}, 2: {1, 3}}
    fit.sends(1, 7, 3, 5, at=1.0)
    fit.sends(2, 14, at=1.0)
    assert Yield(0) not in fit.tell(5.0, None)
    fit.sends(2, 4, 6, at=5.5)
    fit.assert_done()
    assert 0 in fit.round.state.lost


def test_what_all_who_hold_it_say_is_not_finite_is_believed() -> None:
    fit = Fit(RING)
    fit.begin()
    for role in (1, 2, 3):
        fit.sends(role, 7 * role, at=1.0)
    nan = np.full(3, np.nan)
    assert fit.tell(1.0, Arrived(0, 0, 0, nan)) == [Ask(1, (0,))]
    assert fit.tell(2.0, Arrived(0, 1, 0, nan)) == []
    assert fit.round.outcome == Done()
    assert np.isnan(fit.round.result()).all()
    assert not fit.round.state.lost


def test_of_a_sum_that_is_not_finite_the_part_that_is_not_is_believed() -> None:
    fit = Fit()
    fit.begin()
    nan = np.full(3, np.nan)
    fit.sends(1, 7, at=0.5)
    fit.sends(2, 14, at=0.5)
    fit.tell(1.0, Arrived(0, 0, 0, nan))  # leaf 5 is not finite
    fit.sends(1, 3, at=1.1)
    fit.sends(2, 4, 6, at=1.1)
    assert fit.round.outcome is None
    fit.tell(1.2, Arrived(0, 1, 5, nan))
    assert fit.round.outcome == Done()
    assert np.isnan(fit.round.result()).all()


def test_what_is_not_finite_waits_for_who_may_come_back_and_contradict_it() -> None:
    fit = Fit(RING)
    fit.begin(Lost(1, "it is dead"))
    fit.sends(2, 7, 14, at=1.0)
    fit.sends(3, 21, at=1.0)
    fit.tell(1.1, Arrived(0, 0, 0, np.full(3, np.nan)))
    assert fit.round.outcome is None
    assert fit.tell(2.0, Ready(1)) == [Ask(1, (0,))]
    fit.sends(1, 0, at=3.0)
    fit.assert_done()


def test_what_is_put_aside_is_not_waited_for() -> None:
    fit = Fit(RING)
    fit.begin()
    assert fit.tell(0.5, Arrived(0, 0, 0, np.full(3, np.nan))) == [Ask(1, (0,))]
    fit.sends(2, 14, at=1.0)
    fit.sends(3, 21, at=1.0)
    assert fit.tell(fit.look_at, None) == [Yield(1)]


def test_who_is_heard_again_is_asked_as_others_are() -> None:
    fit = Fit(DeclusteredRepetition(4, 2, spread=1, n_leaves=4))
    fit.begin()
    for role in (1, 2, 3):
        fit.sends(role, 7 * role, at=1.0)
    fit.tell(1.01, Silent(1, "no heartbeat"), Heard(1))
    asked = blocks_asked(fit, fit.tell(1.02, Lost(0, "it is dead")))
    assert {*asked} == {1, 3}


def test_what_nobody_could_be_asked_for_is_asked_for_with_the_next_answer() -> None:
    fit = Fit(RING)
    fit.begin()
    fit.sends(2, 14, at=1.0)
    fit.sends(3, 21, at=1.0)
    assert fit.tell(LATE, None) == [Yield(0), Yield(1)]
    assert fit.tell(1.16, Lost(0, "it is dead")) == []  # the other one may be about to answer
    assert fit.sends(1, 7, at=1.17) == [Ask(1, (0,))]
    fit.sends(1, 0, at=2.0)
    fit.assert_done()
