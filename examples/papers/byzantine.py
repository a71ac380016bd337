"""Workers that send wrong sums: who is found, when, and what that takes.

    python examples/papers/byzantine.py [--out DIR] [--rows 24000] [--honest 50] [--turns 8]

Hofmeister, Massny, Yaakobi and Bitar, "Byzantine-Resilient Gradient Coding through Local Gradient
Computations" (arXiv 2401.02380): ``b`` faulty workers need ``b + 1`` replicas, where a majority of
them (DRACO, Chen et al., ICML 2018) needs ``2 b + 1``, if the client may compute a few gradients
itself. Here it computes no gradient of a block, but one chunk of its rows.

Six worker processes, logistic regression by L-BFGS; ``verify=b`` for b = 1 and 2, and b liars of
each kind. The table says in which round each was expelled, how many chunks the client computed, how
many bytes travelled for that, and the largest difference of a coefficient to the honest fit. Then
as many honest fits of each kind as are asked for, on other data each: how many disputes there were.

The same liars, one of six workers, in audited fits (``verify="audit"``, declustered repetition):
when the lie was found, how many rounds were taken back, and how much was computed again.

And what each way costs with nobody lying: the work by counts, and the time of a round by that of an
uncoded one, in turns on the same workers. There the work is sleeping, so that workers behave like
machines of one core each: an audit that is computed beside a round makes it longer. A majority of
three (DRACO, one liar) is three replicas that all answer.

DIR gets byzantine.json; it is this folder if not given.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from report import write

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Lies, Placement, inject
from dask_gradcode.codes import (
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import LBFGS, Solution
from dask_gradcode.work import Block

N_WORKERS, N_FEATURES = 6, 100
LIARS = {
    "random numbers": {"kind": "random"},
    "wrong sign": {"kind": "sign"},
    "one chunk": {"kind": "chunk"},
    "wrong copy of the rows": {"kind": "copy"},
    "truthful at first": {"kind": "chunk", "from_round": 5},
    "the same lie together": {"kind": "random", "together": True},
}


def data_set(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, N_FEATURES)) * 10.0 ** rng.integers(-1, 2, N_FEATURES)
    y = X @ rng.standard_normal(N_FEATURES) / 10 + rng.logistic(size=n_rows) > 0
    return X, y.astype(int)


def fitted(data: Placement, verify: int | str) -> tuple[np.ndarray, ClusterObjective]:
    """Return coefficients, and the objective they were found by."""
    with ClusterObjective(data, Logistic(), verify=verify) as objective:
        scale = 1.0 / data.n_samples
        penalised = Penalised(objective, scale=scale, alpha=1e-4, n_penalised=N_FEATURES)

        def run() -> Solution:
            return LBFGS().minimize(penalised, np.zeros(N_FEATURES), max_iter=40, tol=1e-6)

        found = objective.audited(run, lambda solution: solution.w)
    return found.w, objective


def with_liars(client: Client, n_rows: int) -> list[dict[str, Any]]:
    X, y = data_set(n_rows, seed=0)
    rows = []
    for b in (1, 2):
        with place(X, y, code=FractionalRepetition(N_WORKERS, b), client=client) as data:
            honest, _ = fitted(data, 0)
            for name, how in LIARS.items():
                if "together" in how and b == 1:
                    continue
                lies = Lies(workers=list(range(b)), **how)  # of one group
                with inject(client, lies):
                    coef, objective = fitted(data, b)
                hearings = objective.hearings
                expelled = {role: h.round for h in hearings for role in h.verdict.wrong}
                rows.append(
                    {
                        "b": b,
                        "liars": name,
                        "expelled in round": " and ".join(map(str, expelled.values())),
                        "chunks computed": sum(h.verdict.n_chunks for h in hearings),
                        "kB of interaction": round(sum(h.verdict.n_bytes for h in hearings) / 1e3),
                        "difference": float(np.abs(coef - honest).max()),
                        "replicas": b + 1,
                        "of a majority": 2 * b + 1,
                    }
                )
                assert sorted(expelled) == list(lies.workers)
    return rows


def with_audits(client: Client, n_rows: int) -> list[dict[str, Any]]:
    X, y = data_set(n_rows, seed=0)
    rows = []
    with place(X, y, code=DeclusteredRepetition(N_WORKERS, 1), client=client) as data:
        honest, _ = fitted(data, 0)
        for name, how in {"nobody": None, **LIARS}.items():
            if how is not None and "together" in how:
                continue
            with ExitStack() as stack:
                if how is not None:
                    stack.enter_context(inject(client, Lies(workers=[1], **how)))
                coef, objective = fitted(data, "audit")
            assert objective.audit is not None
            found = {one.what: one for one in objective.found}
            n_rounds = 1 + max(log.number for log in objective.logs)
            expelled, back = found.get("expelled"), found.get("taken back")
            assert how is None or (expelled is not None and expelled.role == 1)
            rows.append(
                {
                    "liars": name,
                    "first lie in round": None if back is None else back.rounds[0],
                    "found in round": None if expelled is None else expelled.round,
                    "rounds taken back": 0 if back is None else len(back.rounds),
                    "rounds": n_rounds,
                    "chunks computed": sum(h.verdict.n_chunks for h in objective.hearings),
                    "kB of interaction": round(
                        sum(h.verdict.n_bytes for h in objective.hearings) / 1e3
                    ),
                    "difference": float(np.abs(coef - honest).max()),
                    "computed again": round(
                        objective.audit.n_blocks / (n_rounds * data.code.n_blocks), 3
                    ),
                }
            )
    return rows


WAYS: dict[str, tuple[GradientCode, int | str, float]] = {  # and replicas that are computed
    "uncoded": (Uncoded(N_WORKERS), 0, 1.0),
    "declustered": (DeclusteredRepetition(N_WORKERS, 1), 0, 1.0),
    'declustered, verify="audit"': (DeclusteredRepetition(N_WORKERS, 1), "audit", 1.0),
    "fractional": (FractionalRepetition(N_WORKERS, 1), 0, 2.0),
    "fractional, verify=1": (FractionalRepetition(N_WORKERS, 1), 1, 2.0),
    "a majority of three": (FractionalRepetition(N_WORKERS, 2), 2, 3.0),
}


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
            n_rounds = n_turns * N_WORKERS
            audit = objectives[name].audit
            again = 0.0 if audit is None else audit.n_blocks / (n_rounds * code.n_blocks)
            rows.append(
                {
                    "how": name,
                    "work": round(replicas + again, 2),
                    "median round": round(median(took[name]) / median(took["uncoded"]), 2),
                }
            )
    return rows


def honest(client: Client, n_fits: int) -> dict[str, int]:
    """Run honest fits, and count."""
    n_rounds = n_disputes = n_checks = 0
    for seed in range(n_fits):
        b = 1 + seed % 2
        X, y = data_set(600, seed)
        with place(X, y, code=FractionalRepetition(N_WORKERS, b), client=client) as data:
            _, objective = fitted(data, b)
            n_rounds += 1 + max(log.number for log in objective.logs)
            n_disputes += len(objective.hearings)
        with place(X, y, code=DeclusteredRepetition(N_WORKERS, b), client=client) as data:
            _, objective = fitted(data, "audit")
            assert objective.audit is not None
            n_rounds += 1 + max(log.number for log in objective.logs)
            n_checks += objective.audit.recounting.n_checks
            n_disputes += len(objective.hearings)
    return {
        "honest fits": 2 * n_fits,
        "rounds": n_rounds,
        "audits": n_checks,
        "disputes": n_disputes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--honest", type=int, default=50, metavar="N")
    parser.add_argument("--turns", type=int, default=8, metavar="N")
    options = parser.parse_args()
    logging.getLogger("dask_gradcode").setLevel(logging.ERROR)  # it tells of every liar
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        tables = {
            "What it costs": costs(client, options.turns),
            "Audited fits": with_audits(client, options.rows),
            "Fits with liars": with_liars(client, options.rows),
            "Honest fits": [honest(client, options.honest)],
        }
    write(options.out, "byzantine", tables)


if __name__ == "__main__":
    main()
