"""A history in one line."""

from __future__ import annotations

from collections import Counter
from statistics import median

from dask_gradcode.history.history import History

__all__ = ["in_a_line"]


def in_a_line(history: History) -> str:
    """Return what the rounds of a history cost and what they survived."""
    how = f"with {history.code!r}, {history.transport}".replace("  #", ";")
    n_rounds = len(history)
    if not n_rounds:
        return f"no rounds {how}"
    seconds = [record.seconds for record in history]
    counted = Counter(event.what for event in history.events)
    n_late = sum(len(record.late) for record in history)
    n_before = sum(bool(record.unplaced) for record in history)
    n_rough = sum(not record.exact for record in history)
    other = " other" if _n_taken_back(history) else ""
    facts = [
        f"{n_rounds} rounds in {sum(seconds):.3g} s "
        f"(median {median(seconds):.3g} s, longest {max(seconds):.3g} s)",
        f"{history.work:.3g} times the work of uncoded rounds{_moved(history)}",
        f"{n_late / n_rounds:.3g} workers late a round",
        f"{counted['lost']} lost and {counted['restored']} restored",
        *([f"{n} expelled"] if (n := counted["expelled"]) else []),
        *([f"{n} rounds taken back"] if (n := _n_taken_back(history)) else []),
        *([f"{n} relocated"] if (n := counted["relocated"]) else []),
        *([f"not all placed in {n_before} rounds"] if n_before else []),
        f"{n_rough} sums approximate{_aged(history)}" if n_rough else f"every{other} sum exact",
    ]
    return f"{', '.join(facts)}; {how}"


def _n_taken_back(history: History) -> int:
    return sum(len(event.rounds) for event in history.events if event.what == "taken back")


def _aged(history: History) -> str:
    oldest = max(record.age for record in history)
    return f" (what stands in is up to {oldest} rounds old)" if oldest else ""


def _moved(history: History) -> str:
    n_moved = sum(len(move.blocks) for move in history.moves)
    return f" ({n_moved / (len(history) * history.code.n_blocks):.1%} moved)" if n_moved else ""
