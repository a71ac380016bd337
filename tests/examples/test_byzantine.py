"""What the guide says of wrong sums is what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"


def measured(name: str) -> Any:
    return json.loads((EXAMPLES / f"papers/{name}.json").read_text())


def page(name: str) -> str:
    return " ".join((EXAMPLES / f"guide/{name}.md").read_text().split())


def line(*cells: object) -> str:
    """Return a part of a line of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def test_every_liar_was_expelled_for_at_most_b_chunks_and_without_effect() -> None:
    rows = measured("byzantine")["Fits with liars"]
    assert {row["b"] for row in rows} == {1, 2}
    for row in rows:
        assert row["difference"] == 0.0
        assert len(row["expelled in round"].split(" and ")) == row["b"]
        assert row["chunks computed"] <= row["b"]
        assert row["work and memory"] < row["those of a majority"]
        assert row["kB of sums a round"] < row["in full"] < row["of a majority"]
        told = row["liars"], row["expelled in round"], row["chunks computed"]
        assert line(*told) in page("wrong_sums")


def test_by_agreement_every_iterate_is_the_honest_one_and_audits_come_back_to_it() -> None:
    rows = measured("byzantine")["One fit, round by round"]
    honest, unverified, agreed, audited = (
        [row[name] for row in rows if row[name] is not None] for name in list(rows[0])[1:]
    )
    assert agreed == honest
    assert unverified[:6] == honest[:6]  # a sum of round 5 has no effect before round 6
    assert abs(unverified[-1] - 1 / 8) < 0.005
    assert honest[-1] < 0.001
    n_back = len(audited) - len(honest)
    assert n_back > 0
    assert audited == [*unverified[: 5 + n_back], *honest[5:]]
    assert f"found in round {4 + n_back}" in page("wrong_sums")


def test_no_honest_fit_had_a_dispute() -> None:
    rows = measured("byzantine")["Honest fits"]
    assert [row["b"] for row in rows] == [1, 2]
    for row in rows:
        assert row["fits"] >= 50
        assert row["suspicions"] == 0
        assert f"{row['rounds']:,} rounds" in page("wrong_sums")


def test_nobody_was_expelled_for_rounding() -> None:
    rows = measured("byzantine")["Honest fits on two kernels of OpenBLAS"]
    assert sum(row["honest fits"] for row in rows) >= 50
    for row in rows:
        assert row["sums equal but for rounding"] > row["rounds"]  # their bits do differ
        assert row["disputes"] == 0
        assert row["relative difference"] < 1e-9
        assert line(row["kernels"], row["honest fits"], row["rounds"]) in page("wrong_sums")


def test_the_syndrome_tells_who_lies_or_that_it_cannot_be_told() -> None:
    for row in measured("syndrome")["By the syndrome"]:
        conspire = "together" in row["liars"]
        found = row["expelled in round"]
        assert conspire == found.startswith("cannot be told")
        if not conspire:
            assert len(found.split(" and ")) == row["number of liars"] == row["s"] - 1
            assert row["relative difference"] < 1e-9
        told = row["s"], row["number of liars"], row["liars"], found
        assert line(*told) in page("syndrome")
    [honest] = measured("syndrome")["Honest fits"]
    assert honest["fits"] >= 50
    assert honest["suspicions"] == 0
    assert f"{honest['rounds']:,} rounds" in page("syndrome")


def test_an_audit_finds_every_liar_and_takes_back_what_was_wrong() -> None:
    honest, *others = measured("audits")["Audited fits"]
    assert (honest["liars"], honest["found in round"]) == ("nobody", None)
    for row in others:
        assert row["difference"] == 0.0
        assert row["chunks computed"] <= 1
        taken_back = row["found in round"] - row["first lie in round"] + 1
        assert row["rounds taken back"] == taken_back
        assert row["rounds"] == honest["rounds"] + taken_back
        told = row["liars"], row["first lie in round"], row["found in round"], taken_back
        assert line(*told) in page("audits")
    [counted] = measured("audits")["Honest fits"]
    assert counted["fits"] >= 50
    assert counted["disputes"] == 0
    assert f"{counted['rounds']:,} rounds, {counted['audits']:,} audits" in page("audits")


def test_an_audit_costs_at_most_a_share_of_a_round() -> None:
    costs = {row["how"]: row for row in measured("audits")["What it costs"]}
    audit = next(row for how, row in costs.items() if "audit" in how)
    assert audit["work"] <= 1.0 + 1.0 / 6
    assert audit["median round"] < costs["fractional, verify=1"]["median round"]
    for row in costs.values():
        assert line(row["how"], f"{row['work']:g}", f"{row['median round']:g}") in page("audits")
    for row in measured("audits")["In short rounds"]:
        assert line(*row.values()) in page("audits")
