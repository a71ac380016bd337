"""What a fit remembers of its rounds: as columns, as a frame, in one line."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal, assert_equal

from dask_gradcode.codes import Uncoded
from dask_gradcode.history import Change, History, Recorder
from dask_gradcode.history.changes import merged
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.rounds import Answer, Discovery
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import Block
from helpers import OwnThenNext, count_rows
from histories import BLANK, CODE, record, two_rounds

COLUMNS: dict[str, list[Any]] = {
    "round": [0, 1],
    "seconds": [0.25, 0.5],
    "value": [10.0, 9.0],
    "grad_norm": [0.5, 0.5],
    "n_used": [2, 2],
    "n_late": [1, 1],
    "n_lost": [0, 1],
    "n_restored": [0, 0],
    "n_relocated": [0, 0],
    "n_spared": [0, 0],
    "n_not_needed": [1, 0],
    "n_unplaced": [0, 0],
    "n_hurried": [0, 0],
    "n_moved": [0, 0],
    "speeds": [[8.0, BLANK, 16.0, BLANK], [BLANK, 4.0, 8.0, BLANK]],
    "residual": [0.0, 0.0],
    "error": [0.0, 0.0],
    "age": [0, 0],
    "drift": [0.0, 0.0],
    "amplification": [1.0, 2.0],
    "exact": [True, True],
}


def test_a_history_is_a_sequence_of_records() -> None:
    history = two_rounds()
    assert len(history) == 2
    assert [*history] == history.records
    assert history[-1] is history.records[1]


def test_columns_are_the_records_as_lists() -> None:
    columns = two_rounds().columns
    assert_equal(columns, COLUMNS)
    assert [*columns] == [*COLUMNS]


def test_used_messages_are_counted_by_worker() -> None:
    answers = [Answer(role, 0, 0.1, used=role < 2) for role in (0, 0, 1, 2)]
    history = History(OwnThenNext(3), "tasks", [record(0, [BLANK] * 3, answers=answers)])
    assert history.columns["n_used"] == [2]


def test_events_say_who_was_lost_and_restored_when_and_at_what_cost() -> None:
    lost_restored = [((), ()), ((1, 2), ()), ((2,), ()), ((2,), (2,)), ((), (3,)), ((), ())]
    records = [
        record(i, [0.1, 0.1, 0.1, 0.1], lost=lost, restored=restored, seconds=seconds)
        for i, ((lost, restored), seconds) in enumerate(
            zip(lost_restored, [0.1, 5.1, 0.1, 0.1, 0.6, 0.05], strict=True)
        )
    ]
    expected = [
        (1, 1, "lost", 5.0),
        (1, 2, "lost", 5.0),
        (2, 1, "restored", 0.0),
        (3, 2, "restored", 0.0),  # and lost again
        (3, 2, "lost", 0.0),
        (4, 3, "lost", 0.5),  # and replaced before any round missed it
        (4, 2, "restored", 0.5),
        (4, 3, "restored", 0.5),
    ]
    events = History(CODE, "tasks", records).events
    assert [(e.round, e.worker, e.what, pytest.approx(e.cost)) for e in events] == expected
    assert History(CODE, "tasks").events == []


def test_events_say_who_was_relocated_although_nobody_was_missed() -> None:
    records = [record(i, [0.1] * 4, seconds=0.1) for i in range(3)]
    records[1] = record(1, [0.1] * 4, seconds=0.1, relocated=(0, 2))
    history = History(CODE, "tasks", records)
    events = [(e.round, e.worker, e.what, e.cost) for e in history.events]
    assert events == [(1, 0, "relocated", 0.0), (1, 2, "relocated", 0.0)]
    assert history.columns["n_relocated"] == [0, 2, 0]
    assert "0 lost and 0 restored, 2 relocated, every sum exact" in history.summary()


def test_one_event_says_when_all_are_there_that_were_not_at_the_beginning() -> None:
    def whats(*first: dict[str, Any]) -> list[tuple[int, int | None, str]]:
        records = [record(i, [0.1] * 4, **changes) for i, changes in enumerate((*first, {}, {}))]
        return [(e.round, e.worker, e.what) for e in History(CODE, "tasks", records).events]

    on_its_way = {"unplaced": (1, 3)}
    assert whats({}) == []
    assert whats(on_its_way, on_its_way, {"unplaced": (3,)}) == [(3, None, "complete")]
    assert whats({"placed": (1,)}) == [(0, None, "complete")]  # in the first round itself
    assert whats(on_its_way, {"lost": (0,)}) == [
        (1, 0, "lost"),
        (2, 0, "restored"),
        (2, None, "complete"),
    ]
    assert whats({}, {"lost": (0,)}) == [(1, 0, "lost"), (2, 0, "restored")]


def test_the_spared_and_the_not_needed_are_counted_apart() -> None:
    spared = record(0, [0.1, BLANK, BLANK, 0.1], spared=(1,), not_needed=(1, 2))
    columns = History(CODE, "stream", [spared]).columns
    assert (columns["n_spared"], columns["n_not_needed"], columns["n_late"]) == ([1], [2], [0])


def test_the_frame_has_one_row_a_round() -> None:
    pd.testing.assert_frame_equal(two_rounds().to_frame(), pd.DataFrame(COLUMNS))


def test_an_empty_history_has_the_same_columns() -> None:
    frame = History(CODE, "tasks").to_frame()
    assert [*frame.columns] == [*COLUMNS]
    assert len(frame) == 0


def test_the_repr_counts_rounds_and_says_whether_they_are_exact() -> None:
    history = two_rounds()
    code = "FractionalRepetition(n_workers=4, n_stragglers=1)"
    assert repr(history) == f"History(2 rounds, {code}, transport='tasks')"
    history.records.append(record(2, [0.1, BLANK, BLANK, BLANK], exact=False))
    assert repr(history) == f"History(3 rounds, approximate, {code}, transport='tasks')"


@pytest.mark.parametrize(
    ("module", "method", "extra"),
    [("pandas", "to_frame", "dataframe"), ("matplotlib.pyplot", "plot", "plot")],
)
def test_a_missing_package_is_named_with_how_to_install_it(
    module: str, method: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    needed = module.split(".")[0]
    text = rf"History\.{method} needs {needed}: pip install 'dask-gradcode\[{extra}\]'"
    with pytest.raises(ImportError, match=text):
        getattr(two_rounds(), method)()
    assert_equal(two_rounds().columns, COLUMNS)


def test_the_summary_is_one_line_of_what_it_cost_and_what_was_survived() -> None:
    how = "with FractionalRepetition(n_workers=4, n_stragglers=1), tasks"
    assert str(History(CODE, "tasks")) == f"no rounds {how}"
    history = two_rounds()
    assert str(history) == history.summary()
    assert history.summary() == (
        "2 rounds in 0.75 s (median 0.375 s, longest 0.5 s), "
        "1 times the work of uncoded rounds, 1 workers late a round, "
        f"1 lost and 0 restored, every sum exact; {how}"
    )
    rough = record(2, [0.1, BLANK, BLANK, BLANK], exact=False, restored=(3,))
    history.records.append(rough)
    assert "1 lost and 1 restored, 1 sums approximate" in history.summary()
    assert "\n" not in history.summary()
    history.records[0] = record(0, [0.1, BLANK, 0.1, 0.1], unplaced=(1,))
    assert "1 restored, not all placed in 1 rounds, 1 sums" in history.summary()


def test_arrivals_are_those_of_the_last_message_of_each_worker() -> None:
    assert_array_equal(
        two_rounds().arrivals, [[0.25, BLANK, 0.125, BLANK], [BLANK, 0.5, 0.25, BLANK]]
    )
    answers = [Answer(0, 1, 0.1), Answer(1, 3, 0.1), Answer(0, 0, 0.2)]
    history = History(OwnThenNext(3), "tasks", [record(0, [BLANK] * 3, answers=answers)])
    assert_array_equal(history.arrivals, [[0.2, 0.1, BLANK]])
    assert History(CODE, "tasks").arrivals.shape == (0, 4)


def test_the_recorder_keeps_what_the_solver_sees_not_the_bare_sum() -> None:
    history = History(Uncoded(2), "in-process")
    blocks = {i: Block(np.zeros((3, 2)), np.zeros(3)) for i in range(2)}
    bare = InProcessObjective(Uncoded(2), blocks, count_rows)
    penalised = Penalised(bare, scale=0.5, alpha=1.0, n_penalised=2)
    recorder = Recorder(penalised, history)
    for w in ([2.0, -4.0], [0.0, 1.0]):
        seen = recorder(np.array(w))
        assert seen.record is history[-1]
        assert seen.record.value == seen.value
    # half of six rows and half of w . w; half of twice w and w
    assert history.columns["value"] == [3.0 + 10.0, 3.0 + 0.5]
    assert history.columns["grad_norm"] == [8.0, 2.0]
    assert history.columns["round"] == [0, 1]


def test_a_late_arrival_reaches_the_recorded_round() -> None:
    history = History(CODE, "tasks")
    original = record(0, [0.1, BLANK, 0.1, BLANK])
    Recorder(lambda w: Evaluation(1.0, w, original), history)(np.ones(1))
    original.answers.append(Answer(1, 0, 9.0))
    assert history[0].arrived_at[1] == 9.0


def test_an_evaluation_without_a_record_is_passed_on_unrecorded() -> None:
    history = History(CODE, "in-process")
    seen = Evaluation(1.0, np.ones(2))

    def objective(w: Vector) -> Evaluation:
        return seen

    assert Recorder(objective, history)(np.ones(2)) is seen
    assert len(history) == 0


def test_who_was_lost_before_it_was_expelled_is_told_of_both() -> None:
    seen = [Change(1, 2, "lost", 0.0), Change(2, 2, "restored", 0.0), Change(6, 2, "lost", 0.0)]
    told = merged(seen, [Discovery(5, 2, "expelled")])
    told_of = [(one.round, one.what) for one in told]
    assert told_of == [(1, "lost"), (2, "restored"), (5, "expelled")]


def test_who_is_expelled_is_not_told_of_as_lost_and_restored_after_that() -> None:
    seen = [
        Change(3, 0, "expelled", 0.0),
        Change(4, 0, "lost", 0.0),
        Change(4, 1, "lost", 0.0),
        Change(6, 0, "restored", 0.0),
    ]
    assert [(one.worker, one.what) for one in merged(seen, [])] == [(0, "expelled"), (1, "lost")]


def test_of_rounds_that_were_taken_back_no_sum_is_called_exact() -> None:
    history = two_rounds()
    history.found = [Discovery(0, None, "taken back", rounds=(0,))]
    assert "1 rounds taken back, every other sum exact" in history.summary()
