"""Sums that are believed once enough agree: who lies is expelled, who does not never is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from confirmers import LOGISTIC, Asked, Workers, begun, blocks_of, honest_sum
from dask_gradcode.cluster.worker.lies import KINDS, Lies
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    SlicedRepetition,
    Uncoded,
)
from dask_gradcode.rounds import Arrived, Done, Lost, Ready, Round, Silent
from dask_gradcode.rounds.referee import Referee, check_verify
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Work, as_work


def answer(round_: Round, workers: Workers, role: int, message: int, now: float = 1.0) -> None:
    referee = workers.referee
    assert referee is not None
    event = Arrived(round_.number, role, message, workers.payload(role, message, round_.number))
    if not referee.ignores(event):
        round_.handle(event, now)
        referee.settle(round_, round_, lambda: now)


def run(workers: Workers, referee: Referee, number: int, order: Sequence[int]) -> Vector:
    """Have roles answer in some order, and return the sum."""
    round_ = begun(workers, referee, number)
    for role in order:
        for message in workers.code.messages_of[role]:
            answer(round_, workers, role, message)
    assert round_.outcome == Done()
    return round_.result()


# ---- what is believed when


def test_a_sum_is_believed_once_two_agree() -> None:
    workers = Workers(FractionalRepetition(3, 2))
    round_ = begun(workers, workers.referees(1))
    answer(round_, workers, 2, 0)
    assert round_.outcome is None
    answer(round_, workers, 0, 0)
    assert round_.outcome == Done()
    assert not workers.referee.hearings  # type: ignore[union-attr]
    record = round_.record(0.0, 0.0)
    assert (record.expelled, record.unverified) == ((), ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [40, 30_000], ids=["one piece", "several pieces"])
@pytest.mark.parametrize(
    "work", [LOGISTIC, as_work(lambda w, block: (block.X.sum(), w))], ids=["loss", "function"]
)
def test_who_lies_is_expelled_whoever_answers_first(kind: str, n_rows: int, work: Work) -> None:
    if work is not LOGISTIC:
        n_rows //= 10
    code = FractionalRepetition(4, 1)
    blocks = blocks_of(code, n_rows)
    expected = honest_sum(code, blocks=blocks, work=work)
    for order in [(0, 1, 2, 3), (3, 2, 1, 0)]:
        workers = Workers(code, [Lies(kind, workers=[2])], blocks, work)
        referee = workers.referees(1)
        assert_array_equal(run(workers, referee, 0, order), expected)
        assert list(referee.expelled) == [2]
        assert sum(verdict.n_chunks for _, _, verdict in referee.hearings) <= 1
        assert_array_equal(run(workers, referee, 1, order), expected)  # without it
        assert len(referee.hearings) == 1


def test_two_who_tell_the_same_lie_are_both_expelled_by_a_third() -> None:
    code = FractionalRepetition(3, 2)
    expected = honest_sum(code)
    for order in permutations(range(3)):
        workers = Workers(code, [Lies("random", workers=[0, 2], together=True)])
        referee = workers.referees(2)
        assert_array_equal(run(workers, referee, 0, order), expected)
        assert sorted(referee.expelled) == [0, 2]
        assert sum(verdict.n_chunks for _, _, verdict in referee.hearings) <= 2


def test_whoever_cannot_account_for_what_it_sent_is_expelled() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    referee = workers.referees(1)
    round_ = begun(workers, referee)
    answer(round_, workers, 0, 0)
    round_.handle(Arrived(0, 1, 0, workers.payload(1, 0) + 1.0), now=1.0)
    referee.settle(round_, round_, lambda: 1.0)
    assert "cannot account for what it sent" in referee.expelled[1]
    assert round_.outcome == Done()
    assert round_.record(0.0, 0.0).expelled == (1,)


def test_a_sum_of_the_wrong_size_is_not_believed() -> None:
    workers = Workers(FractionalRepetition(3, 2))
    referee = workers.referees(1)
    round_ = begun(workers, referee)
    round_.handle(Arrived(0, 1, 0, np.zeros(2)), now=1.0)
    for role in (0, 2):
        answer(round_, workers, role, 0)
    assert round_.outcome == Done()
    assert [doubt.roles for doubt in round_.doubts] == [(1,)]
    assert_array_equal(round_.result(), honest_sum(workers.code))


# ---- who cannot be compared


def test_a_sum_that_nobody_can_confirm_is_waited_for_then_reported() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    referee = workers.referees(1)
    round_ = begun(workers, referee, recover=10.0)
    round_.handle(Lost(1, "it is dead"), now=1.0)
    answer(round_, workers, 0, 0, now=2.0)
    assert round_.outcome is None
    assert round_.look_at is not None
    round_.handle(None, now=round_.look_at)
    assert round_.outcome == Done()
    assert round_.record(0.0, 0.0).unverified == (0, 1)
    # in the next rounds nobody waits again, until it is back
    round_ = begun(workers, referee, 1, [Lost(1, "it is dead")], recover=10.0)
    answer(round_, workers, 0, 0)
    assert round_.outcome == Done()
    assert round_.record(0.0, 0.0).unverified == (0, 1)
    round_ = begun(workers, referee, 2, [Ready(1)], recover=10.0)
    answer(round_, workers, 0, 0)
    assert round_.outcome is None
    answer(round_, workers, 1, 0)
    assert round_.record(0.0, 0.0).unverified == ()


def test_who_returns_in_time_confirms() -> None:
    workers = Workers(FractionalRepetition(2, 1))
    referee = workers.referees(1)
    round_ = begun(workers, referee, recover=10.0)
    round_.handle(Silent(1, "it is frozen"), now=1.0)
    answer(round_, workers, 0, 0, now=2.0)
    assert round_.outcome is None
    answer(round_, workers, 1, 0, now=9.0)
    assert round_.outcome == Done()
    assert round_.record(0.0, 0.0).unverified == ()


def test_spare_replicas_are_not_waited_for() -> None:
    workers = Workers(FractionalRepetition(3, 2), [Lies("sign", workers=[0])])
    referee = workers.referees(1)
    round_ = begun(workers, referee)
    round_.handle(Silent(1, "it is frozen"), now=0.5)
    answer(round_, workers, 0, 0)
    assert round_.outcome is None
    answer(round_, workers, 2, 0)
    assert round_.outcome == Done()  # the liar is expelled, and one honest answer is enough
    assert list(referee.expelled) == [0]


def test_who_does_not_account_is_lost_for_the_round_and_not_expelled() -> None:
    workers = Workers(FractionalRepetition(3, 2), [Lies("sign", workers=[0])])
    workers.absent[0] = "it is frozen"
    referee = workers.referees(1)
    round_ = begun(workers, referee)
    for role in range(3):
        answer(round_, workers, role, 0)
    assert round_.outcome == Done()
    assert not referee.expelled
    assert "it does not account" in round_.state.lost[0]
    assert_array_equal(round_.result(), honest_sum(workers.code))


# ---- who rounds otherwise


def test_who_rounds_otherwise_is_compared_within_a_tolerance() -> None:
    others = {"alike": lambda one, other: False, "factor": {1: 1.0 + 1e-12}}
    workers = Workers(FractionalRepetition(2, 1), **others)  # type: ignore[arg-type]
    referee = workers.referees(1)
    assert (workers.payload(0, 0) != workers.payload(1, 0)).any()
    run(workers, referee, 0, (0, 1))
    assert not referee.hearings
    for kind in ("random", "sign", "chunk"):
        workers.lies = [Lies(kind, workers=[1])]
        referee = workers.referees(1)
        workers.digests = {}  # rows are not those that were placed: here they stand for rounding
        round_ = begun(workers, referee)
        workers_asked = Asked.is_placed
        try:
            Asked.is_placed = lambda *_: True  # type: ignore[method-assign]
            for role in (0, 1):
                answer(round_, workers, role, 0)
        finally:
            Asked.is_placed = workers_asked  # type: ignore[method-assign]
        assert list(referee.expelled) == [1]


def test_what_cannot_be_decided_is_reported_and_nobody_is_expelled() -> None:
    # they say that they round alike, and differ in their last bits
    code, nudge = FractionalRepetition(2, 1), {0: 1.0 + 1e-15, 1: 1.0 - 1e-15}
    workers = Workers(code, factor=nudge)
    referee = workers.referees(1)
    round_ = begun(workers, referee)
    workers_asked = Asked.is_placed
    try:
        Asked.is_placed = lambda *_: True  # type: ignore[method-assign]
        for role in (0, 1):
            answer(round_, workers, role, 0)
    finally:
        Asked.is_placed = workers_asked  # type: ignore[method-assign]
    assert round_.outcome == Done()
    if referee.expelled:  # one of them had the client's bits by chance
        assert len(referee.expelled) == 1
    else:
        assert round_.record(0.0, 0.0).unverified == (0, 1)


# ---- for all


@settings(max_examples=25)
@given(
    n_groups=st.integers(1, 3),
    b=st.integers(1, 3),
    spare=st.integers(0, 1),
    data=st.data(),
)
def test_no_honest_role_is_expelled_and_who_has_been_heard_lying_is(
    n_groups: int, b: int, spare: int, data: st.DataObject
) -> None:
    size = b + spare + 1
    code = FractionalRepetition(n_groups * size, size - 1)
    lies, liars = [], set[int]()
    for group in range(n_groups):
        n_liars = data.draw(st.integers(0, b))
        roles = range(group * size, (group + 1) * size)
        chosen = data.draw(st.permutations(list(roles)))[:n_liars]
        liars.update(chosen)
        for role in chosen:
            kind = data.draw(st.sampled_from(KINDS))
            lies.append(Lies(kind, [role], data.draw(st.integers(0, 2)), data.draw(st.booleans())))
    workers = Workers(code, lies, blocks_of(code, 7))
    referee, expected = workers.referees(b), honest_sum(code, blocks=blocks_of(code, 7))
    for number in range(3):
        order = data.draw(st.permutations(list(range(code.n_workers))))
        assert_array_equal(run(workers, referee, number, order), expected)
    assert referee.expelled.keys() == liars  # all answers were seen
    by_group: dict[int, int] = {}
    for _, dispute, verdict in referee.hearings:
        by_group[dispute.message] = by_group.get(dispute.message, 0) + verdict.n_chunks
    assert all(n <= b for n in by_group.values())


@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_honest_fits_expel_nobody(seed: int) -> None:
    """A hundred fits each, of a random code, some of whose roles round otherwise."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        s = int(rng.integers(1, 4))
        code = FractionalRepetition(2 * (s + 1), s)
        kind = {i: int(rng.integers(2)) for i in range(code.n_workers)}
        blocks = blocks_of(code, int(rng.integers(1, 30)))
        scales = {i: Block(b.X * 10.0 ** rng.integers(-3, 4), b.y) for i, b in blocks.items()}
        alike = lambda one, other, kind=kind: kind[one] == kind[other]  # noqa: E731
        factor = {i: 1.0 + 1e-13 for i, which in kind.items() if which}
        workers = Workers(code, (), scales, alike=alike, factor=factor)
        referee = workers.referees(s)
        for number in range(2):
            run(workers, referee, number, rng.permutation(code.n_workers).tolist())
        assert not referee.hearings


# ---- what cannot be verified


@pytest.mark.parametrize(
    "code",
    [Uncoded(4), CyclicRepetition(4, 1), DeclusteredRepetition(4, 1), SlicedRepetition(4, 1)],
)
def test_codes_whose_messages_nobody_can_compare_are_refused(code: GradientCode) -> None:
    with pytest.raises(ValueError, match=r"(?s)verify=1 needs .*Use code='fractional' with n_str"):
        check_verify(code, 1)
    assert check_verify(code, 0) == 0


@pytest.mark.parametrize("verify", [-1, 1.5, True, "1", None])
def test_what_is_no_number_of_workers_is_refused(verify: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 0, of faulty workers, 'audit' or"):
        check_verify(FractionalRepetition(4, 1), verify)


def test_too_few_replicas_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs 3 workers .* some messages have 2"):
        check_verify(FractionalRepetition(4, 1), 2)


@pytest.mark.parametrize("workers", [1, [], [-1], [0.5], ["a"]])
def test_liars_are_numbers_in_a_list(workers: Any) -> None:
    with pytest.raises(
        ValueError, match=r"whole numbers from 0 as workers \(one or more, in a list"
    ):
        Lies("sign", workers)
