"""The pieces that all HTML cards are made of: escaped text in a few shapes, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

__all__ = ["card", "facts", "folded", "mark", "ranges", "table"]

# Text and lines have the colour of whatever notebook is around them, so that a card is readable on
# white and on black. The rules name their elements, to win over a notebook's own rules for tables.
_STYLE = """
div.gradcode-card {display: inline-block; max-width: 100%; padding: 0.7em 1em; font-size: 13px;
  line-height: 1.45; border: 1px solid rgba(128, 128, 128, 0.4); border-radius: 6px}
div.gradcode-card div.gradcode-parts {display: flex; flex-wrap: wrap; gap: 0.7em 2em;
  align-items: flex-start}
div.gradcode-card div.gradcode-title {font-weight: 600; margin-bottom: 0.5em}
div.gradcode-card table.gradcode-table {border-collapse: collapse; margin: 0; font-size: 13px}
div.gradcode-card table.gradcode-table tr {background: none}
div.gradcode-card table.gradcode-table th, div.gradcode-card table.gradcode-table td {
  text-align: left; vertical-align: top; padding: 0.1em 1.2em 0.1em 0; border: none;
  max-width: 34em; white-space: normal; background: none}
div.gradcode-card table.gradcode-table th {font-weight: 400; opacity: 0.65; white-space: nowrap}
div.gradcode-card code {overflow-wrap: anywhere}
div.gradcode-card table.gradcode-table td.number {text-align: right}
div.gradcode-card table.gradcode-table th.number {text-align: right}
div.gradcode-card details {margin-top: 0.5em}
div.gradcode-card summary {cursor: pointer; opacity: 0.8}
div.gradcode-card details > * + * {margin-top: 0.4em}
div.gradcode-card .gradcode-note {opacity: 0.65}
div.gradcode-card .gradcode-bad {color: #e5484d; font-weight: 600}
div.gradcode-card .gradcode-good {color: #30a46c; font-weight: 600}
div.gradcode-card svg {display: block; max-width: 100%; height: auto}
"""


def card(title: str, *parts: str, below: Iterable[str] = ()) -> str:
    """Return a card.

    Parameters
    ----------
    title : str
        Text.
    *parts : str
        HTML, side by side where there is room.
    below : iterable of str
        HTML, one under the other.

    Returns
    -------
    str
        HTML that needs nothing else.

    Examples
    --------
    >>> card("a < b").endswith('<div class="gradcode-title">a &lt; b</div></div>')
    True
    """
    beside = f'<div class="gradcode-parts">{"".join(parts)}</div>' if parts else ""
    return (
        f'<div class="gradcode-card"><style>{_STYLE}</style>'
        f'<div class="gradcode-title">{escape(title)}</div>{beside}{"".join(below)}</div>'
    )


def facts(named: Mapping[str, str]) -> str:
    """Return a table of names and HTML.

    Examples
    --------
    >>> facts({"<n>": "4"})
    '<table class="gradcode-table"><tr><th>&lt;n&gt;</th><td>4</td></tr></table>'
    """
    rows = (f"<tr><th>{escape(name)}</th><td>{value}</td></tr>" for name, value in named.items())
    return f'<table class="gradcode-table">{"".join(rows)}</table>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str | int]], note: str = "") -> str:
    """Return a table of HTML; ints stand to the right.

    Parameters
    ----------
    columns : sequence of str
        Text, one of each column.
    rows : iterable of sequence of str or int
        HTML or numbers.
    note : str
        Text under the table.
    """
    listed = list(rows)
    kinds = [
        ' class="number"' if listed and all(isinstance(row[i], int) for row in listed) else ""
        for i in range(len(columns))
    ]

    def row_of(tag: str, contents: Iterable[str | int]) -> str:
        cells = (
            f"<{tag}{kind}>{f'{held:,}' if isinstance(held, int) else held}</{tag}>"
            for kind, held in zip(kinds, contents, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = row_of("th", map(escape, columns))
    body = "".join(row_of("td", row) for row in listed)
    below = f'<div class="gradcode-note">{escape(note)}</div>' if note else ""
    return (
        f'<table class="gradcode-table"><thead>{head}</thead><tbody>{body}</tbody></table>{below}'
    )


def folded(summary: str, body: str, *, is_open: bool = False) -> str:
    """Return HTML that is shown, or hidden, when its summary, a text, is clicked."""
    start = '<details open="">' if is_open else "<details>"
    return f"{start}<summary>{escape(summary)}</summary>{body}</details>"


def mark(text: str, kind: str) -> str:
    """Return a text marked as ``"good"``, ``"bad"`` or a ``"note"``.

    Examples
    --------
    >>> mark("lost", "bad")
    '<span class="gradcode-bad">lost</span>'
    """
    return f'<span class="gradcode-{kind}">{escape(text)}</span>'


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as text, neighbours as ranges.

    Examples
    --------
    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7, 8'
    """
    listed = np.array(list(numbers), dtype=int)
    runs = np.split(listed, np.flatnonzero(np.diff(listed) != 1) + 1) if listed.size else []
    return ", ".join(
        f"{run[0]}-{run[-1]}" if run.size > 2 else ", ".join(map(str, run)) for run in runs
    )
