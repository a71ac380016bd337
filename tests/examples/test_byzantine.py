"""What the guide says of wrong sums is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
MEASURED = json.loads((EXAMPLES / "papers/byzantine.json").read_text())


def test_every_liar_was_expelled_for_at_most_b_chunks_and_without_effect() -> None:
    rows = MEASURED["Fits with liars"]
    assert {row["b"] for row in rows} == {1, 2}
    for row in rows:
        assert row["difference"] == 0.0
        assert len(row["expelled in round"].split(" and ")) == row["b"]
        assert row["chunks computed"] <= row["b"]
        assert row["replicas"] < row["of a majority"]


def test_no_honest_fit_had_a_dispute_and_the_guide_has_the_same_numbers() -> None:
    [honest] = MEASURED["Honest fits"]
    assert honest["honest fits"] >= 50
    assert honest["disputes"] == 0
    page = " ".join((EXAMPLES / "guide/wrong_sums.md").read_text().split())
    assert f"{honest['rounds']:,} rounds" in page
    for row in MEASURED["Fits with liars"]:
        assert f"| {row['liars']} | {row['expelled in round']} | {row['chunks computed']} |" in page
