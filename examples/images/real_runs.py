"""Draws two real runs on four worker processes of this machine.

    python examples/images/real_runs.py

``frozen_round.svg``: the same rounds uncoded and coded, while a worker is stopped (SIGSTOP) for
half a second. ``killed.svg``: the history of a fit in the middle of which a worker is killed
(SIGKILL). Both are written beside this file.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from distributed import Client, LocalCluster

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import DeclusteredRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.optimizers import GradientDescent

mpl.use("svg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
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
    axis.barh(1, UNTIL - FROM, left=FROM, height=0.62, color=ORANGE, linewidth=0)
    axis.text((FROM + UNTIL) / 2, 0.97, "frozen", color="white", ha="center", va="center")
    during = sum(FROM < one.ended < UNTIL for one in rounds)
    axis.set_title(f"{title}: {during} rounds meanwhile", loc="left", color=GREY, fontsize=12)
    axis.set_yticks(range(4), [f"worker {3 - k}" for k in range(4)])
    axis.set_xlim(0, END)
    axis.set_ylim(-0.5, 3.5)
    axis.tick_params(colors=GREY, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def fit(client: Client, X: np.ndarray, y: np.ndarray) -> None:
    with place(X, y, code="declustered", n_stragglers=1, client=client) as data:
        data.wait(60)
        pid = client.run(os.getpid, workers=[data.addresses[1]])[data.addresses[1]]
        threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
        solver = GradientDescent()  # of many rounds
        model = CodedLogisticRegression(solver=solver, max_iter=120, tol=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is not to converge
            model.fit(data)
    print(model.history_)
    axes = model.history_.plot()
    figure = np.ravel(axes)[0].figure
    figure.savefig(HERE / "killed.svg", transparent=True)


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
        fit(client, X, y)
    axes[1].set_xlabel("seconds", color=GREY)
    figure.tight_layout()
    figure.savefig(HERE / "frozen_round.svg", transparent=True)


if __name__ == "__main__":
    main()
