"""Check results of ``reproduce.py`` (a full run) against what must hold.

python examples/tandon2017/check.py DIR
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import SCHEMES, SIMULATED, SIZES

Row = dict[str, Any]

GROWING = ("naive", "partial-fractional", "partial-cyclic")
STEADY = ("fractional", "cyclic")
OURS = "declustered (ours)"
EXACT = (*GROWING, *STEADY, OURS)
STEADY_WITHIN, AGREE_WITHIN, AUC, BIASED_BY = 1.3, 1e-8, 0.88, 1e-2


def missing(rows: list[Row], *, simulated: bool) -> list[str]:
    """Return which runs of a full experiment are not among these rows."""
    here = {(r["figure"], r["n_workers"], r["n_stragglers"], r["scheme"]) for r in rows}
    sizes = [(figure, n, s) for figure, found in SIZES.items() for n, s in found]
    if simulated:
        sizes += [("tail", n, s) for n, s in SIMULATED]
    return [
        f"{figure}, {scheme.name}, n = {n}, s = {s}"
        for figure, n, s in sizes
        for scheme in SCHEMES
        if scheme.feasible(n, s) and (figure, n, s, scheme.name) not in here
    ]


def facts(rows: list[Row], differences: list[Row]) -> Iterator[tuple[bool, str]]:
    """Yield what was looked at, and whether it holds."""
    for text in (*missing(rows, simulated=True), *missing(differences, simulated=False)):
        yield False, f"was not run: {text}"
    delay = [row for row in rows if row["figure"] == "delay"]
    runs = {(row["scheme"], row["n_workers"], row["n_stragglers"]) for row in delay}
    for scheme, n, s in sorted(runs):
        key = (scheme, n, s)
        mine = [r for r in delay if (r["scheme"], r["n_workers"], r["n_stragglers"]) == key]
        mine.sort(key=lambda row: row["delay_seconds"])
        times = [row["seconds_per_iteration"] for row in mine]
        text = f"{scheme}, n = {n}, s = {s}: {', '.join(f'{t:.4f} s' for t in times)}"
        if scheme in GROWING:
            yield times == sorted(times) and times[-1] > 1.3 * times[0], f"grows: {text}"
        elif scheme in STEADY:
            worst = max(times) / times[0]
            yield worst <= STEADY_WITHIN, f"stays within {worst:.2f} of undelayed: {text}"
        elif scheme == OURS:
            naive = max(r["seconds_per_iteration"] for r in delay if r["scheme"] == "naive")
            yield max(times) <= naive / 2, f"waits for nobody (naive {naive:.4f} s): {text}"
    for row in rows:
        final = row["figure"] != "auc" or row == last_of(rows, row["scheme"])
        if row["scheme"] in EXACT and not row["simulated"] and final:
            yield row["auc"] >= AUC, f"AUC {row['auc']:.4f}: {name(row)}"
    for row in differences:
        difference = row["relative_difference"]
        text = f"coefficients differ by {difference:.1e} from the naive ones: {name(row)}"
        if row["scheme"] in EXACT:
            yield difference <= AGREE_WITHIN, text
        elif row["figure"] == "delay" and row["delay_seconds"]:  # the same workers all along
            yield difference >= BIASED_BY, text


def last_of(rows: list[Row], scheme: str) -> Row:
    mine = [row for row in rows if row["figure"] == "auc" and row["scheme"] == scheme]
    return max(mine, key=lambda row: row["seconds"])


def name(row: Row) -> str:
    return (
        f"{row['figure']}, {row['scheme']}, n = {row['n_workers']}, s = {row['n_stragglers']}, "
        f"delay {row['delay_seconds']:.3f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", metavar="DIR", type=Path, help="where results.json is")
    out = parser.parse_args().out
    rows, differences = (
        json.loads((out / file).read_text()) for file in ("results.json", "coefficients.json")
    )
    found = list(facts(rows, differences))
    for holds, text in found:
        print("ok   " if holds else "FAILS", text)
    if not all(holds for holds, _ in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
