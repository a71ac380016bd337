from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import (
    CooperativeRepetition,
    CyclicRepetition,
    FractionalRepetition,
    PartialStragglers,
    Uncoded,
)
from dask_gradcode.history import History
from dask_gradcode.rounds import Everybody
from dask_gradcode.simulation import choose, recorded, simulate
from dask_gradcode.stragglers import (
    ExponentialDelay,
    FixedDelay,
    NeverAnswers,
    ParetoDelay,
    StragglerModel,
    TraceDelay,
)
from helpers import OwnThenNext

mpl.use("Agg")

MODEL = ParetoDelay(1.5, 0.1)


def test_candidates_are_ranked_by_what_simulating_each_says() -> None:
    choice = choose(MODEL, [6, 7], work=0.5, max_stragglers=2, data_bytes=8e9, n_rounds=50)
    seconds = choice.columns["seconds"]
    assert seconds == sorted(seconds)
    for c in choice.candidates:
        alone = simulate(c.code, MODEL, n_rounds=50, work=0.5).columns["seconds"]
        assert c.seconds == np.mean(alone)
        assert (c.load, c.memory) == (c.code.load, 8e9 * c.code.load)
    assert choice.best == choice.candidates[0].code
    kinds = zip(*(choice.columns[k] for k in ("code", "n_workers", "n_stragglers")), strict=True)
    of_7 = [("uncoded", 0), ("cyclic", 1), ("partial-cyclic", 1), ("cyclic", 2)]
    of_7 += [("partial-cyclic", 2), ("declustered", 1), ("declustered", 2)]
    of_6 = of_7 + [(f"{part}fractional", s) for part in ("", "partial-") for s in (1, 2)]
    expected = [(kind, n, s) for n, found in ((6, of_6), (7, of_7)) for kind, s in found]
    assert sorted(kinds) == sorted(expected)


def test_a_code_whose_rounds_never_end_comes_last() -> None:
    choice = choose(NeverAnswers(workers=[0]), 4, work=1.0, max_stragglers=1, n_rounds=3)
    finite = [c.family for c in choice.candidates if np.isfinite(c.seconds)]
    assert finite == ["declustered", "fractional", "cyclic"]
    assert {c.seconds for c in choice.candidates[3:]} == {np.inf}


def test_the_table_and_the_plot_show_all_of_it() -> None:
    choice = choose(MODEL, 6, work=0.5, max_stragglers=1, data_bytes=2**30, n_rounds=10)
    assert len(repr(choice).splitlines()) == 1 + len(choice.candidates)
    assert "256.0 MiB" not in repr(choose(MODEL, 4, work=0.5, n_rounds=2))
    assert choice.to_frame().equals(pd.DataFrame(choice.columns))
    assert choice.to_frame().shape == (len(choice.candidates), 6)
    axes = choice.plot()
    assert axes.get_xlabel() == "data on one worker (%)"
    assert axes.get_ylabel() == "mean time of a round (s)"
    drawn = sorted(y for line in axes.lines for y in line.get_ydata())
    assert drawn == choice.columns["seconds"]


def test_memory_has_a_unit_that_can_be_read() -> None:
    lines = repr(choose(MODEL, 8, work=0.5, data_bytes=40 * 2**30, n_rounds=2)).splitlines()
    assert {line.split()[-1] for line in lines[1:]} == {"GiB"}
    (uncoded,) = [line for line in lines if line.startswith("uncoded")]
    assert uncoded.endswith(" 5.0 GiB")


def test_the_card_is_the_table() -> None:
    choice = choose(MODEL, [4, 5, 6, 8], work=0.5, data_bytes=2**30, n_rounds=2)
    card = ElementTree.fromstring(choice._repr_html_())
    (body,) = card.iter("tbody")
    rows = [["".join(cell.itertext()) for cell in row] for row in body]
    table = [re.split(r"\s{2,}", line.strip()) for line in repr(choice).splitlines()[1:]]
    assert rows == table[: len(rows)]
    assert f"{len(table) - len(rows)} slower ones are left out" in "".join(card.itertext())


