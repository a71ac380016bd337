"""The experiment with lossy links: what it finds without a cluster, and what is committed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[2] / "examples/papers"


@pytest.fixture(scope="module")
def cooperative() -> ModuleType:
    sys.path.insert(0, str(HERE))  # as for the script: report is beside it
    try:
        spec = importlib.util.spec_from_file_location("papers_cooperative", HERE / "cooperative.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look there
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
    return module


def test_plain_decoding_stalls_and_any_sums_follow_exact_descent(cooperative: ModuleType) -> None:
    rows, ways = cooperative.descents(40)
    of = {(row["p"], row["scheme"]): row for row in rows}
    assert of[0.4, "plain, s = 7"]["rounds lost"] == 40
    assert ways[0.4, "plain, s = 7"] == [1.0] * 40
    exact = ways[0.4, "no links fail"]
    assert ways[0.4, "any sums, s = 7, up to 8"] == pytest.approx(exact, rel=1e-6)
    n_lost = of[0.4, "any sums, s = 7, 2 transmissions"]["rounds lost"]
    assert 0 < n_lost < 20
    # it is as far as exact descent was so many rounds ago
    assert ways[0.4, "any sums, s = 7, 2 transmissions"][-1] == pytest.approx(
        exact[-1 - n_lost], rel=1e-6
    )
    assert of[0.4, "what comes, scaled up, s = 0"]["distance to the optimum"] > 10 * exact[-1]


def test_drawn_rounds_keep_to_the_formula(cooperative: ModuleType) -> None:
    for row in cooperative.outages([3, 7], 300):
        within = 4 * (row["formula"] * (1 - row["formula"]) / 300) ** 0.5 + 0.01
        assert row["plain"] == pytest.approx(row["formula"], abs=within)
        assert row["plain"] <= row["any, 1 transmission"] <= row["any, 2"] <= row["any, 4"]


def test_the_page_tells_what_is_committed() -> None:
    found = json.loads((HERE / "cooperative.json").read_text())
    page = (HERE.parent / "guide/cooperative.md").read_text()
    rates, _, real = (rows for name, rows in found.items() if name != "about")
    for row in rates:
        if (row["p"], row["s"]) in {(0.1, 3), (0.1, 7), (0.4, 3), (0.4, 7)}:
            told = [f"{row[name]:.3f}" for name in ("formula", "plain", "any, 2", "any, 4")]
            assert f"| {row['p']} | {row['s']} | {' | '.join(told)} |" in page
    for row in real:
        assert row["as drawn"] in (None, row["exact rounds"])
        assert f"| {row['exact rounds']} of {row['of']} | {row['ms a round']:.0f} |" in page
