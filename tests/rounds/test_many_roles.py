"""Rounds of many roles: an event costs as much as one role holds, and what is kept up is right."""

from __future__ import annotations

import sys
from math import inf
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    GraphRepetition,
)
from dask_gradcode.rounds import Balancing, Everybody, Hedging, Policy
from dask_gradcode.rounds.plans.deadlines import Deadlines
from dask_gradcode.rounds.plans.dues import AT_LEAST, PATIENCE, Dues
from dask_gradcode.rounds.plans.in_work import InWork
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import FixedDelay, NeverAnswers, Slowdown, StragglerModel

roles = st.integers(0, 5)
times = st.integers(0, 9).map(float)


@given(st.lists(st.tuples(st.sampled_from(["set", "forget", "take"]), roles, times)))
def test_deadlines_are_those_of_a_plain_dict(calls: list[tuple[str, int, float]]) -> None:
    deadlines, plain = Deadlines(), dict[int, float]()
    for what, role, time in calls:
        if what == "set":
            deadlines.set(role, time)
            plain[role] = time
        elif what == "forget":
            deadlines.forget(role)
            plain.pop(role, None)
        else:
            over = sorted(other for other, until in plain.items() if until <= time)
            assert deadlines.take(time) == over
            plain = {other: until for other, until in plain.items() if until > time}
        assert set(deadlines) == set(plain)
        assert deadlines.next == min(plain.values(), default=inf)
        assert all(deadlines.get(other) == plain.get(other) for other in range(6))


blocks = st.frozensets(st.integers(0, 7))


@given(st.lists(st.tuples(roles, blocks, st.booleans()) | blocks))
def test_open_is_what_nobody_owes_who_counts(
    calls: list[tuple[int, frozenset[int], bool] | frozenset[int]],
) -> None:
    work, left = InWork(range(8)), set(range(8))
    owes: dict[int, tuple[set[int], bool]] = {}
    for call in calls:
        if isinstance(call, tuple):
            role, owed, counts = call
            work.note(role, owed, counts)
            owes[role] = {*owed}, counts
        else:
            owed_any = {role for role, (owed, _) in owes.items() if owed & left & call}
            assert work.arrive(call) == owed_any
            left -= call
        counted = set[int]().union(*(owed for owed, counts in owes.values() if counts))
        assert work.open == left - counted
        for role, (owed, _) in owes.items():
            assert work.owed(role) == owed & left
        for block in left:
            assert work.owers(block) == {role for role, (owed, _) in owes.items() if block in owed}


def test_of_those_who_were_asked_for_less_less_is_borne() -> None:
    dues = Dues()
    dues.begin(0.0, {0: 4.0, 1: 4.0, 2: 1.0, 3: 8.0, 4: 4.0})
    for role in (0, 1, 4):
        dues.answered(role, 1.0)
    assert dues.next == pytest.approx(PATIENCE + AT_LEAST)
    assert dues.take(1.2) == [2]
    assert dues.next == pytest.approx(2 * PATIENCE + AT_LEAST)  # twice as much, twice as long
    dues.expect(3, 1.0)  # as long as for all before
    assert dues.next == pytest.approx(2 * PATIENCE + AT_LEAST)
    dues.expect(3, 9.0)
    assert dues.take(8.9) == []
    assert dues.take(9.0) == [3]
    assert dues.next == inf


def calls_in_rounds(code: GradientCode, plan: Policy, model: StragglerModel) -> int:
    """Return how many calls a few rounds take, of Python's functions and of C's."""
    n_calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal n_calls
        n_calls += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        simulate(code, model, plan=plan, work=float(code.n_workers), n_rounds=4)
    finally:
        sys.setprofile(before)
    return n_calls


@pytest.mark.parametrize("plan", [Everybody(), Hedging(), Balancing()], ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda n: FractionalRepetition(n, 1),
        lambda n: CyclicRepetition(n, 2),
        lambda n: GraphRepetition(n, 4),
        lambda n: DeclusteredRepetition(n, 1),
        lambda n: DeclusteredRepetition(n, 2),
    ],
    ids=["fractional", "cyclic", "graph", "declustered-1", "declustered-2"],
)
@pytest.mark.parametrize(
    "model",
    [FixedDelay(0.0), NeverAnswers(workers=[3]), Slowdown(8.0, probability=0.1, seed=0)],
    ids=["nobody late", "one frozen", "a tenth slow"],
)
def test_the_clients_calls_grow_no_faster_than_the_roles(
    make: Any, plan: Policy, model: StragglerModel
) -> None:
    few, many = (calls_in_rounds(make(n), plan, model) for n in (36, 144))
    assert many <= 4 * 1.25 * few
