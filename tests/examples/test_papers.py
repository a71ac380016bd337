"""The experiments of papers: what they compute without a cluster, and what they have written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = ROOT / "examples" / "papers"


@pytest.fixture(scope="module")
def experiments() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(HERE))
    try:
        yield {
            name: import_module(name) for name in ("agc", "nearly_whole", "sliced_graph", "report")
        }
    finally:
        sys.path.remove(str(HERE))


def test_of_slices_workers_send_just_their_part(experiments: dict[str, Any]) -> None:
    for row in experiments["agc"].simulated(r=3, n_rounds=6, n=12):
        part = str(Fraction(1, 3 - row["s'"]))
        assert (row["least sent"], row["most sent"]) == (part, part)


def test_by_optimal_decoding_only_what_nobody_has_sent_is_missed(
    experiments: dict[str, Any],
) -> None:
    row, *_ = experiments["nearly_whole"].random_stragglers(400)
    assert row["replicas, d"] == 3
    assert row["graph"] == pytest.approx(row["nobody answers, p^d"], rel=0.4)
    fixed = row["fixed weights, p / (d (1 - p))"]
    assert row["graph, fixed weights"] == pytest.approx(fixed, rel=0.05)


def test_the_worst_stragglers_take_half_of_what_they_take_of_groups(
    experiments: dict[str, Any],
) -> None:
    for row in experiments["nearly_whole"].worst_stragglers():
        assert 0.5 <= row["ratio"] + 1e-12 < 1.0
        assert row["groups"] == pytest.approx(row["silent"] / 60)


def test_what_graphs_miss_is_what_was_published(experiments: dict[str, Any]) -> None:
    rows = list(experiments["sliced_graph"].bipartite(20))
    random = [row for row in rows if row["published, of 40"] is not None]
    assert [row["published, of 40"] for row in random] == [0.0, 0.2, 1.5]
    for row in random:
        assert row["graph, of 40"] == pytest.approx(row["published, of 40"], abs=0.25)
        assert row["groups, of 42"] <= row["graph, of 40"] + 1e-9
    for row in rows[len(random) :]:
        assert row["groups, of 42"] > row["the worst of these"]


def test_tables_are_printed_and_kept(experiments: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"code": "a", "error": 0.123456}, {"code": "b", "error": None}]
    experiments["report"].write(tmp_path, "found", {"Errors": rows})
    assert json.loads((tmp_path / "found.json").read_text())["Errors"] == rows
    assert "| a    | 0.1235 |" in experiments["report"].table(rows)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("agc --rounds 1", "argument --rounds: must be 2 or more, got 1"),
        ("agc --size 2e6", "argument --size: invalid whole_number value: '2e6'"),
        ("agc --rate 0", "argument --rate: invalid rate value: '0'"),
        ("sliced_graph --sets 0", "argument --sets: must be 10 or more, got 0"),
        ("nearly_whole --sets x", "argument --sets: invalid whole_number value: 'x'"),
    ],
)
def test_options_that_make_no_experiment_are_refused_before_it_begins(
    experiments: dict[str, Any],
    options: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *given = options.split()
    monkeypatch.setattr(sys, "argv", [name, *given])
    with pytest.raises(SystemExit):
        experiments[name].main()
    assert text in capsys.readouterr().err


def test_the_guide_tells_what_was_measured() -> None:
    kept = json.loads((HERE / "agc.json").read_text())["12 processes"]
    page = (ROOT / "examples" / "guide" / "slices.md").read_text()
    told = re.findall(
        r"^\|.*\| (\d\.\d\d) s \| (\d\.\d\d) s \| (\d\.\d\d) s \|$", page, re.MULTILINE
    )
    columns = "bound at that rate (s)", "round (s)", "round, links not slow (s)"
    assert told == [tuple(f"{row[name]:.2f}" for name in columns) for row in kept]


def test_the_guide_tells_what_graphs_and_designs_miss() -> None:
    kept = json.loads((HERE / "sliced_graph.json").read_text())
    page = (ROOT / "examples" / "guide" / "sliced_graph.md").read_text()
    for row in kept["Designs"]:
        figures = [row[name] for name in ("published", "measured", "published bound", "our bound")]
        cells = ["" if one is None else f"{one:.1f}" for one in figures]
        assert " | ".join([f"| {row['silent']}", *cells]).replace("  ", " ") in page
    random, worst = kept["Bipartite graphs"][:3], kept["Bipartite graphs"][3:]
    for row in random[1:]:
        assert f"| {row['published, of 40']} | {row['graph, of 40']:.2f} |" in page
        groups = f"{row['groups, of 42']:.2f}".replace("0.00", "0")
        assert f"random | {row['graph, of 40']:.2f} | {groups} |" in page
    for row in worst:
        assert f"| {row['the worst of these']:.1f} | {row['groups, of 42']:.0f} |" in page
    for row in kept["Fits on eight processes"]:
        assert f"| {row['mean error']:.2f} | {row['distance']:.3f} |" in page


def test_the_guide_tells_what_nearly_whole_sums_miss() -> None:
    kept = json.loads((HERE / "nearly_whole.json").read_text())
    page = (ROOT / "examples" / "guide" / "approximate.md").read_text()
    random, worst, descents, fits = (kept[name] for name in kept if name != "about")
    told = [
        *(
            "| {} | {:.5f} | {:.5f} | {:.5f} | {:.4f} | {:.4f} |".format(*row.values())
            for row in random
        ),
        *("| {} | {:.3f} | {:.2f} | {:.2f} |".format(*row.values()) for row in worst),
        *(
            f"| {row['time of a round']:.2f} s | {row['time until the distance is 0.05']:.1f} s "
            f"| {row['distance at the end']:.0e} |".replace("e-0", "e-")
            for row in descents
        ),
        *(f"| {row['mean error']:.2f} | {row['distance']:.3f} |" for row in fits),
    ]
    for words in told:
        assert words in page
