"""Rounds that are told again from their logs."""

from __future__ import annotations

import pickle

from dask_gradcode.rounds import Round


def check_replay(round_: Round) -> None:
    """A log that was written and read again makes the same decisions."""
    again = Round.replay(pickle.loads(pickle.dumps(round_.log)))
    assert again.outcome == round_.outcome
    assert [step.orders for step in again.log.steps] == [s.orders for s in round_.log.steps]
    assert again.answers.expelled == round_.answers.expelled
    assert again.answers.unverified == round_.answers.unverified
    assert again.state.lost == round_.state.lost
    came = [[answer[:3] for answer in one.state.answers] for one in (again, round_)]
    assert came[0] == came[1]
    assert again.look_at == round_.look_at
    check_again = Round.replay(again.log)  # a replay keeps a log of its own
    assert check_again.outcome == round_.outcome
