"""A history as matplotlib pictures: the time of rounds, and a heat map of arrivals."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gradcode.history.history import History
from dask_gradcode.history.words import ALL_ANSWERED, LOST, OF_WORKERS, WORDS, worst

__all__ = ["draw_arrivals", "draw_times", "pyplot"]

_BAD = ("lost", "expelled", "unverified", "taken back")
_COLOURS = dict.fromkeys(_BAD, LOST.colour) | {"relocated": "tab:blue"}
_RESTORED = "tab:green"
_ABOVE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1, 1),
    "ncols": 5,
    "fontsize": 8,
    "frameon": False,
    "borderpad": 0,
    "columnspacing": 1.2,
}
_NAMED = 8  # losses, recoveries and relocations that are named; more would cover each other


def pyplot(who: str) -> Any:
    """Return ``matplotlib.pyplot``, or raise an ImportError that says that ``who`` needs it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{who} needs matplotlib: pip install 'dask-gradcode[plot]'.") from error
    return plt


def draw_times(history: History, ax: Any) -> Any:
    """Draw the time of each round on ``ax``, and return that."""
    rounds = np.array([record.round for record in history])
    seconds = np.array([record.seconds for record in history])
    ax.plot(rounds, seconds, "-", color="0.6", lw=1, zorder=1)
    words = [worst([record]) for record in history]
    for word in (ALL_ANSWERED, *reversed(WORDS)):
        which = np.array([one is word for one in words], dtype=bool)
        if which.any():
            ax.plot(
                *(rounds[which], seconds[which], "."),
                color=word.colour,
                label=word.of_round,
                zorder=2,
            )
    changes = history.events
    for change in changes:
        colour = _COLOURS.get(change.what, _RESTORED)
        ax.axvline(change.round, color=colour, lw=0.8, ls=":", zorder=0)
        if change.what == "taken back":
            first, last = change.rounds[0], change.rounds[-1]
            ax.axvspan(first - 0.5, last + 0.5, color=colour, alpha=0.1, lw=0, zorder=0)
    for change in changes if len(changes) <= _NAMED else ():
        top = change.what in ("lost", "expelled")
        ax.annotate(
            f" {change.what}"
            if change.worker is None
            else f" worker {change.worker} {change.what}",
            (change.round, 0.98 if top else 0.02),
            xycoords=("data", "axes fraction"),
            rotation=90,
            va="top" if top else "bottom",
            ha="left",
            fontsize=7,
            color=_COLOURS.get(change.what, _RESTORED),
        )
    if len(history):
        _legend_above(ax)
        ax.set_ylim(bottom=0)
    ax.set(xlabel="round", ylabel="time of a round (s)")
    return ax


def draw_arrivals(history: History, ax: Any) -> Any:
    """Draw on ``ax`` when each worker answered in each round or why not, and return that."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    n_rounds, n_workers = len(history), history.code.n_workers
    seen = np.ma.masked_invalid(history.arrivals.T)
    marks = [*_draw_words(history, ax), *_draw_moves(history, ax)]
    if marks:
        ax.legend(handles=marks, **_ABOVE)
    if seen.count():
        # The late are often a hundred times later than the others.
        norm = LogNorm() if seen.min() > 0 else None
        image = ax.imshow(
            seen, aspect="auto", origin="lower", cmap="viridis", norm=norm, interpolation="nearest"
        )
        bar = ax.figure.colorbar(image, ax=ax, label="last message arrived after (s)")
        if norm is not None:
            bar.set_ticks(_ticks(seen.min(), seen.max()), minor=False)
            bar.ax.yaxis.set_major_formatter("{x:g}")
            bar.minorticks_off()
    ax.set(xlim=(-0.5, max(n_rounds, 1) - 0.5), ylim=(-0.5, n_workers - 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    ax.set(xlabel="round", ylabel="worker")
    return ax


def _draw_moves(history: History, ax: Any) -> list[Any]:
    """Mark the workers that helped or were helped; return what the legend shows."""
    pairs = [(move.round, move.owner, move.worker) for move in history.moves]
    size = float(np.clip(200 / max(1, len(history)), 2.0, 6.0))  # of a mark, in points
    found = []
    for place, marker, colour, label in (
        (2, "^", "#1b5e20", "helped"),
        (1, "v", "#b3202c", "was helped"),
    ):
        points = sorted({(pair[0], pair[place]) for pair in pairs})
        if points:
            found += ax.plot(
                *zip(*points, strict=True),
                marker,
                color=colour,
                mec="white",
                mew=size / 8,
                ms=size,
                label=label,
            )
    return found


def _draw_words(history: History, ax: Any) -> list[Any]:
    """Give the cells of workers that never answered the colours of the reasons.

    Returns what the legend shows of that.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    n_rounds, n_workers = len(history), history.code.n_workers
    which = np.full((n_workers, n_rounds), -1)
    for column, record in enumerate(history):
        for number, word in reversed([*enumerate(OF_WORKERS)]):  # the first that is true stays
            which[list(getattr(record, word.name)), column] = number
    cells = np.ma.masked_where((which < 0) | np.isfinite(history.arrivals.T), which)
    used = set(cells.compressed().tolist())
    if not used:
        return []
    ax.imshow(
        cells,
        aspect="auto",
        origin="lower",
        cmap=ListedColormap([word.colour for word in OF_WORKERS]),
        vmin=-0.5,
        vmax=len(OF_WORKERS) - 0.5,
        interpolation="nearest",
    )
    return [
        Patch(color=word.colour, label=word.text)
        for number, word in enumerate(OF_WORKERS)
        if number in used
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic scale, also for one of less than a decade."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    wide = high > 10 * low
    locator = LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)) if wide else MaxNLocator(4)
    return [tick for tick in locator.tick_values(low, high) if low <= tick <= high]


def _legend_above(ax: Any) -> None:
    """Put a legend where it hides nothing, if there is anything in it."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**_ABOVE, handletextpad=0.1)
