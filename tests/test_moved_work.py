"""A history tells who computed what in place of whom, how fast workers were and what that cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_equal

from code_lists import FEW
from dask_gradcode.codes import DeclusteredRepetition, FractionalRepetition, GradientCode
from dask_gradcode.history import History, Move
from dask_gradcode.rounds import Answer, Balancing, Everybody, Hedging
from dask_gradcode.simulation import recorded, simulate
from dask_gradcode.stragglers import FixedDelay, NeverAnswers, Slowdown
from histories import record

CODE = DeclusteredRepetition(4, 1, n_leaves=4)  # shares of messages 7 i, halves 7 i + 1 and + 2


def written(*answers: Answer) -> History:
    return History(CODE, "stream", [record(0, [np.nan] * 4, answers=list(answers))])


def test_what_others_computed_is_a_move_from_its_owner() -> None:
    history = written(
        Answer(0, 0, 1.0, used=True),
        Answer(2, 14, 1.0, used=True),
        Answer(3, 21, 1.0, used=True),
        Answer(1, 8, 1.2, used=True),  # the first half of its own share
        Answer(2, 12, 1.5, used=True),  # two leaves of the second
        Answer(3, 13, 1.5, used=True),
        Answer(1, 12, 1.6),  # too late
    )
    assert history.moves == [Move(0, 1, 2, (6,)), Move(0, 1, 3, (7,))]
    assert history.columns["n_moved"] == [2]
    assert history.work == 17 / 16
    assert "1.06 times the work of uncoded rounds (12.5% moved)" in history.summary()
    assert "2 blocks, to others than their owners" in history._repr_html_()


def test_a_speed_is_the_best_rate_at_which_a_worker_had_sent_blocks() -> None:
    history = written(
        Answer(0, 0, 1.0, used=True),
        Answer(1, 8, 2.0, used=True),
        Answer(0, 12, 4.0, used=True),  # it waited to be asked for that
        Answer(1, 13, 3.0, used=True),
    )
    assert_equal(history.speeds, [[4.0, 1.0, np.nan, np.nan]])


@pytest.mark.parametrize("code", FEW, ids=repr)
def test_where_nobody_is_late_nothing_moves(code: GradientCode) -> None:
    history = simulate(code, FixedDelay(0.0), n_rounds=3)
    assert history.moves == []
    assert not any(record.hurried for record in history)
    assert "moved" not in history.summary()
    if code.divides:
        assert history.work == 1.0


@settings(max_examples=30)  # each simulates four rounds of a fit
@given(
    factor=st.floats(2.0, 50.0),
    worker=st.integers(0, 5),
    balance=st.booleans(),
    s=st.integers(1, 2),
)
def test_the_moves_and_the_owners_own_work_are_all_of_it(
    factor: float, worker: int, balance: bool, s: int
) -> None:
    code = DeclusteredRepetition(6, s, n_leaves=4)
    plan = Balancing() if balance else Hedging()
    history = simulate(code, Slowdown(factor, workers=[worker]), plan=plan, n_rounds=4)
    assert history.moves
    for record_ in history:
        moved = [move for move in history.moves if move.round == record_.round]
        blocks = [block for move in moved for block in move.blocks]
        own = [
            block
            for role, message, _, used in record_.answers
            for block in code.messages[message].blocks
            if used and block // 4 == role
        ]
        assert sorted(blocks + own) == list(range(24))
        assert all(move.owner != move.worker in code.holders[move.blocks[0]] for move in moved)
    owners = {move.owner for move in history.moves}
    assert owners == {worker} or (balance and worker in owners)
    assert history[0].hurried == (worker,)
    assert 1.0 <= history.work < 1.4


def test_replicas_of_the_papers_codes_have_no_owner() -> None:
    history = simulate(FractionalRepetition(4, 1), NeverAnswers(workers=[0]), plan=Everybody())
    assert history.moves == []
    assert np.isnan(history.speeds[:, 0]).all()


def test_a_history_of_divided_shares_tells_how_slow_workers_are() -> None:
    slow = Slowdown(3.0, workers=[1])
    past = simulate(DeclusteredRepetition(6, 1), slow, work=6.0, n_rounds=20)
    delays, work = recorded(past)
    assert work == pytest.approx(6.0)
    late = np.median([delays.delays(number, 6) for number in range(20)], axis=0)
    assert_allclose(late[[0, 2, 3, 4, 5]], 0.0, atol=0.3)
    assert_allclose(late[1], 2.0, rtol=0.3)  # three times as long for its share
