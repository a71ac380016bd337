"""Workers that send wrong sums: who is found, when, and what that takes.

    python examples/papers/byzantine.py [--out DIR] [--rows 24000] [--honest 50] [--mixed 60]

Hofmeister, Massny, Yaakobi and Bitar, "Byzantine-Resilient Gradient Coding through Local Gradient
Computations" (arXiv 2401.02380): ``b`` faulty workers need ``b + 1`` replicas, where a majority of
them (DRACO, Chen et al., ICML 2018) needs ``2 b + 1``, if the client may compute a few gradients
itself. Here it computes no gradient of a block, but one chunk of its rows.

Six worker processes, logistic regression by L-BFGS; ``verify=b`` for b = 1 and 2, and b liars of
each kind. The table says in which round each was expelled, how many chunks the client computed, how
many bytes travelled for that, and the largest difference of a coefficient to the honest fit; then
how many bytes of sums a round brought, with digests of all but one of each, as they would be in
full, and by a majority; and how often each row is kept and computed, here and by a majority.

Then as many honest fits as are asked for, on other data each: how often anybody was suspected. And
as many on four workers of which two have another kernel of OpenBLAS, for each of some pairs of
kernels: sums then differ in their last bits, and are compared within a tolerance.

Before that one fit is shown round by round: gradient descent with a liar among the workers, which
nobody looks for, is found by agreement, or by audits.

DIR gets byzantine.json and byzantine.png; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import dask
import numpy as np
from distributed import Client, LocalCluster
from liars import LIARS, N_FEATURES, N_WORKERS, cluster, data_set, fitted, n_rounds
from report import at_least, write

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, inject
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.rounds import Announced, Arrived
from dask_gradcode.rounds.audit import AUDIT

PAYLOAD, DIGEST = 8 * (1 + N_FEATURES), 16  # bytes
BY_ROUND = "One fit, round by round"
KERNELS = [("Haswell", "Nehalem"), ("Haswell", "Sandybridge"), ("Zen", "Nehalem")]


def kb_of_sums(objective: ClusterObjective) -> float:
    """Return how many kB of sums and digests a round has brought, on average."""
    events = [step.event for log in objective.logs for step in log.steps]
    n_full = sum(isinstance(event, Arrived) for event in events)
    n_digests = sum(isinstance(event, Announced) for event in events)
    return (n_full * PAYLOAD + n_digests * DIGEST) / len(objective.logs) / 1e3


def with_liars(client: Client, n_rows: int) -> list[dict[str, Any]]:
    X, y = data_set(n_rows, seed=0)
    rows = []
    for b in (1, 2):
        with place(X, y, code=FractionalRepetition(N_WORKERS, b), client=client) as data:
            honest, *_ = fitted(data, 0)
            _, nobody_lies, _ = fitted(data, b)
            n_sums = len(data.code.messages)
            for name, how in LIARS.items():
                if "together" in how and b == 1:
                    continue
                lies = Lies(workers=list(range(b)), **how)  # of one group
                with inject(client, lies):
                    coef, objective, expelled = fitted(data, b)
                hearings = objective.hearings
                rows.append(
                    {
                        "b": b,
                        "liars": name,
                        "expelled in round": " and ".join(map(str, expelled.values())),
                        "chunks computed": sum(h.verdict.n_chunks for h in hearings),
                        "kB of interaction": round(sum(h.verdict.n_bytes for h in hearings) / 1e3),
                        "difference": float(np.abs(coef - honest).max()),
                        "kB of sums a round": kb_of_sums(nobody_lies),
                        "in full": (b + 1) * n_sums * PAYLOAD / 1e3,
                        "of a majority": (2 * b + 1) * n_sums * PAYLOAD / 1e3,
                        "work and memory": b + 1,
                        "those of a majority": 2 * b + 1,
                    }
                )
                assert sorted(expelled) == list(lies.workers)
    return rows


def by_round(client: Client, n_rows: int) -> list[dict[str, Any]]:
    """Return how far from the optimum each round of a fit is, with a liar from round 5 on."""
    X, y = data_set(n_rows, seed=0)
    ways: dict[str, list[np.ndarray]] = {"honest": []}
    with place(
        X / X.std(axis=0), y, code=FractionalRepetition(N_WORKERS, 1), client=client
    ) as data:
        best, *_ = fitted(data, 0)
        fitted(data, 0, GradientDescent(), ways["honest"])
        with warnings.catch_warnings(), inject(client, Lies("sign", workers=[0], from_round=5)):
            warnings.simplefilter("ignore", UserWarning)  # replicas that differ are told of
            for name, verify in (
                ("nothing verified", 0),
                ("verify=1", 1),
                ('verify="audit"', AUDIT),
            ):
                fitted(data, verify, GradientDescent(), ways.setdefault(name, []))
    norm = np.linalg.norm(best)
    away = {name: [float(np.linalg.norm(w - best) / norm) for w in ways[name]] for name in ways}
    return [
        {"round": number, **dict(zip(away, far, strict=True))}
        for number, far in enumerate(zip_longest(*away.values()))
    ]


def honest(client: Client, n_fits: int) -> list[dict[str, Any]]:
    """Run honest fits, and count in how many rounds anybody was suspected."""
    rows = []
    for b in (1, 2):
        n_all = n_suspected = 0
        for seed in range(n_fits):
            X, y = data_set(600, seed)
            with place(X, y, code=FractionalRepetition(N_WORKERS, b), client=client) as data:
                _, objective, expelled = fitted(data, b)
            n_all += n_rounds(objective)
            n_suspected += len(objective.hearings) + len(expelled)
        rows.append({"b": b, "fits": n_fits, "rounds": n_all, "suspicions": n_suspected})
    return rows


@contextmanager
def mixed_cluster(one: str, other: str) -> Iterator[Client]:
    """Four workers, two with each of two kernels of OpenBLAS."""
    before = os.environ.get("OPENBLAS_CORETYPE")
    try:
        os.environ["OPENBLAS_CORETYPE"] = one
        with (
            # not forked from a process that has loaded its kernels
            dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            os.environ["OPENBLAS_CORETYPE"] = other
            cluster.scale(4)
            client.wait_for_workers(4)
            yield client
    finally:
        os.environ.pop("OPENBLAS_CORETYPE", None)
        if before is not None:
            os.environ["OPENBLAS_CORETYPE"] = before


def of_two_kernels(kernels: tuple[str, str], n_fits: int) -> dict[str, Any]:
    """Run honest fits on workers that do not all round alike, and count."""
    n_all = n_disputes = n_close = 0
    worst = 0.0
    with mixed_cluster(*kernels) as client:
        for seed in range(n_fits):
            X, y = data_set(2000, seed)
            with place(X, y, code=FractionalRepetition(4, 3), client=client) as data:
                alike, *_ = fitted(data, 0)
                coef, objective, _ = fitted(data, 1 + seed % 3)
            n_all += n_rounds(objective)
            n_disputes += len(objective.hearings)
            found = [log.minutes for log in objective.logs if log.minutes is not None]
            n_close += sum(len(minutes.close) for minutes in found)
            worst = max(worst, float(np.abs(coef - alike).max() / np.abs(alike).max()))
    return {
        "kernels": " and ".join(kernels),
        "honest fits": n_fits,
        "rounds": n_all,
        "sums equal but for rounding": n_close,
        "disputes": n_disputes,
        "relative difference": worst,
    }


def draw(tables: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw how a fit goes, and what agreement takes beside a majority."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 3, figsize=(12, 3.6), layout="constrained", width_ratios=[2, 1, 1]
    )
    rows = tables[BY_ROUND]
    styles = (
        ("-", "#8c8c8c", 5.0),
        ("-", "#d1495b", 1.6),
        ("-", "#1d6fb8", 1.6),
        ("--", "#f59e0b", 1.6),
    )
    for name, (style, colour, width) in zip(list(rows[0])[1:], styles, strict=True):
        away = [row[name] for row in rows if row[name] is not None]
        axes[0].semilogy(away, style, color=colour, linewidth=width, label=name)
    axes[0].axvline(5, color="black", linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="round", ylabel="distance to the optimum")
    axes[0].set_title("gradient descent, one of six lies from round 5 on", fontsize=10)
    axes[0].legend(frameon=False, fontsize=8)
    some = {row["b"]: row for row in tables["Fits with liars"]}
    ours, theirs = (
        ("work and memory", "kB of sums a round"),
        ("those of a majority", "of a majority"),
    )
    titles = "work and memory, in copies", "kB of sums a round"
    for axis, mine, other, title in zip(axes[1:], ours, theirs, titles, strict=True):
        for shift, name, colour, label in (
            (-0.2, mine, "#1d6fb8", "verify=b"),
            (0.2, other, "#8c8c8c", "a majority"),
        ):
            heights = [row[name] for row in some.values()]
            axis.bar([b + shift for b in some], heights, 0.36, color=colour, label=label)
        axis.set(xlabel="liars b", xticks=list(some))
        axis.set_title(title, fontsize=10)
    axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.25, axis="y")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--rows", type=at_least(600), default=24_000)
    parser.add_argument("--honest", type=at_least(0), default=50, metavar="N")
    parser.add_argument("--mixed", type=at_least(0), default=60, metavar="N")
    options = parser.parse_args()
    with cluster() as client:
        tables = {
            BY_ROUND: by_round(client, options.rows),
            "Fits with liars": with_liars(client, options.rows),
            "Honest fits": honest(client, options.honest),
        }
    if options.mixed:
        each = -(-options.mixed // len(KERNELS))
        mixed = [of_two_kernels(kernels, each) for kernels in KERNELS]
        tables["Honest fits on two kernels of OpenBLAS"] = mixed
    write(options.out, "byzantine", tables)
    draw(tables, options.out / "byzantine.png")


if __name__ == "__main__":
    main()
