"""Rounds of a cyclic code that check what has come: on a scripted clock, for all sets of liars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import CyclicRepetition
from dask_gradcode.inspection import Inspector
from dask_gradcode.rounds import (
    Arrived,
    Contradicted,
    Done,
    Failed,
    Lost,
    Patience,
    Ready,
    Round,
    Silent,
    Stuck,
    UntilExact,
)
from dask_gradcode.rounds.believing import witness_by
from dask_gradcode.rounds.syndrome import SyndromeReferee
from replays import check_replay

N_ENTRIES = 4


class Fit:
    """Rounds in which some roles lie."""

    def __init__(self, code: CyclicRepetition) -> None:
        self.code = code
        self.sums = np.random.default_rng(0).standard_normal((code.n_workers, N_ENTRIES))
        self.payloads = code.encoding_matrix @ self.sums
        self.referee = SyndromeReferee(code, "role {}".format)
        self.n_rounds = 0

    def begin(self, news: Sequence[Any] = (), wait: Any = None, **patience: float) -> Round:
        number, self.n_rounds = self.n_rounds, self.n_rounds + 1
        witness = witness_by(self.referee, Inspector(self.code, np.zeros(1)), number)
        waits = Patience(**patience) if patience else None
        round_ = Round(number, self.code, wait, patience=waits, witness=witness)
        round_.begin(self.referee.begin(number, np.zeros(1), 1, news), now=0.0)
        return round_

    def answer(
        self, round_: Round, *roles: int, lies: Mapping[int, Any] | None = None, now: float = 1.0
    ) -> None:
        for role in roles:
            payload = self.payloads[role] + (lies or {}).get(role, 0.0)
            event = Arrived(round_.number, role, role, payload)
            if not self.referee.ignores(event):
                round_.handle(event, now)

    def check(self, round_: Round) -> None:
        assert round_.outcome == Done()
        assert_allclose(round_.result(), self.sums.sum(axis=0), atol=1e-9)
        check_replay(round_)


def lie(role: int) -> Any:
    return np.random.default_rng(role).standard_normal(N_ENTRIES)


def test_one_answer_more_than_decoding_needs_is_waited_for() -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin()
    fit.answer(round_, 0, 2, 4)
    assert round_.outcome is None
    fit.answer(round_, 1)
    fit.check(round_)
    record = round_.record(0.0, 0.0)
    assert (record.expelled, record.unverified) == ((), ())


@pytest.mark.parametrize(("n", "s"), [(4, 2), (5, 3), (6, 4)])
def test_independent_liars_are_expelled_if_two_answers_more_come_than_there_are_liars(
    n: int, s: int
) -> None:
    """Whoever they are: of s spare answers one is left."""
    code = CyclicRepetition(n, s)
    for n_liars in range(1, s):
        for liars in combinations(range(n), n_liars):
            fit = Fit(code)
            round_ = fit.begin()
            fit.answer(round_, *range(n), lies={role: lie(role) for role in liars})
            fit.check(round_)
            # a round may be over before the last liar has answered
            assert set(round_.record(0.0, 0.0).expelled) <= set(liars)
            assert set(fit.referee.expelled) <= set(liars)
            round_ = fit.begin(recover=10.0)
            fit.answer(round_, *reversed(range(n)), lies={role: lie(role) for role in liars})
            fit.check(round_)
            assert set(fit.referee.expelled) <= set(liars)


def test_who_is_expelled_is_named_and_plays_no_part(caplog: pytest.LogCaptureFixture) -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin()
    fit.answer(round_, 3, 0, 1, 4, lies={3: lie(3)})
    assert round_.outcome is None  # something is wrong: the last one is waited for
    fit.answer(round_, 2)
    fit.check(round_)
    record = round_.record(0.0, 0.0)
    assert record.expelled == (3,)
    assert record.lost == (3,)
    assert fit.referee.expelled[3] == (
        "it is expelled since round 0: what it sent does not follow from what 4 others sent"
    )
    assert "Round 0, blocks [0, 3, 4]: role 3 is expelled" in caplog.text
    round_ = fit.begin([Ready(3)])
    assert list(round_.state.ready()) == [0, 1, 2, 4]
    fit.answer(round_, 3, 0, 1, 2)
    assert round_.outcome is None
    fit.answer(round_, 4)
    fit.check(round_)


def test_where_it_cannot_be_told_who_lies_the_round_is_a_contradiction() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    fit.answer(round_, 0, 1, 2, lies={2: lie(2)})
    assert round_.outcome is None
    fit.answer(round_, 3)
    assert round_.outcome == Contradicted((0, 1, 2, 3))
    check_replay(round_)
    assert not fit.referee.expelled
    with pytest.raises(RuntimeError):
        round_.result()


def test_too_many_liars_are_a_contradiction() -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin()
    fit.answer(round_, *range(5), lies={1: lie(1), 3: lie(3)})
    assert round_.outcome == Contradicted((0, 1, 2, 3, 4))
    check_replay(round_)


# ---- who is not there


def test_an_alarm_waits_for_who_may_return_and_for_who_is_slow() -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin([Lost(4, "it is dead")], recover=10.0)
    fit.answer(round_, 0, 1, 2, 3, lies={0: lie(0)})
    assert round_.outcome is None
    round_.handle(Ready(4), now=5.0)
    fit.answer(round_, 4, now=6.0)
    fit.check(round_)
    assert list(fit.referee.expelled) == [0]


def test_an_alarm_ends_when_who_is_lost_has_had_its_time() -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin([Lost(4, "it is dead")], recover=10.0)
    fit.answer(round_, 0, 1, 2, 3, lies={0: lie(0)})
    assert round_.look_at == 11.0
    round_.handle(None, now=11.0)
    assert round_.outcome == Contradicted((0, 1, 2, 3))
    check_replay(round_)


def test_an_alarm_waits_for_the_slow_however_long_others_have_been_lost() -> None:
    fit = Fit(CyclicRepetition(6, 3))
    round_ = fit.begin([Lost(5, "it is dead")], recover=10.0)
    fit.answer(round_, 0, 1, 2, 3, lies={0: lie(0)})
    round_.handle(None, now=11.0)
    assert round_.outcome is None
    fit.answer(round_, 4, now=1000.0)
    fit.check(round_)
    assert list(fit.referee.expelled) == [0]


def test_who_fails_or_dies_in_an_alarm_ends_it() -> None:
    for event in (Failed(0, 4, 4, ValueError("no")), Lost(4, "it is dead")):
        fit = Fit(CyclicRepetition(5, 2))
        round_ = fit.begin()
        fit.answer(round_, 0, 1, 2, 3, lies={0: lie(0)})
        assert round_.outcome is None
        round_.handle(event, now=2.0)
        assert round_.outcome == Contradicted((0, 1, 2, 3))
        check_replay(round_)


def test_a_sum_that_nobody_can_check_is_waited_for_then_reported() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    round_.handle(Lost(1, "it is dead"), now=0.5)
    fit.answer(round_, 0, 2, 3, now=2.0)
    assert round_.outcome is None
    assert round_.look_at == 10.5
    round_.handle(None, now=10.5)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == (0, 1, 2, 3)
    # in the next rounds nobody waits again, until it is back
    round_ = fit.begin([Lost(1, "it is dead")], recover=10.0)
    fit.answer(round_, 0, 2)
    assert round_.outcome is None
    fit.answer(round_, 3)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == (0, 1, 2, 3)
    round_ = fit.begin([Ready(1)], recover=10.0)
    fit.answer(round_, 0, 2, 3)
    assert round_.outcome is None
    fit.answer(round_, 1)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == ()


def test_who_is_only_slow_is_not_given_up_for_who_is_lost() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin([Lost(1, "it is dead")], recover=10.0)
    fit.answer(round_, 0, 2)
    round_.handle(None, now=10.0)
    assert round_.outcome is None
    fit.answer(round_, 3, now=1000.0)
    fit.check(round_)


def test_who_is_frozen_is_waited_for_and_checks_in_time() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    round_.handle(Silent(1, "it is frozen"), now=1.0)
    fit.answer(round_, 0, 2, 3, now=2.0)
    assert round_.outcome is None
    fit.answer(round_, 1, now=9.0)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == ()
    round_ = fit.begin(recover=10.0)
    round_.handle(Silent(1, "it is frozen"), now=1.0)
    fit.answer(round_, 0, 2, 3, now=2.0)
    assert round_.look_at == 11.0
    round_.handle(None, now=11.0)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == (0, 1, 2, 3)


def test_too_few_are_no_sum() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin([Lost(1, "it is dead"), Lost(2, "it is dead")])
    fit.answer(round_, 0, 3)
    assert isinstance(round_.outcome, Stuck)


def test_who_died_after_its_answer_is_in_the_sum() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    fit.answer(round_, 1)
    round_.handle(Lost(1, "it is dead"), now=1.0)
    fit.answer(round_, 0, 2, 3)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == ()


# ---- what is not finite, and what is badly conditioned


def test_a_sum_that_is_not_finite_is_left_out_if_others_can_be_checked() -> None:
    fit = Fit(CyclicRepetition(5, 2))
    round_ = fit.begin()
    fit.answer(round_, 0, 1, 2, 3, lies={1: np.nan})
    assert round_.outcome is None
    fit.answer(round_, 4)
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == ()


def test_of_sums_that_are_not_finite_one_is_not_used_unchecked_either() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    fit.answer(round_, *range(4), lies={1: np.inf})
    fit.check(round_)
    assert round_.record(0.0, 0.0).unverified == (0, 1, 2, 3)


def test_where_all_overflow_so_does_the_sum() -> None:
    fit = Fit(CyclicRepetition(4, 1))
    round_ = fit.begin(recover=10.0)
    fit.answer(round_, *range(4), lies=dict.fromkeys(range(4), np.inf))
    assert round_.outcome == Done()
    assert not np.isfinite(round_.result()).any()
    assert not fit.referee.given_up


def test_a_sum_that_would_amplify_rounding_waits_and_checks_what_comes() -> None:
    fit = Fit(CyclicRepetition(6, 3))
    round_ = fit.begin(wait=UntilExact(max_amplification=1.0))
    fit.answer(round_, 0, 1, 2, 3)
    assert round_.outcome is None
    fit.answer(round_, 4, lies={4: lie(4)})
    assert round_.outcome is None
    fit.answer(round_, 5)
    fit.check(round_)
    assert list(fit.referee.expelled) == [4]


# ---- whatever happens


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_sum_is_right_or_unverified_or_there_is_none_whatever_happens(
    data: st.DataObject,
) -> None:
    """Of any number of liars, who do not conspire, whoever is late, lost or frozen."""
    n = data.draw(st.integers(2, 7))
    fit = Fit(CyclicRepetition(n, data.draw(st.integers(1, min(n - 1, 4)))))
    liars = data.draw(st.sets(st.integers(0, n - 1)))
    for _ in range(3):
        absent = data.draw(st.sets(st.integers(0, n - 1), max_size=2))
        news = [Lost(role, "it is dead") for role in sorted(absent)]
        round_, now = fit.begin(news, recover=10.0, answer=1e6), 0.0
        to_come = set(range(n)) - absent
        for role in data.draw(st.permutations(range(n))):
            now += data.draw(st.sampled_from([0.1, 8.0]))
            what = data.draw(st.sampled_from(["answer"] * 8 + ["lost", "frozen", "back"]))
            if what == "back" and absent - fit.referee.expelled.keys():
                back = min(absent - fit.referee.expelled.keys())
                round_.handle(Ready(back), now)
                absent.discard(back)
                to_come.add(back)
            if role not in to_come:
                continue
            if what == "lost":
                round_.handle(Lost(role, "it is dead"), now)
                to_come.discard(role)
            else:
                if what == "frozen":
                    round_.handle(Silent(role, "it is frozen"), now)
                fit.answer(round_, role, lies={i: lie(i) for i in liars}, now=now)
                to_come.discard(role)
        fit.answer(round_, *to_come, lies={i: lie(i) for i in liars}, now=now)
        while round_.outcome is None:
            assert round_.look_at is not None
            assert round_.look_at < now + 1e5  # nobody is waited for who has answered
            now = round_.look_at
            round_.handle(None, now)
        assert fit.referee.expelled.keys() <= liars
        if round_.outcome == Done() and not round_.record(0.0, 0.0).unverified:
            assert_allclose(round_.result(), fit.sums.sum(axis=0), atol=1e-7)
        if isinstance(round_.outcome, Contradicted):
            assert liars
