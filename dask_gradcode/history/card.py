"""A history as an HTML card: what the fit cost, and what it survived."""

from __future__ import annotations

from collections import Counter
from html import escape
from statistics import median

import numpy as np

from dask_gradcode.history.history import History
from dask_gradcode.history.words import ALL_ANSWERED, WORDS, worst
from dask_gradcode.html import card, facts, folded, mark, table

__all__ = ["history_card"]

_BARS, _HEIGHT = 120, 60  # bars at most, and pixels
_LISTED = 32  # losses, recoveries and relocations


def history_card(history: History) -> str:
    """Return the HTML card of a history.

    Parameters
    ----------
    history : History
        Of any number of rounds.

    Returns
    -------
    str
        HTML that needs nothing else.
    """
    code = f"<code>{escape(repr(history.code).split('  #')[0])}</code>"
    numbers = {"rounds": f"{len(history):,}", "code": code, "transport": escape(history.transport)}
    if not len(history):
        return card("History", facts(numbers))
    seconds = [record.seconds for record in history]
    events = history.events
    n = Counter(event.what for event in events)
    n_before = sum(bool(record.unplaced) for record in history)
    n_rough = sum(not record.exact for record in history)
    n_moved = sum(len(move.blocks) for move in history.moves)
    numbers |= {
        "time in rounds": f"{sum(seconds):.3g} s",
        "a round": f"median {median(seconds):.3g} s, longest {max(seconds):.3g} s",
        "work": f"{history.work:.3g} times that of uncoded rounds",
        **({"moved": f"{n_moved:,} blocks, to others than their owners"} if n_moved else {}),
        "late": f"{sum(len(r.late) for r in history) / len(history):.3g} workers a round",
        "lost": f"{n['lost']:,} ({n['restored']:,} restored)",
        **({"expelled": mark(f"{n['expelled']:,}", "bad")} if n["expelled"] else {}),
        **({"relocated": f"{n['relocated']:,}"} if n["relocated"] else {}),
        **({"not all placed yet": f"in {n_before:,} rounds"} if n_before else {}),
        "sums": mark(f"{n_rough:,} approximate", "bad") if n_rough else mark("all exact", "good"),
    }
    last = history[-1]
    if np.isfinite(last.value):  # a simulated one has none
        numbers["last value"] = f"{last.value:.8g}, max |gradient| {last.grad_norm:.2e}"
    rows = [
        (
            event.round,
            "all" if event.worker is None else event.worker,
            f"{event.what}, blocks {list(event.blocks)}" if event.blocks else event.what,
            f"{event.cost:.3g} s",
        )
        for event in events[:_LISTED]
    ]
    left = len(events) - _LISTED
    below = [
        folded(
            "Who was lost, expelled, restored or relocated",
            table(
                ["round", "worker", "what", "extra time of the round"],
                rows,
                f"{left:,} are left out." if left > 0 else "",
            ),
        )
    ]
    return card("History", facts(numbers), _bars(history), below=below if events else [])


def _bars(history: History) -> str:
    """Return the time of each round as a bar; beyond 120 rounds, the longest of several."""
    groups = np.array_split(np.arange(len(history)), min(_BARS, len(history)))
    longest = max(record.seconds for record in history) or 1.0
    width, bars = max(3, min(10, 360 // len(groups))), []
    words = [worst(history[index] for index in group) for group in groups]
    for place, (group, word) in enumerate(zip(groups, words, strict=True)):
        mine = [history[index] for index in group]
        height = _HEIGHT * max(record.seconds for record in mine) / longest
        which = f"round {mine[0].round}"
        if len(mine) > 1:
            which = f"longest of rounds {mine[0].round} to {mine[-1].round}"
        bars.append(
            f'<rect class="bar" x="{place * width}" y="{_HEIGHT - height:.1f}" '
            f'width="{width - 1}" height="{height:.1f}" fill="{word.colour}">'
            f"<title>{which}: {max(r.seconds for r in mine):.3g} s ({word.of_round})</title>"
            "</rect>"
        )
    across = len(groups) * width
    legend = " &#160; ".join(
        f'<span style="color: {word.colour}">&#9632;</span> {word.of_round}'
        for word in (*WORDS, ALL_ANSWERED)
        if word in words
    )
    return (
        f'<div><svg width="{across}" height="{_HEIGHT}" viewBox="0 0 {across} {_HEIGHT}" '
        f'role="img"><title>time of each round</title>{"".join(bars)}</svg>'
        f'<div class="gradcode-note">time of each round, up to {longest:.3g} s</div>'
        f"<div>{legend}</div></div>"  # no note, which is pale: its colours are those of the bars
    )