def test_labels_in_the_plot_do_not_hide_one_another() -> None:
    choice = choose(MODEL, range(4, 25), work=0.5, max_stragglers=2, n_rounds=5)
    axes = choice.plot()
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) > 5
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_in_the_plot_those_are_labelled_that_no_other_beats() -> None:
    choice = choose(MODEL, [6, 8], work=0.5, max_stragglers=2, n_rounds=10)
    best = [
        c
        for c in choice.candidates
        if not any(o.seconds <= c.seconds and o.load < c.load for o in choice.candidates)
        and not any(o.seconds < c.seconds and o.load <= c.load for o in choice.candidates)
    ]
    assert len(best) < len(choice.candidates)
    labels = [text.get_text() for text in choice.plot().texts]
    assert labels == [f"{c.code.n_workers}, {c.n_stragglers}" for c in best]


def test_numbers_of_workers_may_be_numpys() -> None:
    for n_workers in (np.int64(4), np.array([4, 6]), range(4, 5), iter([4])):
        choice = choose(MODEL, n_workers, work=0.5, max_stragglers=1, n_rounds=2)  # type: ignore[arg-type]
        assert choice.best.n_workers in (4, 6)


@pytest.mark.parametrize("code", [Uncoded(4), FractionalRepetition(4, 1)], ids=repr)
def test_from_a_history_the_simulator_makes_the_same_history(code: Any) -> None:
    past = simulate(code, FixedDelay(3.0, workers=[1]), work=0.7, n_rounds=40)
    delays, work = recorded(past)
    assert work == pytest.approx(0.7)
    again = simulate(code, delays, work=work, n_rounds=40)
    assert_allclose(again.columns["seconds"], past.columns["seconds"])
    choice = choose(past, 4, max_stragglers=1, n_rounds=40)
    mine = next(c for c in choice.candidates if c.code == code)
    assert mine.seconds == pytest.approx(np.mean(past.columns["seconds"]))


@given(data=st.data())
def test_an_uncoded_history_tells_every_delay(data: st.DataObject) -> None:
    row = st.lists(st.floats(0.0, 9.0), min_size=3, max_size=3)
    table = np.array(data.draw(st.lists(row, min_size=1, max_size=8)))
    table[:, 0] = 0.0  # somebody is in time
    delays, work = recorded(simulate(Uncoded(3), TraceDelay(table), work=0.6, n_rounds=len(table)))
    assert work == pytest.approx(0.6)
    for number, expected in enumerate(table):
        assert_allclose(delays.delays(number, 3), expected, atol=1e-9)


def test_who_did_not_answer_for_some_rounds_was_busy_all_that_time() -> None:
    trace = TraceDelay([[0.0, 0.0, 2.5, 0.0], *[[0.0] * 4] * 9])
    code, plan = FractionalRepetition(4, 1), Everybody()
    delays, _ = recorded(simulate(code, trace, plan=plan, work=2.0, n_rounds=10))
    # back after 2.5 s, too late for the round from 2 to 3
    assert delays.delays(0, 4)[2] == pytest.approx(3.0)
    assert delays.delays(1, 4)[2] == 0.0


def test_rounds_in_which_a_worker_was_spared_say_nothing_of_it() -> None:
    silent = NeverAnswers(workers=[3])
    past = simulate(FractionalRepetition(4, 1), silent, plan=Everybody(), n_rounds=4)
    spared = [replace(r, late=(), spared=(3,)) if r.round != 2 else r for r in past]
    delays, _ = recorded(History(past.code, "stream", spared))
    assert [delays.delays(number, 4)[3] for number in range(4)] == [0.0, 0.0, np.inf, 0.0]


def test_who_never_answered_never_will() -> None:
    silent = NeverAnswers(workers=[3])
    past = simulate(FractionalRepetition(4, 1), silent, plan=Everybody(), n_rounds=5)
    delays, _ = recorded(past)
    assert delays.delays(2, 4).tolist() == [0.0, 0.0, 0.0, np.inf]


