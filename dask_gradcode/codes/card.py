"""A code as an HTML card: its numbers, B as a coloured grid, and what each worker holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np
from scipy.sparse import coo_array

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.html import card, facts, folded, ranges, table

__all__ = ["code_card", "holders"]

_POSITIVE, _NEGATIVE, _SINGLE = "#3b82f6", "#f97316", "#8b5cf6"
_GREY = "#888888"  # on white and on black
_DRAWN = 96  # rows and columns that are drawn one by one
_BINS = 60  # squares a side otherwise
_WIDTH = 480  # pixels
_LISTED = 32  # rows of a table
_SHARES = 12  # workers whose shares are drawn


def code_card(code: GradientCode) -> str:
    """Return the HTML card of a code.

    Parameters
    ----------
    code : GradientCode
        Any.

    Returns
    -------
    str
        HTML that stands alone. Beyond 96 messages or blocks, a square of the grid stands for
        several of them.
    """
    held = max(len(code.blocks_of(worker)) for worker in range(code.n_workers))
    numbers = {
        "workers (n)": f"{code.n_workers:,}",
        "stragglers (s)": f"{code.n_stragglers:,}",
        "tolerates": escape(code.tolerance),
        "blocks": f"{code.n_blocks:,}",
        "messages a round": f"{len(code.messages):,}{_length(code)}",
        "load": f"{code.load:.3g} of the data ({held} of {code.n_blocks} blocks a worker)",
        "Python": f"<code>{escape(repr(code).split('  #')[0])}</code>",
    }
    return card(
        type(code).__name__,
        facts(numbers),
        _shares(code) if code.divides else _grid(code),
        below=[folded("Which worker holds which blocks", holders(code))],
    )


def _length(code: GradientCode) -> str:
    """Say how much of a payload a message is, where it is not all."""
    if code.resolution == 1:
        return ""
    return f", of 1/{code.resolution} of a payload each"


def holders(code: GradientCode) -> str:
    """Return an HTML table of the blocks that each worker holds, equal ones together."""
    workers: dict[tuple[int, ...], list[int]] = {}
    for worker in range(code.n_workers):
        workers.setdefault(code.blocks_of(worker), []).append(worker)
    rows = [(ranges(who), ranges(blocks)) for blocks, who in workers.items()]
    shown = rows if len(rows) <= _LISTED else [*rows[: _LISTED - 2], ("...", "..."), rows[-1]]
    left = "" if shown is rows else f"{len(rows) - _LISTED + 1:,} rows are left out."
    return table(["workers", "blocks"], shown, left)


# ---------------------------------------------------------------- B


def _grid(code: GradientCode) -> str:
    """Return B as an SVG picture with a caption."""
    matrix = _encoding(code)
    rows, columns = matrix.shape
    if max(rows, columns) <= _DRAWN:
        size = max(4, min(18, _WIDTH // columns))
        cells, labels = _cells(code, matrix, size), _labels(code, size)
        legend, text = _legend(code, matrix), "messages (by their workers) down, blocks across"
    else:
        per, size, labels = _round_up(max(rows, columns) / _BINS), 7, ""
        cells, legend = _binned(matrix, per, size), ""
        text = (
            f"messages down, blocks across, {per} x {per} a square: the fainter the fewer non-zeros"
        )
        rows, columns = -(-rows // per), -(-columns // per)
    picture = _svg(f"B of {code!r}", cells, labels, (rows, columns), size)
    return f'<div>{picture}<div class="gradcode-note">B: {text}</div>{legend}</div>'


def _shares(code: GradientCode) -> str:
    """Draw what each worker holds as SVG, for codes whose workers compute what they hold."""
    shown = min(code.n_workers, _SHARES)
    own = [_blocks(code, code.first(worker)) for worker in range(shown)]
    across = {block: place for place, block in enumerate(sorted(set().union(*own)))}
    size = max(4, min(18, _WIDTH // len(across)))
    cells = (
        f'<rect class="cell" x="{across[block] * size}" y="{worker * size}" width="{size}" '
        f'height="{size}" fill="{_POSITIVE}" fill-opacity="{1.0 if block in mine else 0.35}">'
        f"<title>worker {worker}, block {block}: {'its own' if block in mine else 'a replica'}"
        "</title></rect>"
        for worker, mine in enumerate(own)
        for block in code.blocks_of(worker)
        if block in across
    )
    labels = "".join(
        f'<text x="-4" y="{(worker + 0.5) * size + 3}" text-anchor="end">{worker}</text>'
        for worker in range(0, shown, 1 if size >= 10 else 5)
    )
    picture = _svg(f"Shares of {code!r}", cells, labels, (shown, len(across)), size)
    part = "" if shown == code.n_workers else f", the first {shown}"
    return (
        f'<div>{picture}<div class="gradcode-note">workers down, blocks across{part}</div>'
        f'<div class="gradcode-note"><span style="color: {_POSITIVE}">&#9632;</span> what a worker '
        "computes, fainter what it holds for others, as long as they are late</div></div>"
    )


def _blocks(code: GradientCode, messages: Iterable[int]) -> set[int]:
    return {block for message in messages for block in code.messages[message].blocks}


def _svg(title: str, cells: Iterable[str], labels: str, shape: tuple[int, int], size: int) -> str:
    """Return a grid of squares with what is in them."""
    width, height, left, top = shape[1] * size, shape[0] * size, 36, 16
    lines = "".join(f"M0 {i * size}H{width}" for i in range(shape[0] + 1))
    lines += "".join(f"M{i * size} 0V{height}" for i in range(shape[1] + 1))
    return (
        f'<svg width="{left + width + 2}" height="{top + height + 2}" '
        f'viewBox="{-left} {-top} {left + width + 2} {top + height + 2}" role="img" '
        f'font-size="9" font-family="sans-serif" fill="{_GREY}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{height}" fill-opacity="0.08"/>{"".join(cells)}'
        f'<path d="{lines}" stroke="{_GREY}" stroke-opacity="0.3" fill="none"/>{labels}</svg>'
    )


def _encoding(code: GradientCode) -> coo_array:
    """Return B with its non-zeros only, in the order of the messages: it may be large."""
    sizes = [len(message.blocks) for message in code.messages]
    rows = np.repeat(np.arange(len(sizes)), sizes)
    columns = [block for message in code.messages for block in message.blocks]
    values = [value for message in code.messages for value in message.coefficients]
    return coo_array((values, (rows, columns)), shape=(len(sizes), code.n_blocks))


def _cells(code: GradientCode, matrix: coo_array, size: int) -> Iterator[str]:
    """Draw each non-zero, the fainter the smaller."""
    strength = np.sqrt(abs(matrix.data))  # a single large one shall not fade all others
    strength /= strength.max(initial=0.0) or 1.0
    n_holders = [*map(len, code.holders)]
    entries = zip(matrix.row, matrix.col, matrix.data, strength, strict=True)
    for row, column, value, strong in entries:
        if value == 0.0:
            continue
        colour = _POSITIVE if value > 0 else _NEGATIVE
        if n_holders[column] == 1:
            colour = _SINGLE
        yield (
            f'<rect class="cell" x="{column * size}" y="{row * size}" width="{size}" '
            f'height="{size}" fill="{colour}" fill-opacity="{0.25 + 0.75 * strong:.2f}">'
            f"<title>{_who(code, int(row))}, block {column}: {value:.4g}</title></rect>"
        )


def _binned(matrix: coo_array, per: int, size: int) -> Iterator[str]:
    """Draw squares of many entries each, the darker the more of them are not zero."""
    shape = tuple(-(-extent // per) for extent in matrix.shape)
    where = np.ravel_multi_index((matrix.row // per, matrix.col // per), shape)
    counts = np.bincount(where[matrix.data != 0], minlength=shape[0] * shape[1])
    most = counts.max(initial=1)
    for index in np.flatnonzero(counts).tolist():
        row, column = divmod(index, shape[1])
        share = counts[index] / most
        yield (
            f'<rect class="cell" x="{column * size}" y="{row * size}" width="{size}" '
            f'height="{size}" fill="{_POSITIVE}" fill-opacity="{0.25 + 0.75 * share:.2f}">'
            f"<title>messages from {row * per}, blocks from {column * per}: "
            f"{counts[index]} coefficients</title></rect>"
        )


def _round_up(number: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50, ...: groups of workers often have such sizes."""
    power = 1
    while power * 10 <= number:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= number)


