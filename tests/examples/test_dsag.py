"""The experiment with older sums: what it measures on virtual time, and what is committed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[2] / "examples/papers"


@pytest.fixture(scope="module")
def dsag() -> ModuleType:
    spec = importlib.util.spec_from_file_location("papers_dsag", HERE / "dsag.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    sys.path.insert(0, str(HERE))  # for what the experiments share
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
    return module


def test_older_sums_keep_the_rate_of_exact_rounds_which_take_longer(dsag: ModuleType) -> None:
    problem = dsag.Problem.drawn(20, 30, 8, condition=50)
    solver = dsag.GradientDescent(1.0 / problem.curvature)
    slow = dsag.Slowdown(8.0, workers=[3, 11])
    exact, fastest, older = (
        dsag.simulated(problem, dsag.Uncoded(20), slow, solver, 400, wait, work=20.0)
        for wait in (None, dsag.Fastest(16), dsag.Remember())
    )
    assert older.away[-1] == pytest.approx(exact.away[-1], rel=0.1)
    assert fastest.away[-1] > 10 * exact.away[-1]
    assert older.per_round < 0.2 * exact.per_round
    assert older.until(0.1) < 0.5 * exact.until(0.1)
    assert fastest.until(1e-6) == float("inf")


def test_the_page_tells_what_is_committed() -> None:
    kept = json.loads((HERE / "dsag.json").read_text())
    page = (HERE.parent / "guide/older_sums.md").read_text()
    descent, ends, mild, published, processes = (kept[name] for name in kept if name != "about")
    told = [
        *(
            f"| {row['time of a round']:.2f} | {row['distance to the optimum']:.0e}"
            for row in descent
        ),
        *(f"| {row['rounds']} | {row['time (s)']:,.0f} s |" for row in ends),
        *(f"| {row['exact, uncoded = 1']:.2f} |" for row in mild[2:]),
        *(f"| {row['published']} | {row['here']:.2f} |" for row in published),
        *(
            f"| {row['ms a round (median)']:.0f} ms | {row['distance to the optimum']:.0e} |"
            for row in processes
        ),
    ]
    for words in told:
        assert words.replace("e-0", "e-") in page
