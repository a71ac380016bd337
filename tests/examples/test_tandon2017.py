"""The paper's experiment: what its committed results say, and what is drawn from them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest

mpl.use("Agg")

HERE = Path(__file__).parents[2] / "examples/tandon2017"
KEYS = {
    "figure",
    "scheme",
    "n_workers",
    "n_stragglers",
    "delay_seconds",
    "seconds_per_iteration",
    "auc",
    "seconds",
    "simulated",
}
SCHEMES = {
    "naive",
    "ignore-stragglers",
    "fractional",
    "cyclic",
    "partial-fractional",
    "partial-cyclic",
    "declustered (ours)",
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that loads one of the experiment's scripts."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    monkeypatch.delitem(sys.modules, "common", raising=False)

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"tandon2017_{name}", HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("common", None)


def rows(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / file).read_text())
    return found


def test_the_committed_results_are_complete() -> None:
    results = rows("results.json")
    assert {frozenset(row) for row in results} == {frozenset(KEYS)}
    sizes = {
        figure: {(r["n_workers"], r["n_stragglers"]) for r in results if r["figure"] == figure}
        for figure in ("delay", "tail", "auc")
    }
    assert sizes["delay"] == {(12, 1), (12, 2)}
    assert sizes["tail"] == {(10, 1), (15, 2), (20, 3), (100, 3), (1000, 3)}
    assert sizes["auc"] == {(10, 1)}
    for figure, found in sizes.items():
        for size in found:
            present = {
                row["scheme"]
                for row in results
                if row["figure"] == figure and (row["n_workers"], row["n_stragglers"]) == size
            }
            assert present == SCHEMES  # s + 1 divides n in all of them
    assert {r["n_workers"] for r in results if r["simulated"]} == {100, 1000}


def test_the_committed_results_show_what_they_must(script: Any) -> None:
    check = script("check")
    found = list(check.facts(rows("results.json"), rows("coefficients.json")))
    assert [text for holds, text in found if not holds] == []
    assert len(found) > 40


def test_results_that_do_not_show_it_are_found_out(script: Any) -> None:
    check = script("check")
    results, differences = rows("results.json"), rows("coefficients.json")
    for row in results:
        if row["scheme"] == "cyclic" and row["figure"] == "delay" and row["delay_seconds"]:
            row["seconds_per_iteration"] *= 3
    differences[0]["relative_difference"] = 1e-3
    fails = [text for holds, text in check.facts(results, differences) if not holds]
    assert len(fails) == 3


@pytest.mark.parametrize("figure", ["delay", "tail", "auc"])
def test_results_without_a_figure_are_found_out(script: Any, figure: str) -> None:
    check = script("check")
    results, differences = rows("results.json"), rows("coefficients.json")
    some = [[row for row in of if row["figure"] != figure] for of in (results, differences)]
    for pair in ((some[0], differences), (results, some[1])):
        fails = [text for holds, text in check.facts(*pair) if not holds]
        assert fails
        assert all(text.startswith(f"was not run: {figure}") for text in fails)


def test_without_data_and_internet_it_says_what_to_do(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce = script("reproduce")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "--quick", "--out", str(tmp_path / "out")])
    with pytest.warns(UserWarning, match="network error"), pytest.raises(SystemExit):
        reproduce.main()
    said = capsys.readouterr().err
    assert "could not be fetched from OpenML" in said
    assert "with --data" in said
    assert not (tmp_path / "out").exists()


def test_every_axis_is_labelled(script: Any) -> None:
    plot, results = script("plot"), rows("results.json")
    for draw in (plot.delay, plot.tail, plot.auc):
        figure = draw([row for row in results if row["figure"] == draw.__name__])
        texts = [axes.get_ylabel() + axes.get_title() for axes in figure.axes]
        assert all(texts)
        assert any("(s)" in axes.get_ylabel() + axes.get_xlabel() for axes in figure.axes)


def test_rows_of_another_figure_stay_when_one_is_measured_again(
    script: Any, tmp_path: Path
) -> None:
    merge, path = script("common").merge, tmp_path / "rows.json"
    old = [{"figure": "tail", "n_workers": n, "at": 0} for n in (10, 15)]
    merge(path, [*old, {"figure": "auc", "n_workers": 10, "at": 0}])
    merge(path, [{"figure": "tail", "n_workers": 10, "at": 1}])
    found = {(r["figure"], r["n_workers"]): r["at"] for r in json.loads(path.read_text())}
    assert found == {("tail", 10): 1, ("tail", 15): 0, ("auc", 10): 0}
