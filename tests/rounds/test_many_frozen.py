"""A round ends whoever is frozen, as long as those who are left hold everything: nobody says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from dask_gradcode.codes import DeclusteredRepetition, GradientCode
from dask_gradcode.rounds import Balancing, Hedging
from dask_gradcode.rounds.plans.dues import A_WHILE, AT_LEAST, MANY_LATE, PATIENCE, Dues
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import NeverAnswers, TraceDelay

CODES = [
    DeclusteredRepetition(4, 1, spread=1, n_leaves=2),
    DeclusteredRepetition(6, 1, spread="group", n_leaves=4),
    DeclusteredRepetition(6, 2, n_leaves=4),
    DeclusteredRepetition(7, 3, spread=2, n_leaves=2),
]


def survived(code: GradientCode) -> Iterator[tuple[int, ...]]:
    """Yield all sets of workers without which the sum can be decoded."""
    for n_frozen in range(1, code.n_workers):
        for frozen in combinations(range(code.n_workers), n_frozen):
            if code.can_decode(code.available({*range(code.n_workers)} - {*frozen})):
                yield frozen


@pytest.mark.parametrize("plan", [Hedging(), Balancing()], ids=repr)
@pytest.mark.parametrize("code", CODES, ids=repr)
def test_the_first_round_ends_without_any_who_need_not_be_there(
    code: GradientCode, plan: Hedging | Balancing
) -> None:
    for frozen in survived(code):
        history = simulate(code, NeverAnswers(workers=frozen), plan=plan, n_rounds=3)
        assert all(record.exact for record in history), frozen


@pytest.mark.parametrize("plan", [Hedging(), Balancing()], ids=repr)
@pytest.mark.parametrize("code", CODES, ids=repr)
def test_a_later_round_ends_without_any_who_need_not_be_there(
    code: GradientCode, plan: Hedging | Balancing
) -> None:
    for frozen in survived(code):
        trace = np.zeros((6, code.n_workers))
        trace[3, list(frozen)] = np.inf  # from then on
        history = simulate(code, TraceDelay(trace), plan=plan, n_rounds=6)
        assert all(record.exact for record in history), frozen


def test_before_half_have_answered_there_is_several_times_as_long() -> None:
    dues = Dues()
    dues.begin(0.0, dict.fromkeys(range(5), 1.0), longest=2.0)
    assert dues.next == MANY_LATE[0] * 2.0 + A_WHILE
    dues.answered(3, 0.1)
    assert dues.next == pytest.approx(MANY_LATE[1] * 0.1 + A_WHILE)
    dues.answered(4, 1.0)  # never later than was said before
    assert dues.next == pytest.approx(MANY_LATE[1] * 0.1 + A_WHILE)
    dues.answered(0, 1.0)
    assert dues.next == pytest.approx(PATIENCE + AT_LEAST)
    assert dues.take(1.0) == []
    assert dues.take(1.2) == [1, 2]
    assert dues.next == np.inf
