"""Audited fits with a liar among the workers: when it is found, and what audits cost.

    python examples/papers/audits.py [--out DIR] [--rows 24000] [--honest 50] [--turns 8]

With ``verify="audit"`` others compute again, beside the rounds, what one worker after another has
sent. Six worker processes, logistic regression by L-BFGS, declustered repetition, one liar of each
kind: when the lie was found, how many rounds were taken back, and how much was computed again.

Then what each way of finding liars costs while nobody lies: the work by counts, and the time of a
round by that of an uncoded one, in turns on the same workers. There the work is sleeping, so that
workers behave like machines of one core each: an audit that is computed beside a round makes it
longer. A majority of three (DRACO, Chen et al., ICML 2018, one liar) is three replicas that all
answer. The same for rounds of logistic regression, on as many rows and on ten times as many: these
share this machine's cores, and are short beside a check.

And as many honest fits as are asked for, on other data each: how often anybody was suspected.

DIR gets audits.json; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import Client
from liars import LIARS, N_FEATURES, N_WORKERS, cluster, data_set, fitted, n_rounds
from report import at_least, write

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, inject
from dask_gradcode.codes import (
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.work import Block

WAYS: dict[str, tuple[GradientCode, int | str, float]] = {  # and replicas that are computed
    "uncoded": (Uncoded(N_WORKERS), 0, 1.0),
    "declustered": (DeclusteredRepetition(N_WORKERS, 1), 0, 1.0),
    'declustered, verify="audit"': (DeclusteredRepetition(N_WORKERS, 1), "audit", 1.0),
    "fractional": (FractionalRepetition(N_WORKERS, 1), 0, 2.0),
    "fractional, verify=1": (FractionalRepetition(N_WORKERS, 1), 1, 2.0),
    "a majority of three": (FractionalRepetition(N_WORKERS, 2), 2, 3.0),
}


def with_audits(client: Client, n_rows: int) -> list[dict[str, Any]]:
    X, y = data_set(n_rows, seed=0)
    rows = []
    with place(X, y, code=DeclusteredRepetition(N_WORKERS, 1), client=client) as data:
        honest, *_ = fitted(data, 0)
        for name, how in {"nobody": None, **LIARS}.items():
            if how is not None and "together" in how:
                continue
            with ExitStack() as stack:
                if how is not None:
                    stack.enter_context(inject(client, Lies(workers=[1], **how)))
                coef, objective, _ = fitted(data, "audit")
            assert objective.audit is not None
            found = {one.what: one for one in objective.found}
            n_all = n_rounds(objective)
            expelled, back = found.get("expelled"), found.get("taken back")
            assert how is None or (expelled is not None and expelled.role == 1)
            rows.append(
                {
                    "liars": name,
                    "first lie in round": None if back is None else back.rounds[0],
                    "found in round": None if expelled is None else expelled.round,
                    "rounds taken back": 0 if back is None else len(back.rounds),
                    "rounds": n_all,
                    "chunks computed": sum(h.verdict.n_chunks for h in objective.hearings),
                    "kB of interaction": round(
                        sum(h.verdict.n_bytes for h in objective.hearings) / 1e3
                    ),
                    "difference": float(np.abs(coef - honest).max()),
                    "computed again": round(
                        objective.audit.n_blocks / (n_all * data.code.n_blocks), 3
                    ),
                }
            )
    return rows


def napping(seconds: float, n_rows: int) -> Callable[[np.ndarray, Block], Any]:
    """Return work that takes so long for so many rows, on the one core that a worker has."""

    def nap(w: np.ndarray, block: Block) -> tuple[float, np.ndarray]:
        core = vars(threading.main_thread()).setdefault("core", threading.Lock())
        with core:
            time.sleep(seconds / n_rows * block.n_rows)
        time.sleep(1e-4)  # whoever waits for the core has it next
        return float(block.n_rows), block.X.sum(axis=0)

    return nap


def costs(client: Client, n_turns: int, seconds: float = 0.2) -> list[dict[str, Any]]:
    n_rows = 48
    X, y = np.ones((N_WORKERS * n_rows, 3)), np.arange(N_WORKERS * n_rows) % 2
    nap, took = napping(seconds, n_rows), {name: list[float]() for name in WAYS}
    with ExitStack() as stack:
        objectives = {}
        for name, (code, verify, _) in WAYS.items():
            data = stack.enter_context(place(X, y, code=code, client=client))
            objectives[name] = stack.enter_context(ClusterObjective(data, nap, verify=verify))
        for _ in range(n_turns):
            for name, objective in objectives.items():
                for _ in range(N_WORKERS):
                    began = time.perf_counter()
                    objective(np.zeros(3))
                    took[name].append(time.perf_counter() - began)
                time.sleep(2 * seconds)  # what is computed beside rounds ends before others' turn
        rows = []
        for name, (code, _, replicas) in WAYS.items():
            n_all = n_turns * N_WORKERS
            audit = objectives[name].audit
            again = 0.0 if audit is None else audit.n_blocks / (n_all * code.n_blocks)
            rows.append(
                {
                    "how": name,
                    "work": round(replicas + again, 2),
                    "median round": round(median(took[name]) / median(took["uncoded"]), 2),
                }
            )
    return rows


def with_kernels(client: Client, n_rows: int, n_turns: int) -> list[dict[str, Any]]:
    """Time rounds of logistic regression, in which a check is long beside a round."""
    rows = []
    for size in (n_rows, 10 * n_rows):
        X, y = data_set(size, seed=0)
        took = {name: list[float]() for name in WAYS}
        with ExitStack() as stack:
            objectives = {}
            for name, (code, verify, _) in WAYS.items():
                data = stack.enter_context(place(X, y, code=code, client=client))
                how = ClusterObjective(data, Logistic(), verify=verify)
                objectives[name] = stack.enter_context(how)
            for turn in range(n_turns):
                for name, objective in objectives.items():
                    for number in range(2 * N_WORKERS):
                        began = time.perf_counter()
                        objective(np.full(N_FEATURES, 1e-3 * (turn + number)))
                        took[name].append(time.perf_counter() - began)
                    time.sleep(0.1)
        median_of = {name: median(each) for name, each in took.items()}
        rows += [
            {
                "rows": size,
                "how": name,
                "ms a round": round(1e3 * median_of[name], 1),
                "to the code alone": round(median_of[name] / median_of[name.split(",")[0]], 2),
            }
            for name in WAYS
            if "verify" in name
        ]
    return rows


def honest(client: Client, n_fits: int) -> dict[str, int]:
    """Run honest fits, and count how often anybody was suspected."""
    n_all = n_checks = n_disputes = 0
    for seed in range(n_fits):
        X, y = data_set(600, seed)
        code = DeclusteredRepetition(N_WORKERS, 1 + seed % 2)
        with place(X, y, code=code, client=client) as data:
            _, objective, _ = fitted(data, "audit")
        assert objective.audit is not None
        n_all += n_rounds(objective)
        n_checks += objective.audit.recounting.n_checks
        n_disputes += len(objective.hearings)
    return {"fits": n_fits, "rounds": n_all, "audits": n_checks, "disputes": n_disputes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--rows", type=at_least(600), default=24_000)
    parser.add_argument("--honest", type=at_least(0), default=50, metavar="N")
    parser.add_argument("--turns", type=at_least(1), default=8, metavar="N")
    options = parser.parse_args()
    with cluster() as client:
        tables = {
            "What it costs": costs(client, options.turns),
            "In short rounds": with_kernels(client, options.rows, options.turns),
            "Audited fits": with_audits(client, options.rows),
            "Honest fits": [honest(client, options.honest)],
        }
    write(options.out, "audits", tables)


if __name__ == "__main__":
    main()
