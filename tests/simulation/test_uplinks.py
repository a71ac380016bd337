"""Sending takes time, too: what rounds last by slices and by whole payloads."""

from __future__ import annotations

import pytest

from dask_gradcode.codes import FractionalRepetition, GradientCode, SlicedRepetition, Uncoded
from dask_gradcode.history import History
from dask_gradcode.rounds import Everybody
from dask_gradcode.simulation import choose, simulate
from dask_gradcode.stragglers import FixedDelay, NeverAnswers, StragglerModel


def seconds(code: GradientCode, model: StragglerModel | None = None, **more: float) -> list[float]:
    history: History = simulate(code, model or StragglerModel(), n_rounds=5, **more)
    return history.columns["seconds"]


def test_whole_payloads_take_their_time_and_messages_go_one_after_another() -> None:
    assert seconds(FractionalRepetition(4, 1), upload=2.0) == [2.5] * 5
    assert seconds(Uncoded(4), upload=2.0, overhead=0.5) == [2.75] * 5


@pytest.mark.parametrize("r", [2, 3, 4])
def test_each_ready_worker_sends_its_part(r: int) -> None:
    code = SlicedRepetition(2 * r, r - 1)
    for n_late in range(r):
        late = [*range(n_late), *range(r, r + n_late)]
        *_, last = seconds(code, NeverAnswers(workers=late), work=0.5, upload=6.0)
        assert last == pytest.approx(0.25 + 6.0 / (r - n_late))


def test_with_several_slices_any_worker_sends_as_much() -> None:
    code = SlicedRepetition(8, 2, n_slices=2)
    for late in ([], [0], [0, 5], [0, 3, 5]):
        found = seconds(code, FixedDelay(99.0, workers=late), work=0.5, upload=6.0)
        assert found == pytest.approx([0.25 + 3.0] * 5)


def test_what_is_being_sent_is_sent_to_its_end_before_the_next_round() -> None:
    code, slow = FractionalRepetition(2, 1), [1.0, 10.0]
    history = simulate(code, StragglerModel(), n_rounds=4, upload=slow, plan=Everybody())
    assert history.columns["seconds"] == [2.0] * 4
    answered = [a for record in history for a in record.answers if a.role == 1]
    assert not answered  # 11 s for the first, whose round is over, then it is 8 s into the others
    history = simulate(code, StragglerModel(), n_rounds=9, upload=slow, plan=Everybody())
    assert history[8].seconds == 2.0


def test_a_choice_counts_what_is_sent() -> None:
    quick = choose(StragglerModel(), 6, work=1.0, max_stragglers=2, n_rounds=3)
    assert "sliced" not in quick.columns["code"]
    slow = choose(StragglerModel(), 6, work=1.0, max_stragglers=2, n_rounds=3, upload=5.0)
    assert slow.best == SlicedRepetition(6, 2)


@pytest.mark.parametrize("upload", [-1.0, [1.0, 2.0], float("nan"), float("inf"), "slow", None])
def test_seconds_that_make_no_sense_are_refused(upload: object) -> None:
    with pytest.raises(ValueError, match="upload must be seconds >= 0"):
        simulate(Uncoded(4), StragglerModel(), upload=upload)  # type: ignore[arg-type]
