"""What the experiment and its plots share: the schemes, the files, and a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
import amazon
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
    Uncoded,
)
from dask_gradcode.rounds import Fastest, WaitRule

__all__ = ["SCHEMES", "SIMULATED", "SIZES", "Progress", "Scheme", "amazon", "merge"]

SIZES = {  # n_workers and n_stragglers on real processes, by figure
    "delay": ((12, 1), (12, 2)),
    "tail": ((10, 1), (15, 2), (20, 3)),
    "auc": ((10, 1),),
}
SIMULATED = ((100, 3), (1000, 3))  # of tail


def until_exact(n: int, s: int) -> WaitRule | None:
    return None


def divides(n: int, s: int) -> bool:
    return n % (s + 1) == 0


def always(n: int, s: int) -> bool:
    return True


@dataclass(frozen=True)
class Scheme:
    """One of the paper's schemes, or ours: functions of ``n_workers`` and ``n_stragglers``."""

    name: str
    color: str
    code: Callable[[int, int], GradientCode]
    feasible: Callable[[int, int], bool] = always
    wait: Callable[[int, int], WaitRule | None] = until_exact


SCHEMES = (
    Scheme("naive", "0.35", lambda n, s: Uncoded(n)),
    Scheme(
        "ignore-stragglers", "tab:red", lambda n, s: Uncoded(n), wait=lambda n, s: Fastest(n - s)
    ),
    Scheme("fractional", "tab:blue", FractionalRepetition, divides),
    Scheme("cyclic", "tab:green", CyclicRepetition),
    # n_private = s + 1: stragglers may be twice as slow
    Scheme(
        "partial-fractional",
        "tab:purple",
        lambda n, s: PartialStragglers(FractionalRepetition(n, s), s + 1),
        divides,
    ),
    Scheme(
        "partial-cyclic",
        "tab:orange",
        lambda n, s: PartialStragglers(CyclicRepetition(n, s), s + 1),
    ),
    Scheme("declustered (ours)", "black", DeclusteredRepetition),
)


def merge(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows to a file, instead of those there of the same figure and number of workers."""
    new = {(row["figure"], row["n_workers"]) for row in rows}
    old = json.loads(path.read_text()) if path.exists() else []
    kept = [row for row in old if (row["figure"], row["n_workers"]) not in new]
    lines = ",\n".join(json.dumps(row) for row in [*kept, *rows])
    path.write_text(f"[\n{lines}\n]\n")


class Progress:
    """A progress bar on the terminal's last line."""

    def __init__(self) -> None:
        self._started, self._text = perf_counter(), ""
        self._done, self._total = 0, 0

    def expect(self, total: int) -> None:
        """Set how many steps there will be."""
        self._total = total

    def say(self, text: str) -> None:
        """Show what is being done."""
        self._text = text
        self._show()

    def step(self) -> None:
        """Count one more step."""
        self._done += 1
        if self._done % 5 == 0:
            self._show()

    def end(self) -> None:
        """Leave the line."""
        print(file=sys.stderr)

    def _show(self) -> None:
        share = min(1.0, self._done / self._total) if self._total else 0.0
        minutes = (perf_counter() - self._started) / 60
        bar = "#" * round(20 * share)
        line = f"[{bar:<20}] {share:4.0%} {minutes:5.1f} min  {self._text}"
        print(f"\r{line:<79.79}", end="", file=sys.stderr, flush=True)