def _labels(code: GradientCode, size: int) -> str:
    """Return numbers of the rows' workers and of blocks, as far as there is room."""
    rows, columns = (1 if size >= least else 5 if size >= 5 else 10 for least in (10, 18))
    shown = (row for row in range(len(code.messages)) if code.senders(row)[0] % rows == 0)
    text = "".join(
        f'<text x="-4" y="{(row + 0.5) * size + 3}" text-anchor="end">'
        f"{ranges(code.senders(row))}</text>"
        for row in shown
    )
    return text + "".join(
        f'<text x="{(block + 0.5) * size}" y="-4" text-anchor="middle">{block}</text>'
        for block in range(0, code.n_blocks, columns)
    )


def _who(code: GradientCode, message: int) -> str:
    senders = code.senders(message)
    return f"worker{'s' if len(senders) > 1 else ''} {ranges(senders)}"


def _legend(code: GradientCode, matrix: coo_array) -> str:
    counts = np.array([*map(len, code.holders)])
    shared = matrix.data[counts[matrix.col] > 1]
    ones = bool((shared == 1.0).all())
    entries = [
        (
            _POSITIVE,
            "coefficient 1" if ones else "positive, the fainter the smaller",
            (shared > 0).any(),
        ),
        (_NEGATIVE, "negative", (shared < 0).any()),
        (_SINGLE, "of a block that nobody else holds", (counts == 1).any()),
    ]
    found = (
        f'<span style="color: {colour}">&#9632;</span> {text}'
        for colour, text, present in entries
        if present
    )
    return f'<div class="gradcode-note">{" &#160; ".join(found)}</div>'
