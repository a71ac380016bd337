"""Audits without a cluster: whose turn it is, who is found, and what is taken back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from audited import Audited
from code_lists import EVERY
from dask_gradcode.cluster.worker.lies import KINDS, Lies
from dask_gradcode.codes import (
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
)
from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov, NewtonCholesky, Optimizer
from dask_gradcode.rounds import TakenBackError
from dask_gradcode.rounds.audit import Rotation, check_audit, share_out
from dask_gradcode.rounds.books import Books
from dask_gradcode.rounds.journal import Journal
from dask_gradcode.typing import Evaluation, Vector

RING = DeclusteredRepetition(4, 1, n_leaves=4)
PAIRS = FractionalRepetition(4, 1)
OPTIMIZERS: list[Optimizer] = [LBFGS(), GradientDescent(), Nesterov(), NewtonCholesky()]


def fitted(objective: Audited, optimizer: Optimizer = OPTIMIZERS[0], **how: Any) -> Any:
    how = {"max_iter": 12, "tol": 1e-6} | how

    def run() -> Any:
        return optimizer.minimize(objective, np.zeros(3), **how)

    return objective.audited(run, lambda found: found.w)


# ---- whose turn it is


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_in_2n_minus_1_turns_everybody_has_one(n: int, seed: int) -> None:
    rotation = Rotation(n, np.random.default_rng(seed))
    turns = [rotation.take(range(n)) for _ in range(5 * n)]
    for start in range(3 * n):
        assert set(turns[start : start + 2 * n - 1]) == set(range(n))
    assert Counter(turns) == dict.fromkeys(range(n), 5)


@given(st.integers(2, 8), st.data())
def test_who_cannot_be_audited_now_has_its_turn_as_soon_as_it_can(
    n: int, data: st.DataObject
) -> None:
    rotation = Rotation(n, np.random.default_rng(0))
    waiting = Counter[int]()
    for _ in range(6 * n):
        able = data.draw(st.sets(st.integers(0, n - 1)))
        taken = rotation.take(able)
        assert (taken is None) == (not able)
        assert taken is None or taken in able
        for role in able - {taken}:
            waiting[role] += 1
            assert waiting[role] < 2 * n  # of the turns in which it could have been audited
        if taken is not None:
            waiting[taken] = 0


# ---- who computes it again


@given(st.sampled_from([code for code in EVERY if not code.exchanges]), st.data())
def test_all_of_a_message_is_computed_again_by_others_or_none_of_it(
    code: GradientCode, data: st.DataObject
) -> None:
    role = data.draw(st.integers(0, code.n_workers - 1))
    able = data.draw(st.permutations(sorted(set(range(code.n_workers)) - {role})))
    able = able[: data.draw(st.integers(0, len(able)))]
    for message in code.first(role):
        found = share_out(code, message, able, {})
        if found is None:
            continue
        blocks = [block for part in found for block in code.messages[part].blocks]
        assert sorted(blocks) == sorted(code.messages[message].blocks)
        for part, other in found.items():
            assert other in able
            assert set(code.messages[part].blocks) <= set(code.blocks_of(other))


@pytest.mark.parametrize("code", EVERY, ids=repr)
def test_codes_are_audited_if_others_can_compute_what_each_worker_sends(
    code: GradientCode,
) -> None:
    is_known = isinstance(code, DeclusteredRepetition | FractionalRepetition)
    if is_known and code.n_stragglers > 0:
        check_audit(code)
        for role in range(code.n_workers):
            others = [other for other in range(code.n_workers) if other != role]
            assert all(share_out(code, message, others, {}) for message in code.first(role))
    else:
        with pytest.raises(ValueError, match=r"(?s)verify='audit' needs .*Use code='declustered'"):
            check_audit(code)


def test_work_is_shared_out_evenly_and_who_is_late_is_asked_last() -> None:
    code = FractionalRepetition(6, 2)
    assert share_out(code, 0, [2, 1], {}) == {0: 2}
    assert share_out(code, 0, [2, 1], {2: 3}) == {0: 1}
    assert share_out(code, 0, [2, 1], {1: 3}, late=[2]) == {0: 1}
    assert share_out(code, 0, [3, 4], {}) is None


# ---- books and journal


def test_books_know_what_is_equal_and_what_is_close() -> None:
    alike = {(0, 1), (1, 0)}
    books = Books(0, lambda one, other: (one, other) in alike, str)
    payload = np.array([3.0, 4.0])
    books.note(0, 0, 0, payload)
    books.note(0, 1, 0, payload * (1 + 1e-15))
    books.note(0, 2, 0, payload * (1 + 1e-15))
    assert [(one.message, one.roles) for one in books.contradictions] == [(0, (0, 1))]
    books.use(0, [(0, 0), (1, 0), (2, 0)])
    assert books.unchecked(0) == []  # each has been confirmed by one of the others
    books.note(1, 0, 0, np.array([np.nan, 1.0]))
    books.note(1, 2, 0, np.array([np.nan, 2.0]))
    assert len(books.contradictions) == 2


@given(st.integers(0, 400), st.integers(1, 4))
def test_a_journal_tells_the_same_wherever_it_keeps_it(limit: int, n_parameters: int) -> None:
    journal, rng = Journal(float(limit)), np.random.default_rng(0)
    points = rng.normal(size=(6, n_parameters))
    for number, w in enumerate(points):
        assert journal.recall("value", w) is None
        hessian = np.outer(w, w) if number % 2 else None
        seen = [Evaluation(float(number), 2 * w, hessian=hessian, rounding=1e-9)]
        journal.keep("value", w, seen, range(number, number + 1))
    journal.rewind(4)
    for number, w in enumerate(points[:4]):
        told = journal.recall("value", w)
        assert told is not None
        assert journal.is_repeating
        assert (told[0].value, told[0].rounding) == (number, 1e-9)
        assert_array_equal(told[0].gradient, 2 * w)
        told[0].gradient[:] = 0.0  # it is the caller's
        assert (told[0].hessian is None) == (number % 2 == 0)
        assert journal.at(w) == range(number, number + 1)
    assert journal.recall("value", points[4]) is None
    assert not journal.is_repeating
    journal.rewind()
    assert_array_equal(journal.recall("value", points[0])[0].gradient, 2 * points[0])  # type: ignore[index]
    assert journal.recall("value", points[3]) is None  # another way: what came then is forgotten
    assert 1 not in journal
    assert journal.newest() == range(0, 1)
    journal.close()


# ---- whole fits


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("code", [PAIRS, RING], ids=["fractional", "declustered"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_goes_back_and_ends_where_the_honest_one_does(
    kind: str, code: GradientCode, optimizer: Optimizer
) -> None:
    expected = fitted(Audited(code), optimizer)
    liar = 2  # of the pair (2, 3) the first to answer
    objective = Audited(code, [Lies(kind, [liar], from_round=2)])
    found = fitted(objective, optimizer)
    assert_array_equal(found.w, expected.w)
    assert found.value == expected.value
    assert (found.n_iter, found.message) == (expected.n_iter, expected.message)
    expelled, back = objective.audit.found
    assert (expelled.what, expelled.role, expelled.rounds[0]) == ("expelled", liar, 2)
    assert expelled.blocks == code.blocks_of(liar)
    assert (back.what, back.rounds) == ("taken back", tuple(range(2, back.round + 1)))


def test_who_begins_to_lie_at_the_end_is_found() -> None:
    honest = Audited(RING)
    expected = fitted(honest)
    last = honest.engine.n_rounds - 1
    objective = Audited(RING, [Lies("chunk", [1], from_round=last)], n_looks=1000)
    assert_array_equal(fitted(objective).w, expected.w)
    expelled, back = objective.audit.found
    assert (expelled.role, expelled.rounds[0], back.rounds[0]) == (1, last, last)


def test_a_lie_over_which_the_solver_stumbles_comes_first() -> None:
    objective = Audited(RING, [Lies("sign", [1], from_round=1)], n_looks=1000)

    def stumble(n_iter: int, w: Vector, seen: Evaluation) -> None:
        if objective.engine.n_rounds == 3:
            raise FloatingPointError("The objective is not finite.")

    found = fitted(objective, GradientDescent(), callback=stumble)
    assert_array_equal(found.w, fitted(Audited(RING), GradientDescent()).w)

    def fail(n_iter: int, w: Vector, seen: Evaluation) -> None:
        raise FloatingPointError("The objective is not finite.")

    with pytest.raises(FloatingPointError):
        fitted(Audited(RING), GradientDescent(), callback=fail)


def test_of_many_iterates_no_round_is_run_twice_that_was_right() -> None:
    objective = Audited(PAIRS, [Lies("sign", [0], from_round=5)])
    n_rounds = Audited(PAIRS)
    fitted(n_rounds, GradientDescent())
    fitted(objective, GradientDescent())
    [_, back] = objective.audit.found
    assert objective.engine.n_rounds == n_rounds.engine.n_rounds + len(back.rounds)


def test_callbacks_can_tell_what_they_were_told_before() -> None:
    told: list[int] = []
    objective = Audited(RING, [Lies("sign", [3], from_round=4)])

    def callback(n_iter: int, w: Vector, seen: Evaluation) -> None:
        if not objective.is_repeating:
            told.append(n_iter)

    found = fitted(objective, GradientDescent(), callback=callback)
    [_, back] = objective.audit.found
    again = [n for n, count in Counter(told).items() if count > 1]
    assert told[-1] == found.n_iter
    assert set(told) == set(range(1, found.n_iter + 1))
    assert len(again) <= len(back.rounds)


def test_whoever_calls_without_audited_is_told() -> None:
    objective = Audited(RING, [Lies("sign", [0])])
    w = np.zeros(3)

    def call_often() -> None:
        for _ in range(20):
            objective(w)

    with pytest.raises(TakenBackError, match="The sum of round 0 was wrong") as caught:
        call_often()
    assert (caught.value.round, caught.value.n_rounds) == (0, objective.engine.n_rounds)
    expected = Audited(RING)(w)
    seen = objective(w)
    assert_array_equal(seen.gradient, expected.gradient)
    assert seen.record.lost == (0,)


def test_an_auditor_that_lies_takes_nothing_back() -> None:
    # the first of each pair answers first, so the liar's sums are never used
    objective = Audited(PAIRS, [Lies("random", [1])], order=lambda new: new)
    expected = fitted(Audited(PAIRS))
    assert_array_equal(fitted(objective).w, expected.w)
    assert [(one.what, one.role, one.rounds) for one in objective.audit.found] == [
        ("expelled", 1, ())
    ]


def test_who_does_not_answer_is_not_expelled_and_the_end_is_unverified() -> None:
    objective = Audited(PAIRS, order=lambda new: [e for e in new if e.role != 1])
    objective.absent = {1: "it is frozen"}
    fitted(objective)
    [unverified] = objective.audit.found
    assert (unverified.what, unverified.blocks) == ("unverified", (0, 1))


def test_a_worker_that_has_lied_and_left_is_not_held_against_its_successor() -> None:
    expected = fitted(Audited(RING))
    objective = Audited(RING, [Lies("sign", [2])], n_looks=1000)

    def leave(n_iter: int, w: Vector, seen: Evaluation) -> None:
        if n_iter == 3 and objective.lies:
            objective.lies.clear()
            objective.addresses[2] = "worker-9"

    found = fitted(objective, callback=leave)
    assert_array_equal(found.w, expected.w)
    assert [one.what for one in objective.audit.found] == ["taken back"]
    assert not objective.audit.recounting.referee.expelled


@settings(max_examples=40)
@given(
    code=st.sampled_from(
        [
            PAIRS,
            RING,
            FractionalRepetition(6, 2),
            DeclusteredRepetition(5, 1, spread=2, n_leaves=2),
            DeclusteredRepetition(5, 2, spread=1, n_leaves=1),
        ]
    ),
    data=st.data(),
)
def test_no_honest_worker_is_expelled_and_the_end_is_right(
    code: GradientCode, data: st.DataObject
) -> None:
    """One liar, in any rounds, in any way, however late it is looked at."""
    liar = data.draw(st.integers(0, code.n_workers - 1))
    lies = Lies(data.draw(st.sampled_from(KINDS)), [liar])
    rounds = data.draw(st.sets(st.integers(0, 15)))
    shuffle = np.random.default_rng(data.draw(st.integers(0, 99)))

    def order(new: list[Any]) -> list[Any]:
        return [new[i] for i in shuffle.permutation(len(new))]

    objective = Audited(
        code,
        [lies],
        rounds,
        order,
        n_looks=data.draw(st.integers(1, 5)),
        seed=data.draw(st.integers(0, 99)),
    )
    found = fitted(objective)
    expelled = objective.audit.recounting.referee.expelled.keys()
    assert expelled <= {liar}
    seen = Audited(code)(found.w)
    assert_array_equal(found.gradient, seen.gradient)
    assert found.value == seen.value
    if expelled:  # all that it had sent was computed again
        assert_array_equal(found.w, fitted(Audited(code)).w)
    assert len(objective.audit.recounting.referee.hearings) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_honest_fits_expel_nobody_and_compute_at_most_a_share_more(seed: int) -> None:
    for code in (PAIRS, RING, FractionalRepetition(6, 2)):
        objective = Audited(code, seed=seed)
        fitted(objective, GradientDescent(), max_iter=30)
        assert not objective.audit.found
        n_rounds, recounting = objective.engine.n_rounds, objective.audit.recounting
        load = max(
            sum(len(code.messages[m].blocks) for m in code.first(role))
            for role in range(code.n_workers)
        )
        assert recounting.n_blocks <= load * n_rounds + code.n_blocks  # one a round, and the end
