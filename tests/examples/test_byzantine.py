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
    assert f"{honest['audits']:,} audits" in page
    for row in MEASURED["Fits with liars"]:
        assert f"| {row['liars']} | {row['expelled in round']} | {row['chunks computed']} |" in page


def test_an_audit_finds_every_liar_takes_back_what_was_wrong_and_costs_at_most_a_share() -> None:
    honest, *others = MEASURED["Audited fits"]
    assert (honest["liars"], honest["found in round"]) == ("nobody", None)
    page = " ".join((EXAMPLES / "guide/wrong_sums.md").read_text().split())
    for row in others:
        assert row["difference"] == 0.0
        assert row["chunks computed"] <= 1
        taken_back = row["found in round"] - row["first lie in round"] + 1
        assert row["rounds taken back"] == taken_back
        assert row["rounds"] == honest["rounds"] + taken_back
        found = row["first lie in round"], row["found in round"], taken_back
        assert " | ".join(["|", row["liars"], *map(str, found)])[2:] in page
    costs = {row["how"]: row for row in MEASURED["What it costs"]}
    audit = next(row for how, row in costs.items() if "audit" in how)
    assert audit["work"] <= 1.0 + 1.0 / 6
    assert audit["median round"] < costs["fractional, verify=1"]["median round"]
    for row in costs.values():
        assert f"| {row['how']} | {row['work']:g} | {row['median round']:g} |" in page
