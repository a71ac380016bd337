"""The pictures and the card of a history show what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgba
from numpy.testing import assert_array_equal

from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from dask_gradcode.history import History
from dask_gradcode.history.words import LOST
from dask_gradcode.rounds import Answer, Discovery
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import ParetoDelay, Slowdown
from helpers import OwnThenNext
from histories import BLANK, CODE, record, two_rounds


@pytest.fixture(autouse=True)
def agg() -> Iterator[None]:
    """Draw without a screen, and close every figure."""
    with matplotlib.rc_context({"backend": "agg"}):
        plt.switch_backend("agg")
        yield
        plt.close("all")


def points(ax: Axes, label: str) -> list[tuple[float, float]]:
    """Return the marks that the legend calls so."""
    shown = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    legend = {
        t.get_text(): h for t, h in zip(ax.get_legend().get_texts(), handles(ax), strict=True)
    }
    assert {*legend} == {*shown}
    assert all(legend[one].get_color() == line.get_color() for one, line in shown.items())
    return [*zip(*shown[label].get_data(), strict=True)] if label in shown else []


def handles(ax: Axes) -> list[Any]:
    """Return what the legend shows beside its texts."""
    legend = ax.get_legend()
    assert legend is not None
    return legend.legend_handles


def reasons(ax: Axes) -> dict[str, list[tuple[int, int]]]:
    """Return the rounds and workers that have the colour beside each text of the legend."""
    (cells, *_) = ax.images
    colours = cells.to_rgba(cells.get_array())
    found = {}
    for text, patch in zip(ax.get_legend().get_texts(), handles(ax), strict=True):
        same = (colours == np.array(to_rgba(patch.get_facecolor()))).all(axis=2)
        found[text.get_text()] = [tuple(one) for one in np.argwhere(same.T).tolist()]
    return found


def long_history() -> History:
    return simulate(CyclicRepetition(6, 2), ParetoDelay(2.0, 0.1), n_rounds=40)


def test_the_upper_picture_is_the_time_of_each_round() -> None:
    history = two_rounds()
    times, _ = history.plot()
    assert_array_equal(times.lines[0].get_xdata(), [0, 1])
    assert_array_equal(times.lines[0].get_ydata(), history.columns["seconds"])
    assert times.get_ylabel() == "time of a round (s)"
    assert times.get_ylim()[0] == 0
    assert times.figure.get_suptitle() == repr(CODE)


def test_rounds_are_marked_by_whether_somebody_was_late_or_lost() -> None:
    history = two_rounds()  # late in the first, lost in the second
    history.records.append(record(2, [0.1, 0.1, 0.1, 0.1]))
    history.records.append(record(3, [0.1, BLANK, 0.1, BLANK], not_needed=(1, 3), spared=(3,)))
    history.records.append(record(4, [0.1, BLANK, 0.1, BLANK], not_needed=(1,), unplaced=(3,)))
    ax = history.plot_times()
    assert points(ax, "somebody late") == [(0, 0.25)]
    assert points(ax, "somebody lost") == [(1, 0.5)]
    assert points(ax, "all answered") == [(2, 0.75)]
    assert points(ax, "not all needed") == [(3, 1.0)]
    assert points(ax, "not all placed yet") == [(4, 1.25)]
    assert ax.get_xlabel() == "round"


def test_who_was_lost_and_restored_is_written_at_the_round() -> None:
    history = two_rounds()
    history.records.append(record(2, [0.1, 0.1, 0.1, 0.1], restored=(3,)))
    history.records[0] = record(0, [0.1, 0.1, BLANK, 0.1], unplaced=(2,))
    texts = {text.get_text().strip(): text.xy[0] for text in history.plot_times().texts}
    assert texts == {"worker 3 lost": 1, "worker 3 restored": 2, "complete": 2}


def test_who_was_relocated_is_written_at_the_round_and_is_in_the_card() -> None:
    history = two_rounds()
    assert "relocated" not in text(history).replace("restored or relocated", "")
    history.records.append(record(2, [0.1, 0.1, 0.1, 0.1], restored=(3,), relocated=(0,)))
    texts = history.plot_times().texts
    assert {t.get_text().strip(): t.xy[0] for t in texts}["worker 0 relocated"] == 2
    assert len({t.get_color() for t in texts}) == 3
    rows = ElementTree.fromstring(history._repr_html_()).iter("tbody")
    assert "".join([*next(rows)][-1].itertext()) == "20relocated0.25 s"
    assert text(history).count("relocated") == 3  # how many, and the table


def test_rounds_that_were_taken_back_are_shaded_and_who_has_lied_is_red() -> None:
    history = two_rounds()
    history.found = [
        Discovery(1, 2, "expelled", rounds=(0,)),
        Discovery(1, None, "taken back", rounds=(0, 1), seconds=0.75),
    ]
    ax = history.plot_times()
    [span] = ax.patches
    assert (span.get_x(), span.get_width()) == (-0.5, 2.0)
    words = {t.get_text().strip(): t.get_color() for t in ax.texts if "lost" not in t.get_text()}
    assert words == dict.fromkeys(("worker 2 expelled", "taken back"), LOST.colour)


def test_the_lower_picture_is_when_each_worker_answered_or_why_it_never_did() -> None:
    history = long_history()
    _, arrivals = axes = history.plot()
    cells, image = arrivals.images
    assert_array_equal(image.get_array().filled(np.nan), history.arrivals.T)
    assert_array_equal(cells.get_array().mask, ~np.isnan(history.arrivals.T))
    assert np.isnan(history.arrivals).any()
    assert image.origin == "lower"
    assert isinstance(image.norm, LogNorm)
    assert image.to_rgba(image.get_array())[np.isnan(history.arrivals.T)][:, 3].max() == 0.0
    assert arrivals.get_xlabel() == "round"
    assert arrivals.get_ylabel() == "worker"
    (colours,) = set(axes[0].figure.axes) - set(axes)
    assert colours.get_ylabel() == "last message arrived after (s)"


@pytest.mark.parametrize("n_more", [0, 500])
def test_who_never_answered_has_the_colour_of_the_reason(n_more: int) -> None:
    history = two_rounds()
    idle = {"not_needed": (3,), "spared": (3,)}
    history.records.append(record(2, [0.1, BLANK, 0.1, BLANK], unplaced=(1,), **idle))
    history.records.append(record(3, [0.1, 9.0, 0.1, 0.1], late=(1,)))  # it came, much later
    history.records += [record(4 + i, [0.1] * 4) for i in range(n_more)]
    assert reasons(history.plot_arrivals()) == {
        "late": [(0, 1), (1, 0)],
        "lost": [(1, 3)],
        "not needed": [(0, 3)],
        "not asked": [(2, 3)],
        "not placed yet": [(2, 1)],
    }


def test_triangles_mark_who_was_helped_and_who_helped() -> None:
    slow = Slowdown(20.0, workers=[1])
    history = simulate(DeclusteredRepetition(6, 1), slow, n_rounds=4)
    ax = history.plot_arrivals()
    marks = {line.get_label(): {*zip(*line.get_data(), strict=True)} for line in ax.lines}
    assert marks == {
        "was helped": {(move.round, move.owner) for move in history.moves},
        "helped": {(move.round, move.worker) for move in history.moves},
    }
    assert {worker for _, worker in marks["was helped"]} == {1}
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown[-2:] == ["helped", "was helped"]


def test_two_messages_a_worker_are_one_row() -> None:
    answers = [Answer(0, 0, 0.1), Answer(0, 1, 0.2), Answer(1, 2, 0.3)]
    history = History(OwnThenNext(2), "tasks", [record(0, [BLANK] * 2, answers=answers)])
    (image,) = history.plot_arrivals().images
    assert_array_equal(image.get_array(), [[0.2], [0.3]])


def test_a_picture_of_many_workers_can_be_drawn_and_read() -> None:
    history = simulate(FractionalRepetition(300, 9), ParetoDelay(2.0, 0.1), n_rounds=20)
    times, arrivals = history.plot()
    times.figure.canvas.draw()
    assert len(arrivals.get_yticklabels()) <= 14
    assert not arrivals.lines


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.05), (0.02, 1.1), (1e-4, 900.0)])
def test_the_scale_of_colours_has_ticks_in_plain_numbers(low: float, high: float) -> None:
    history = History(CODE, "tasks", [record(0, [low, high, BLANK, BLANK])])
    ax = history.plot_arrivals()
    ax.figure.canvas.draw()
    (colours,) = set(ax.figure.axes) - {ax}
    labels = [text.get_text() for text in colours.get_yticklabels()]
    assert 2 <= len(labels) <= 12
    assert all(low <= float(label) <= high for label in labels)


def test_pictures_can_be_drawn_into_given_axes() -> None:
    figure, axes = plt.subplots(1, 2)
    drawn = two_rounds().plot(axes)
    assert [*drawn] == [*axes]
    assert len(axes[1].images) == 2  # answers, and why there are none
    assert len(figure.axes) == 3  # and the scale of colours
    figure, ax = plt.subplots()
    assert two_rounds().plot_times(ax) is ax
    with pytest.raises(ValueError, match=r"needs two axes, got 1\. plot_times\(ax\) and"):
        two_rounds().plot(ax)


def test_a_history_without_rounds_is_an_empty_picture() -> None:
    times, arrivals = History(CODE, "tasks").plot()
    times.figure.canvas.draw()
    assert times.lines[0].get_xdata().size == 0
    assert not arrivals.images


# ---------------------------------------------------------------- the card


def bars(history: History) -> list[ElementTree.Element]:
    card = ElementTree.fromstring(history._repr_html_())
    return [rect for rect in card.iter("rect") if rect.get("class") == "bar"]


def text(history: History) -> str:
    return " ".join(ElementTree.fromstring(history._repr_html_()).itertext())


def test_bars_are_the_times_of_rounds() -> None:
    history = long_history()
    heights = np.array([float(bar.get("height", "")) for bar in bars(history)])
    seconds = np.array(history.columns["seconds"])
    np.testing.assert_allclose(heights / heights.max(), seconds / seconds.max(), atol=0.01)


def test_beyond_120_rounds_a_bar_is_the_longest_of_several() -> None:
    history = History(CODE, "tasks", [record(i, [0.1] * 4, seconds=i % 7) for i in range(500)])
    drawn = bars(history)
    assert len(drawn) == 120
    assert drawn[0][0].text == "longest of rounds 0 to 4: 4 s (all answered)"


def test_the_legend_of_the_card_has_the_colours_of_its_bars() -> None:
    history = two_rounds()
    history.records.append(record(2, [0.1, BLANK, 0.1, BLANK], not_needed=(1, 3)))
    history.records.append(record(3, [0.1, BLANK, 0.1, BLANK], unplaced=(1,)))
    card = ElementTree.fromstring(history._repr_html_())
    squares = [span for span in card.iter("span") if "color:" in span.get("style", "")]
    legend = {span.get("style", "")[7:]: (span.tail or "").strip("\u00a0 ") for span in squares}
    told = [bar[0].text.split("(")[1][:-1] for bar in bars(history)]  # type: ignore[union-attr]
    assert told == ["somebody late", "somebody lost", "not all needed", "not all placed yet"]
    assert [legend[bar.get("fill", "")] for bar in bars(history)] == told
    assert len(legend) == 4
    assert "not all placed yet" in text(history)


def test_the_card_says_what_it_cost_and_who_was_lost() -> None:
    history = two_rounds()
    history.records.append(record(2, [0.1, 0.1, 0.1, 0.1], restored=(3,), exact=False))
    found = text(history)
    for fact in ("1.5 s", "median 0.5 s, longest 0.75 s", "1 (1 restored)", "1 approximate"):
        assert fact in found
    rows = ElementTree.fromstring(history._repr_html_()).iter("tbody")
    table = [["".join(cell.itertext()) for cell in row] for row in next(rows)]
    assert table == [["1", "3", "lost", "0 s"], ["2", "3", "restored", "0.25 s"]]
    fills = [bar.get("fill") for bar in bars(history)]
    assert len(set(fills)) == 3  # late, lost, neither


@pytest.mark.parametrize("history", [History(CODE, "tasks"), History(CODE, "<b>&")])
def test_a_card_of_no_rounds_and_of_any_name_is_sound(history: Any) -> None:
    assert history.transport in text(history)
