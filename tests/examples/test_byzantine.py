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
        assert row["work and memory"] < row["those of a majority"]
        assert row["kB of sums a round"] < row["in full"] < row["of a majority"]


def test_the_syndrome_tells_who_lies_or_that_it_cannot_be_told() -> None:
    page = " ".join((EXAMPLES / "guide/wrong_sums.md").read_text().split())
    for row in MEASURED["By the syndrome"]:
        conspire = "together" in row["liars"]
        found = row["expelled in round"]
        assert conspire == found.startswith("cannot be told")
        if not conspire:
            assert len(found.split(" and ")) == row["number of liars"] == row["s"] - 1
            assert row["relative difference"] < 1e-9
        told = row["s"], row["number of liars"], row["liars"], found
        assert "| " + " | ".join(map(str, told)) + " |" in page


def test_no_honest_fit_had_a_dispute_and_the_guide_has_the_same_numbers() -> None:
    page = " ".join((EXAMPLES / "guide/wrong_sums.md").read_text().split())
    honest = MEASURED["Honest fits"]
    assert [row["verify"] for row in honest] == [1, 2, "syndrome"]
    for row in honest:
        assert row["fits"] >= 50
        assert row["suspicions"] == 0
        assert f"{row['rounds']:,} rounds" in page
    for row in MEASURED["Fits with liars"]:
        assert f"| {row['liars']} | {row['expelled in round']} | {row['chunks computed']} |" in page


def test_nobody_was_expelled_for_rounding() -> None:
    rows = MEASURED["Honest fits on two kernels of OpenBLAS"]
    page = (EXAMPLES / "guide/wrong_sums.md").read_text()
    assert sum(row["honest fits"] for row in rows) >= 50
    for row in rows:
        assert row["sums equal but for rounding"] > row["rounds"]  # their bits do differ
        assert row["disputes"] == 0
        assert row["relative difference"] < 1e-9
        assert f"| {row['kernels']} | {row['honest fits']} | {row['rounds']} |" in page
