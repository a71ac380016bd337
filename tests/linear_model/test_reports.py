"""What a fit says while it runs: one line an iteration, or a bar."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import pytest
import rich
from rich.console import Console

from dask_gradcode import CodedLogisticRegression, CodedRidge
from dask_gradcode.history import History
from dask_gradcode.linear_model.report import reporter
from dask_gradcode.optimizers import LBFGS, Solution
from dask_gradcode.typing import Evaluation, Objective, Vector
from helpers import logistic_data
from histories import BLANK, CODE, record

X, Y = logistic_data()
W = np.zeros(2)


def said(history: History, capsys: pytest.CaptureFixture[str], n: int = 1) -> list[str]:
    """Return the lines of iterations that consist of the first ``n`` rounds, then one each."""
    shown = History(CODE, "tasks", history.records[:n])
    with reporter(True, "Name", shown, 9) as say:
        assert say is not None
        say(1, W, Evaluation(0.0, W))
        for i, one in enumerate(history.records[n:]):
            shown.records.append(one)
            say(2 + i, W, Evaluation(0.0, W))
    return capsys.readouterr().out.splitlines()


def test_a_line_says_value_gradient_seconds_and_who_was_used_late_or_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = [
        record(0, [0.1, 0.2, 0.1, 0.3]),
        record(1, [0.1, BLANK, 0.1, BLANK], late=(1,), lost=(3,)),
        record(2, [0.1, BLANK, 0.1, BLANK], late=(1, 2, 3)),
    ]
    first, second, third = said(History(CODE, "tasks", rounds), capsys)
    assert first == (
        "[Name] iteration 1: value 10, max |gradient| 5.00e-01, 0.250 s, 4 of 4 workers used"
    )
    assert second == (
        "[Name] iteration 2: value 9, max |gradient| 5.00e-01, 0.500 s, 2 of 4 workers used, "
        "late [1], lost [3]"
    )
    assert third.endswith("2 of 4 workers used, late [1-3]")


def test_a_line_says_who_is_not_placed_yet_and_when_all_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = [record(i, [0.1, 0.1, 0.1, BLANK], unplaced=(3,)) for i in range(2)]
    rounds = [*waiting, record(2, [0.1] * 4), record(3, [0.1] * 4)]
    first, second, third, fourth = said(History(CODE, "tasks", rounds), capsys)
    assert first.endswith(" used, not placed yet [3]")
    assert second.endswith(" used, not placed yet [3]")
    assert third.endswith(" used, all workers are placed now")
    assert fourth.endswith(" used")


def test_who_was_only_not_needed_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [record(0, [0.1, BLANK, 0.1, BLANK], not_needed=(1, 3), spared=(3,))]
    (line,) = said(History(CODE, "tasks", rounds), capsys)
    assert line.endswith(", 2 of 4 workers used")


def test_all_rounds_of_a_line_search_count(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [record(0, [0.1] * 4), record(1, [0.1] * 4)]
    (line,) = said(History(CODE, "tasks", rounds), capsys, n=2)
    assert "value 9, " in line
    assert "0.750 s in 2 rounds, " in line


def test_many_late_workers_are_counted_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [record(0, [0.1] * 4, late=tuple(range(9)))]
    (line,) = said(History(CODE, "tasks", rounds), capsys)
    assert line.endswith(", late 9 workers")


@pytest.mark.parametrize("verbose", [1, True])
def test_a_fit_prints_a_line_an_iteration(verbose: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = CodedLogisticRegression(verbose=verbose, tol=1e-8).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    numbers = [int(re.findall(r"iteration (\d+): value ", line)[0]) for line in lines]
    assert numbers == [*range(1, model.n_iter_[0] + 1)]
    assert f"value {model.history_[-1].value:.8g}, " in lines[-1]
    assert all("1 of 1 workers used" in line for line in lines)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What rich writes to a terminal of 80 columns."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(rich, "_console", console)
    return written


def test_a_bar_ends_full_at_the_number_of_iterations(terminal: io.StringIO) -> None:
    model = CodedLogisticRegression(verbose="bar", tol=1e-8).fit(X, Y)
    *_, last, _ = terminal.getvalue().splitlines()  # then the cursor is shown again
    assert f"{model.n_iter_[0]}/{model.n_iter_[0]}" in last
    assert f"value {model.history_[-1].value:.6g}, |g| " in last


def test_a_bar_of_80_columns_shows_everything(terminal: io.StringIO) -> None:
    history = History(CODE, "tasks", [record(0, [0.1] * 4, value=0.123456, late=(1,), lost=(3,))])
    with reporter("bar", "Name", history, 1000) as draw:
        assert draw is not None
        draw(999, W, Evaluation(0.0, W))
    assert "value 0.123456, |g| 5.0e-01, 1 late, 1 lost" in terminal.getvalue()


class Failing(LBFGS):
    """Fails in the third round."""

    def minimize(self, objective: Objective, w0: Vector, **options: Any) -> Solution:
        rounds = iter(range(2))

        def fails(w: Vector) -> Evaluation:
            if next(rounds, None) is None:
                raise KeyboardInterrupt
            return objective(w)

        return super().minimize(fails, w0, **options)


def test_the_cursor_is_back_after_ctrl_c(terminal: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt):
        CodedRidge(verbose="bar", solver=Failing()).fit(X, Y)
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rfind(show) > terminal.getvalue().rfind(hide) >= 0


def test_without_rich_a_bar_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    model = CodedLogisticRegression(verbose="bar")
    with pytest.raises(ImportError, match=r"needs rich.*pip install 'dask-gradcode\[progress\]'"):
        model.fit(X, Y)
    assert not hasattr(model, "history_")


def test_without_widgets_a_bar_in_a_notebook_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich, "_console", Console(force_jupyter=True))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(
        ImportError, match=r"and ipywidgets in a notebook: pip install '.*progress\]'"
    ):
        CodedLogisticRegression(verbose="bar").fit(X, Y)


def test_anything_else_is_refused_in_scikit_learns_words() -> None:
    expected = (
        r"The 'verbose' parameter of CodedLogisticRegression must be .*or a str among \{'bar'\}\. "
        "Got 'all' instead."
    )
    with pytest.raises(ValueError, match=expected):
        CodedLogisticRegression(verbose="all").fit(X, Y)
