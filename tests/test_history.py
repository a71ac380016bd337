"""What a fit remembers of its rounds: as columns, as a frame, as a picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from dask_gradcode.codes import FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.history import History, Recorder
from dask_gradcode.messages import Block
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.typing import Evaluation, Vector
from helpers import OwnThenNext, count_rows

CODE = FractionalRepetition(4, 1)
BLANK = np.nan


def record(number: int, arrived_at: list[float], **changes: Any) -> RoundRecord:
    seen = np.isfinite(arrived_at)
    facts: dict[str, Any] = {
        "round": number,
        "value": 10.0 - number,
        "grad_norm": 0.5,
        "seconds": 0.25 * (number + 1),
        "arrived_at": np.array(arrived_at),
        "used": seen,
        "late": (),
        "lost": (),
        "residual": 0.0,
        "amplification": 1.0,
        "exact": True,
    }
    return RoundRecord(**(facts | changes))


def two_rounds() -> History:
    first = record(0, [0.25, BLANK, 0.125, BLANK], late=(1, 3))
    second = record(1, [BLANK, 0.5, 0.25, BLANK], late=(0,), lost=(3,), amplification=2.0)
    return History(CODE, "tasks", [first, second])


COLUMNS: dict[str, list[Any]] = {
    "round": [0, 1],
    "seconds": [0.25, 0.5],
    "value": [10.0, 9.0],
    "grad_norm": [0.5, 0.5],
    "n_used": [2, 2],
    "n_late": [2, 1],
    "n_lost": [0, 1],
    "n_restored": [0, 0],
    "residual": [0.0, 0.0],
    "amplification": [1.0, 2.0],
    "exact": [True, True],
}


@pytest.fixture
def agg() -> Iterator[None]:
    """Draw without a screen, and close every figure."""
    with matplotlib.rc_context({"backend": "agg"}):
        plt.switch_backend("agg")
        yield
        plt.close("all")


def test_a_history_is_a_sequence_of_records() -> None:
    history = two_rounds()
    assert len(history) == 2
    assert [*history] == history.records
    assert history[-1] is history.records[1]


def test_columns_are_the_records_as_lists() -> None:
    columns = two_rounds().columns
    assert columns == COLUMNS
    assert [*columns] == [*COLUMNS]


def test_used_messages_are_counted_by_worker() -> None:
    history = History(OwnThenNext(3), "tasks", [record(0, [0.1, 0.1, BLANK, 0.1, BLANK, BLANK])])
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


@pytest.mark.usefixtures("agg")
def test_the_upper_picture_is_the_time_of_each_round() -> None:
    times = two_rounds().plot().axes[0]
    (line,) = times.lines
    assert_array_equal(line.get_xdata(), [0, 1])
    assert_array_equal(line.get_ydata(), [0.25, 0.5])
    assert times.get_ylabel() == "time of a round (s)"
    assert times.get_title() == repr(CODE)


@pytest.mark.usefixtures("agg")
def test_the_lower_picture_is_when_each_message_arrived_and_blank_if_never() -> None:
    figure = two_rounds().plot()
    arrivals, colours = figure.axes[1:]
    (image,) = arrivals.images
    shown = image.get_array()
    assert_array_equal(shown.mask, [[False, True], [True, False], [False, False], [True, True]])
    assert_array_equal(shown.filled(0.0), [[0.25, 0.0], [0.0, 0.5], [0.125, 0.25], [0.0, 0.0]])
    assert image.origin == "lower"
    assert arrivals.get_xlabel() == "round"
    assert arrivals.get_ylabel() == "worker (grey: never arrived)"
    assert colours.get_ylabel() == "arrived after (s)"


@pytest.mark.usefixtures("agg")
def test_blank_is_painted_as_the_grey_behind() -> None:
    figure = two_rounds().plot()
    arrivals = figure.axes[1]
    figure.canvas.draw()
    (image,) = arrivals.images
    assert image.to_rgba(image.get_array())[0, 1, 3] == 0.0
    assert arrivals.get_facecolor() == matplotlib.colors.to_rgba("0.85")


@pytest.mark.usefixtures("agg")
@pytest.mark.parametrize(
    ("code", "workers"),
    [(CODE, ["0", "1", "2", "3"]), (OwnThenNext(2), ["0", "0", "1", "1"])],
    ids=["one message a worker", "two messages a worker"],
)
def test_each_row_is_a_message_that_bears_its_workers_number(
    code: GradientCode, workers: list[str]
) -> None:
    history = History(code, "tasks", [record(0, [0.1, 0.2, 0.3, BLANK])])
    arrivals = history.plot().axes[1]
    assert [label.get_text() for label in arrivals.get_yticklabels()] == workers
    assert_array_equal(arrivals.get_yticks(), range(4))


@pytest.mark.usefixtures("agg")
def test_a_picture_can_be_drawn_into_given_axes() -> None:
    figure, axes = plt.subplots(1, 2)
    assert two_rounds().plot(axes) is figure
    assert len(axes[0].lines) == len(axes[1].images) == 1


@pytest.mark.usefixtures("agg")
def test_a_history_without_rounds_is_an_empty_picture() -> None:
    times, arrivals = History(CODE, "tasks").plot().axes
    assert times.lines[0].get_xdata().size == 0
    assert not arrivals.images


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
    assert two_rounds().columns == COLUMNS


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
    original.arrived_at[1] = 9.0
    assert history[0].arrived_at[1] == 9.0


def test_an_evaluation_without_a_record_is_passed_on_unrecorded() -> None:
    history = History(CODE, "in-process")
    seen = Evaluation(1.0, np.ones(2))

    def objective(w: Vector) -> Evaluation:
        return seen

    assert Recorder(objective, history)(np.ones(2)) is seen
    assert len(history) == 0
