"""Draw delay.png, tail.png and auc.png from the results of ``reproduce.py``.

python examples/tandon2017/plot.py DIR      # where results.json is
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common import SCHEMES

Row = dict[str, Any]


def bars(axes: Axes, rows: list[Row], group: Any, label: Any) -> None:
    """Draw a group of bars per key of ``group``, in it a bar per scheme."""
    rows = sorted(rows, key=group)
    groups = {key: list(found) for key, found in groupby(rows, key=group)}
    present = [scheme for scheme in SCHEMES if any(r["scheme"] == scheme.name for r in rows)]
    width = 0.8 / len(present)
    for i, scheme in enumerate(present):
        for place, found in enumerate(groups.values()):
            for row in found:
                if row["scheme"] == scheme.name:
                    x = place + (i - (len(present) - 1) / 2) * width
                    height = row["seconds_per_iteration"]
                    axes.bar(x, height, width, color=scheme.color, label=scheme.name)
    axes.set_xticks(range(len(groups)), [label(found[0]) for found in groups.values()])


def legend(figure: Figure, axes: Axes) -> None:
    once = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    ordered = [scheme.name for scheme in SCHEMES if scheme.name in once]
    handles = [once[name] for name in ordered]
    figure.legend(handles, ordered, loc="outside lower center", ncols=4, frameon=False)


def delay(rows: list[Row]) -> Figure:
    sizes = sorted({(row["n_workers"], row["n_stragglers"]) for row in rows})
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(10, 4), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (n, s) in zip(panels[0], sizes, strict=True):
        mine = [row for row in rows if (row["n_workers"], row["n_stragglers"]) == (n, s)]
        bars(
            axes, mine, lambda row: row["delay_seconds"], lambda row: f"{row['delay_seconds']:.3f}"
        )
        axes.set(title=f"n = {n} workers, {s} of them late", xlabel="delay of the late ones (s)")
    panels[0][0].set_ylabel("time per iteration (s)")
    legend(figure, panels[0][0])
    return figure


def tail(rows: list[Row]) -> Figure:
    kinds = [(False, "measured on real processes"), (True, "simulated, a machine per worker")]
    kinds = [kind for kind in kinds if any(row["simulated"] is kind[0] for row in rows)]
    figure, panels = plt.subplots(
        1, len(kinds), figsize=(10, 4), squeeze=False, layout="constrained"
    )
    for axes, (simulated, title) in zip(panels[0], kinds, strict=True):
        mine = [row for row in rows if row["simulated"] is simulated]
        bars(
            axes,
            mine,
            lambda row: (row["n_workers"], row["n_stragglers"]),
            lambda row: f"n = {row['n_workers']}, s = {row['n_stragglers']}",
        )
        lowest = min(row["seconds_per_iteration"] for row in mine)
        axes.set(title=title, ylabel="time per iteration (s)", yscale="log")
        axes.set_ylim(bottom=10.0 ** np.floor(np.log10(lowest)))
    legend(figure, panels[0][0])
    return figure


def auc(rows: list[Row]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for width, scheme in zip(np.linspace(8, 1.5, len(SCHEMES)), SCHEMES, strict=True):
        mine = sorted((r["seconds"], r["auc"]) for r in rows if r["scheme"] == scheme.name)
        if mine:
            # some lines lie on others: thinner and thinner, the last dashed, all can be seen
            style = {"lw": width, "ls": "--" if scheme is SCHEMES[-1] else "-"}
            axes.plot(*np.transpose(mine), color=scheme.color, label=scheme.name, **style)
    n, s = rows[0]["n_workers"], rows[0]["n_stragglers"]
    axes.set(title=f"n = {n} workers, s = {s}", xlabel="time since the first iteration began (s)")
    axes.set(ylabel="area under the ROC curve, test rows", ylim=(0.5, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", metavar="DIR", type=Path, help="where results.json is")
    out = parser.parse_args().out
    rows = json.loads((out / "results.json").read_text())
    for draw in (delay, tail, auc):
        mine = [row for row in rows if row["figure"] == draw.__name__]
        if mine:
            path = out / f"{draw.__name__}.png"
            draw(mine).savefig(path, dpi=110)
            print(path)


if __name__ == "__main__":
    main()
