"""Draws what the rounds of a real run do while one of their four workers is frozen.

    python examples/images/frozen_round.py

The same rounds run uncoded and coded. In both a worker is stopped (SIGSTOP) for half a second and
then goes on. Writes ``frozen_round.svg`` beside this file.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from distributed import Client, LocalCluster

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import DeclusteredRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic

mpl.use("svg")
import matplotlib.pyplot as plt

FROM, UNTIL, END = 0.3, 0.8, 1.1  # seconds: the worker is frozen; the picture ends
BLUE, ORANGE, GREY = "#2f7dc4", "#e8890c", "#808890"


@dataclass
class Seen:
    """A round: when it began and ended, and when each worker's last answer to it came."""

    began: float
    ended: float
    answered: dict[int, float]


def run(client: Client, code: GradientCode, X: np.ndarray, y: np.ndarray) -> list[Seen]:
    rng, seen = np.random.default_rng(0), list[Seen]()
    with (
        place(X, y, code=code, client=client) as data,
        ClusterObjective(data, Logistic(), transport="stream") as objective,
    ):
        data.wait(60)
        pid = client.run(os.getpid, workers=[data.addresses[2]])[data.addresses[2]]
        for _ in range(40):  # so that speeds are known
            objective(rng.standard_normal(X.shape[1]))
        start = time.monotonic()
        for at, what in ((FROM, signal.SIGSTOP), (UNTIL, signal.SIGCONT)):
            threading.Timer(at, os.kill, (pid, what)).start()
        while (began := time.monotonic() - start) < END:
            record = objective(rng.standard_normal(X.shape[1])).record
            answered = {a.role: began + a.seconds for a in record.answers if a.used}
            seen.append(Seen(began, began + record.seconds, answered))
    return seen


def draw(axis: plt.Axes, rounds: Sequence[Seen], title: str) -> None:
    axis.axvspan(FROM, UNTIL, ymin=0.5, ymax=0.75, color=ORANGE, alpha=0.25, linewidth=0)
    axis.text((FROM + UNTIL) / 2, 1.05, "frozen", color=ORANGE, ha="center", va="center")
    for number, one in enumerate(rounds):
        for role, at in one.answered.items():
            axis.barh(
                3 - role,
                at - one.began,
                left=one.began,
                height=0.62,
                color=BLUE,
                alpha=0.95 if number % 2 else 0.55,
                linewidth=0,
            )
    during = sum(FROM < one.ended < UNTIL for one in rounds)
    axis.set_title(f"{title}: {during} rounds meanwhile", loc="left", color=GREY, fontsize=12)
    axis.set_yticks(range(4), [f"worker {3 - k}" for k in range(4)])
    axis.set_xlim(0, END)
    axis.set_ylim(-0.5, 3.5)
    axis.tick_params(colors=GREY, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400_000, 100))
    y = (X @ rng.standard_normal(100) + rng.logistic(size=len(X)) > 0).astype(int)
    figure, axes = plt.subplots(2, 1, figsize=(8, 4.4), sharex=True)
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for axis, title, code in (
            (axes[0], "uncoded", Uncoded(4)),
            (axes[1], "coded, one worker may be silent", DeclusteredRepetition(4, 1)),
        ):
            draw(axis, run(client, code, X, y), title)
    axes[1].set_xlabel("seconds", color=GREY)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_suffix(".svg"), transparent=True)


if __name__ == "__main__":
    main()