def test_more_workers_than_a_history_had_are_late_as_those_were() -> None:
    past = simulate(Uncoded(2), ExponentialDelay(1.0), work=0.2, n_rounds=6)
    narrow, wide = recorded(past)[0], recorded(past, 5)[0]
    table = np.array([narrow.delays(number, 2) for number in range(6)])
    found = np.array([wide.delays(number, 5) for number in range(6)])
    assert_allclose(found[:, :2], table)
    assert_allclose(found[:, 2:4], np.roll(table, 2, axis=0))
    assert_allclose(found[:, 4], np.roll(table[:, 0], 4))
    assert {c.code.n_workers for c in choose(past, [2, 5], max_stragglers=1).candidates} == {2, 5}


def test_the_share_of_a_partial_codes_first_message_counts() -> None:
    code = PartialStragglers(FractionalRepetition(4, 1), 2)
    _, work = recorded(simulate(code, FixedDelay(0.0), work=3.0, n_rounds=5))
    assert work == pytest.approx(3.0)


BAD: list[tuple[type[Exception], Callable[[], object], str]] = [
    (
        ValueError,
        lambda: choose(MODEL, 4, work=1.0, codes=[CooperativeRepetition(4, 1)]),
        r"takes as long as one of Uncoded\(4\)",
    ),
    (ValueError, lambda: choose(MODEL, 4), "With a straggler model choose needs work"),
    (ValueError, lambda: choose(MODEL, [], work=1.0), "names no number of workers"),
    (ValueError, lambda: choose(MODEL, 0, work=1.0), "'n_workers' of Uncoded"),
    (ValueError, lambda: choose(MODEL, 4, work=1.0, max_stragglers=-1), "max_stragglers must be"),
    (ValueError, lambda: choose(MODEL, 4, work=1.0, max_stragglers=1.5), "int >= 0, got 1.5"),  # type: ignore[arg-type]
    (ValueError, lambda: choose(MODEL, 4.0, work=1.0), "'n_workers' of Uncoded"),  # type: ignore[arg-type]
    (ValueError, lambda: choose(MODEL, 4, work=-1.0), "work must be seconds > 0"),
    (ValueError, lambda: choose(History(Uncoded(2), "tasks"), 2), "has no rounds"),
    (ValueError, lambda: choose(TraceDelay([[0.0]]), 4, work=1.0), "no delays for 4 workers"),
    (TypeError, lambda: choose(MODEL, 4, work=1.0, codes=["cyclic"]), "must be GradientCodes"),  # type: ignore[list-item]
    (TypeError, lambda: choose(0.5, 4, work=1.0), "must be a StragglerModel or a History"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("error", "make", "text"), BAD)
def test_what_makes_no_sense_is_refused(
    error: type[Exception], make: Callable[[], object], text: str
) -> None:
    with pytest.raises(error, match=text):
        make()


def test_models_of_ones_own_can_be_chosen_by() -> None:
    class Alternating(StragglerModel):
        def delays(self, round: int, n_workers: int) -> np.ndarray:
            return np.where(np.arange(n_workers) % 2 == round % 2, 1.0, 0.0)

    choice = choose(Alternating(), 4, work=0.1, max_stragglers=1, n_rounds=4)
    assert isinstance(choice.best, FractionalRepetition)


def test_codes_of_ones_own_are_ranked_beside_the_others() -> None:
    own = [OwnThenNext(6), CyclicRepetition(5, 1, seed=7)]
    past = simulate(Uncoded(4), MODEL, work=0.5, n_rounds=20)
    for stragglers, work in ((MODEL, 0.5), (past, None)):
        choice = choose(stragglers, 4, work=work, max_stragglers=1, n_rounds=5, codes=own)
        found = {c.code: (c.family, c.n_stragglers) for c in choice.candidates}
        assert found[own[0]] == ("OwnThenNext", 0)
        assert found[own[1]] == ("cyclic", 1)
        assert len(repr(choice).splitlines()) == 1 + 6 + 2
