"""One sends a sum and the others its digest: the sum comes, whoever is late, lost or lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from confirmers import Workers, begun, blocks_of, honest_sum
from dask_gradcode.cluster.worker.lies import KINDS, Lies
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.rounds import (
    Announce,
    Announced,
    Arrived,
    Ask,
    Confirming,
    Done,
    Event,
    Lost,
    Order,
    Planner,
    Ready,
    Silent,
)
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import NeverAnswers
from dask_gradcode.work.account import digest_of
from replays import check_replay

THREE = FractionalRepetition(3, 2)


class Play:
    """A round whose roles answer what they are asked when the test says so."""

    def __init__(
        self,
        workers: Workers,
        referee: Referee,
        number: int = 0,
        news: Sequence[Any] = (),
        planner: Planner | None = None,
        **patience: float,
    ) -> None:
        self.workers, self.referee, self.now = workers, referee, 0.0
        self.planner = planner or Confirming(referee.ways()).start(workers.code)
        self.round = begun(workers, referee, number, news, self.planner, **patience)
        self.asked: dict[int, list[tuple[type, int]]] = {}
        self.n_payloads = 0
        self.take(self.round.log.steps[0].orders)

    def take(self, orders: Sequence[Order]) -> None:
        for order in orders:
            assert isinstance(order, Ask | Announce)
            asked = self.asked.setdefault(order.role, [])
            asked += [(type(order), message) for message in order.messages]

    def tell(self, event: Event | None, now: float | None = None) -> None:
        """Tell the round of an event, a second later if not said otherwise."""
        self.now = self.now + 1.0 if now is None else now
        if isinstance(event, Lost):
            self.asked.pop(event.role, None)
        if event is not None and self.referee.ignores(event):
            return
        self.take(self.round.handle(event, self.now))
        self.take(self.referee.settle(self.round, self.round, lambda: self.now))

    def answer(self, role: int, now: float | None = None) -> None:
        """Have a role answer all that it is asked."""
        for kind, message in self.asked.pop(role):
            payload = self.workers.payload(role, message, self.round.number)
            number = self.round.number
            if kind is Announce:
                self.tell(Announced(number, role, message, digest_of(payload)), now)
            else:
                self.n_payloads += 1
                self.tell(Arrived(number, role, message, payload), now)

    def wait(self) -> None:
        """Let time go by until the round wants to look."""
        assert self.round.look_at is not None
        self.tell(None, self.round.look_at)


def test_one_sends_the_sum_and_the_others_its_digest() -> None:
    workers = Workers(FractionalRepetition(6, 2))
    play = Play(workers, workers.referees(2))
    orders = [*play.round.log.steps[0].orders]
    assert orders == [
        Ask(0, (0,)),
        Announce(1, (0,)),
        Announce(2, (0,)),
        Ask(3, (1,)),
        Announce(4, (1,)),
        Announce(5, (1,)),
    ]
    for role in (5, 1, 0, 2, 3, 4):
        play.answer(role)
    assert play.round.outcome == Done()
    assert play.n_payloads == 2
    assert_array_equal(play.round.result(), honest_sum(workers.code))
    record = play.round.record(0.0, 0.0)
    assert [answer.role for answer in record.answers] == [5, 1, 0, 2, 3, 4]
    assert [answer.role for answer in record.answers if answer.used] == [0, 3]
    check_replay(play.round)


def test_a_sum_is_asked_of_another_if_the_first_is_late_when_enough_agree() -> None:
    workers = Workers(THREE)
    play = Play(workers, workers.referees(1))
    play.answer(2, now=1.0)
    assert play.round.look_at is None  # one alone is not enough
    play.answer(1, now=1.0)
    assert play.round.look_at == pytest.approx(1.1)
    play.wait()
    assert play.asked == {0: [(Ask, 0)], 1: [(Ask, 0)]}
    play.wait()  # nor does that one answer: after as long again a third is asked
    assert play.asked[2] == [(Ask, 0)]
    play.answer(2, now=2.5)
    assert play.round.outcome == Done()
    assert [a.role for a in play.round.record(0.0, 0.0).answers] == [2, 1]
    assert_array_equal(play.round.result(), honest_sum(THREE))
    check_replay(play.round)


def test_nobody_else_is_asked_if_the_first_is_only_a_little_later() -> None:
    workers = Workers(THREE)
    play = Play(workers, workers.referees(1))
    for role in (2, 1):
        play.answer(role, now=1.0)
    play.answer(0, now=1.05)
    assert play.round.outcome == Done()
    assert not any(play.asked.values())


@pytest.mark.parametrize("event", [Lost(0, "it is dead"), Silent(0, "it is frozen")])
def test_if_the_first_is_gone_another_is_asked_at_once(event: Event) -> None:
    workers = Workers(THREE)
    play = Play(workers, workers.referees(1))
    play.answer(1)
    play.tell(event)
    assert play.asked[1] == [(Ask, 0)]
    play.answer(1)
    assert play.round.outcome is None  # nobody has confirmed it
    play.answer(2)
    assert play.round.outcome == Done()
    check_replay(play.round)


def test_whoever_keeps_it_may_be_gone_too() -> None:
    workers = Workers(THREE)
    play = Play(workers, workers.referees(1))
    play.answer(1)
    play.answer(2)
    play.tell(Lost(0, "it is dead"))
    [asked] = [role for role, what in play.asked.items() if what]
    play.tell(Lost(asked, "it is dead"))
    [other] = {1, 2} - {asked}
    assert play.asked[other] == [(Ask, 0)]
    play.answer(other)
    assert play.round.outcome == Done()
    assert play.round.record(0.0, 0.0).unverified == ()  # two have agreed, one of whom is gone
    check_replay(play.round)


def test_a_sum_that_only_one_keeps_is_fetched_waited_for_and_reported() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    play = Play(workers, workers.referees(1), recover=10.0)
    play.answer(1)
    play.tell(Lost(0, "it is dead"))
    play.answer(1)
    assert play.round.outcome is None
    play.wait()
    assert play.round.outcome == Done()
    assert play.round.record(0.0, 0.0).unverified == (0, 1)
    assert_array_equal(play.round.result(), honest_sum(workers.code))
    check_replay(play.round)
    # in the next round the one that is there is asked in full, and nobody waits
    dead = [Lost(0, "it is dead")]
    play = Play(workers, play.referee, 1, dead, play.planner, recover=10.0)
    play.answer(1)
    assert play.round.outcome == Done()
    check_replay(play.round)


def test_whoever_is_still_frozen_is_not_waited_for_again_until_it_has_answered() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    referee, planner = workers.referees(1), Confirming().start(workers.code)
    frozen = Silent(1, "it is frozen")
    for number, waits in enumerate([True, False, True]):
        play = Play(workers, referee, number, (), planner, recover=10.0)
        play.answer(0)
        play.tell(frozen)
        assert (play.round.outcome is None) == waits
        if waits:
            play.wait()
        assert play.round.outcome == Done()
        assert play.round.record(0.0, 0.0).unverified == (0, 1)
        check_replay(play.round)
        planner.end(play.round.record(0.0, 0.0))
        if number == 1:  # now it wakes
            play = Play(workers, referee, 10, (), planner, recover=10.0)
            for role in (0, 1):
                play.answer(role)
            assert play.round.record(0.0, 0.0).unverified == ()


def test_a_sum_that_is_lost_with_all_who_kept_it_is_computed_anew() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    play = Play(workers, workers.referees(1), recover=10.0)
    play.answer(1)
    for role in (0, 1):
        play.tell(Lost(role, "it is dead"))
    assert play.round.outcome is None
    for role in (1, 0):
        play.tell(Ready(role))
        assert play.asked[role] == [(Ask, 0)]  # whose bits are unknown now
        play.answer(role)
    assert play.round.outcome == Done()
    assert play.round.record(0.0, 0.0).unverified == ()
    check_replay(play.round)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("liar", [0, 1])
def test_who_lies_is_expelled_whether_it_sends_the_sum_or_its_digest(kind: str, liar: int) -> None:
    code = FractionalRepetition(2, 1)
    for order in [(0, 1), (1, 0)]:
        workers = Workers(code, [Lies(kind, workers=[liar])])
        play = Play(workers, workers.referees(1))
        for role in order:
            play.answer(role)
        if liar == 0:  # who is left has told only the digest
            assert play.asked == {1: [(Ask, 0)]}
            play.answer(1)
        assert play.round.outcome == Done()
        assert play.round.record(0.0, 0.0).expelled == (liar,)
        assert_array_equal(play.round.result(), honest_sum(code))
        check_replay(play.round)


def test_who_sends_another_sum_than_it_has_announced_is_expelled() -> None:
    workers = Workers(THREE)
    play = Play(workers, workers.referees(1))
    play.answer(1)
    play.answer(2)
    play.tell(Lost(0, "it is dead"))
    play.tell(Arrived(0, 1, 0, workers.payload(1, 0) + 1.0))
    assert "what it sent is not what it had told the digest of" in play.referee.expelled[1]
    [hearing] = play.referee.hearings
    assert (hearing.dispute.roles, hearing.verdict.n_chunks) == ((1, 1), 0)
    play.asked.pop(1)
    play.answer(2)
    assert play.round.outcome == Done()
    assert_array_equal(play.round.result(), honest_sum(THREE))
    check_replay(play.round)


def test_the_usually_fastest_is_asked_for_the_sum() -> None:
    workers = Workers(THREE)
    referee = workers.referees(1)
    planner = Confirming().start(THREE)
    for number in range(3):
        play = Play(workers, referee, number, planner=planner)
        for role in (2, 1, 0):
            play.answer(role, now=3.0 - role)
        planner.end(play.round.record(0.0, 0.0))
    assert play.round.log.steps[0].orders[-1] == Ask(2, (0,))


def test_the_plan_is_refused_where_nobody_compares_digests() -> None:
    with pytest.raises(ValueError, match=r"Confirming.* is for rounds whose sums are verified"):
        simulate(THREE, NeverAnswers(workers=[0]), plan=Confirming(), n_rounds=1)


# ---- who rounds otherwise


def otherwise(*roles: int) -> dict[str, Any]:
    """Return how roles round otherwise than the rest."""
    return {
        "alike": lambda one, other: (one in roles) == (other in roles),
        "factor": dict.fromkeys(roles, 1.0 + 1e-13),
    }


def test_one_of_each_kind_sends_the_sum() -> None:
    code = FractionalRepetition(4, 3)
    workers = Workers(code, **otherwise(1, 3))
    play = Play(workers, workers.referees(3))
    assert [*play.round.log.steps[0].orders] == [
        Ask(0, (0,)),
        Ask(1, (0,)),
        Announce(2, (0,)),
        Announce(3, (0,)),
    ]
    for role in (3, 2, 1, 0):
        play.answer(role)
    assert play.round.outcome == Done()
    assert not play.referee.hearings
    assert_allclose(play.round.result(), honest_sum(code), rtol=1e-11)
    check_replay(play.round)


def test_a_digest_of_another_kind_says_nothing_without_the_sum() -> None:
    code = FractionalRepetition(4, 3)
    workers = Workers(code, **otherwise(1, 3))
    play = Play(workers, workers.referees(1))
    play.answer(0)
    play.tell(Lost(1, "it is dead"))  # which should have sent what role 3 has announced
    play.answer(3)
    assert play.asked[3] == [(Ask, 0)]
    assert play.round.outcome is None
    play.answer(3)
    assert play.round.outcome == Done()
    check_replay(play.round)


def test_who_has_moved_sends_the_sum() -> None:
    workers = Workers(THREE)
    referee, planner = workers.referees(1), Confirming().start(THREE)
    Play(workers, referee, 0, [Ready(1)], planner)
    play = Play(workers, referee, 1, (), planner)
    assert [*play.round.log.steps[0].orders] == [Ask(0, (0,)), Ask(1, (0,)), Announce(2, (0,))]


# ---- for all


@settings(max_examples=80)
@given(n_groups=st.integers(1, 2), b=st.integers(1, 2), spare=st.integers(0, 2), data=st.data())
def test_the_honest_sum_comes_in_every_order_and_a_replay_decides_alike(
    n_groups: int, b: int, spare: int, data: st.DataObject
) -> None:
    size = b + spare + 1
    code = FractionalRepetition(n_groups * size, size - 1)
    lies, liars = [], set[int]()
    for group in range(n_groups):
        roles = list(range(group * size, (group + 1) * size))
        chosen = data.draw(st.permutations(roles))[: data.draw(st.integers(0, b))]
        liars.update(chosen)
        together, kind = data.draw(st.booleans()), data.draw(st.sampled_from(KINDS))
        lies += [Lies(kind, [role], 0, together) for role in chosen]
    workers = Workers(code, lies, blocks_of(code, 7))
    referee, expected = workers.referees(b), honest_sum(code, blocks=blocks_of(code, 7))
    planner = Confirming(referee.ways()).start(code)
    for number in range(2):
        play = Play(workers, referee, number, (), planner, recover=1e6)
        left = [spare] * n_groups  # how many may be lost of each group
        while play.round.outcome is None:
            able = sorted(role for role, asked in play.asked.items() if asked)
            what = data.draw(st.sampled_from(["answer", "answer", "answer", "lose", "wait"]))
            there = [i for i in range(code.n_workers) if i not in play.round.state.lost]
            there = [i for i in there if left[i // size]]
            if what == "lose" and there:
                role = data.draw(st.sampled_from(there))
                left[role // size] -= 1
                play.tell(Lost(role, "it is dead"))
            elif able:
                play.answer(data.draw(st.sampled_from(able)))
            else:
                play.wait()
        assert play.round.outcome == Done()
        assert_array_equal(play.round.result(), expected)
        assert not play.round.answers.unverified
        check_replay(play.round)
        planner.end(play.round.record(0.0, 0.0))
    assert set(referee.expelled) <= liars
