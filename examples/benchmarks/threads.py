"""A round on one worker with two threads, against two bare processes with half of the rows each.

    python examples/benchmarks/threads.py [--rounds 21] [--quick] [--json PATH]

The data are dense, 400,000 x 100, or sparse, of about as many bytes: one-hot rows of 20 values, as
after encoding. Both sides use the same kernel with one BLAS thread, and take turns, a round each:

- the reference: two bare processes over sockets (``socket_loop.py``), each with half of the rows;
- a worker process with two threads and all rows, ``Uncoded(1)``, over a stream;
- the same with one thread, to see what the second one brings.

Figures are medians, the ratio is of the first two. It needs two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from scipy.sparse import csr_array

from common import about
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.codes import Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.work import Block
from socket_loop import SocketLoop

BUDGET = 1.10
COLUMNS, LEVELS, VALUES = 100, 500, 20  # of dense rows; of a sparse row's values, and how many


def dense(n_rows: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_rows, COLUMNS))


def sparse(n_rows: int) -> csr_array:
    """Return one-hot rows that take as many bytes: 12 for a stored value, 8 for a dense one."""
    n_rows = n_rows * COLUMNS * 8 // (VALUES * 12)
    levels = np.random.default_rng(0).integers(LEVELS, size=(n_rows, VALUES), dtype=np.int32)
    indices = (levels + LEVELS * np.arange(VALUES, dtype=np.int32)).ravel()
    indptr = np.arange(0, indices.size + 1, VALUES, dtype=np.int32)
    return csr_array((np.ones(indices.size), indices, indptr), shape=(n_rows, LEVELS * VALUES))


@contextmanager
def sockets(X: Any, y: np.ndarray) -> Iterator[Callable[[np.ndarray], float]]:
    """Start two bare processes with half of the rows each."""
    half = X.shape[0] // 2
    shards = {
        role: Shard(role, {role: Block(X[rows], y[rows])}, None, X.shape[1])
        for role, rows in enumerate((slice(0, half), slice(half, None)))
    }
    loop = SocketLoop(Uncoded(2), shards, X.shape[1], Logistic())
    try:
        yield loop.round
    finally:
        loop.close()


@contextmanager
def worker(X: Any, y: np.ndarray, n_threads: int) -> Iterator[Callable[[np.ndarray], float]]:
    """Start one worker with all rows."""
    with ExitStack() as stack:
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=1,
                threads_per_worker=n_threads,
                dashboard_address=":0",
                memory_limit=0,
            )
        )
        client = stack.enter_context(Client(cluster))
        data = stack.enter_context(place(X, y, code=Uncoded(1), client=client))
        data.wait(600)
        objective = stack.enter_context(ClusterObjective(data, Logistic()))

        def round_(w: np.ndarray) -> float:
            start = perf_counter()
            objective(w)
            return perf_counter() - start

        yield round_


def row(name: str, X: Any, rounds: int) -> dict[str, Any]:
    """Measure one kind of rows."""
    rng = np.random.default_rng(1)
    y = (rng.random(X.shape[0]) < 0.5).astype(float)
    with (
        sockets(X, y) as bare,  # first, as it forks
        worker(X, y, 1) as one,
        worker(X, y, 2) as two,
    ):
        took: dict[str, list[float]] = {"two processes": [], "two threads": [], "one thread": []}
        for _ in range(rounds + 2):
            w = 0.01 * rng.standard_normal(X.shape[1])
            for times, round_ in zip(took.values(), (bare, two, one), strict=True):
                times.append(round_(w))
    found: dict[str, Any] = {key: median(times[2:]) for key, times in took.items()}
    return {"rows": name, **found, "ratio": found["two threads"] / found["two processes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="of each side")
    parser.add_argument("--quick", action="store_true", help="5 rounds, 40,000 rows")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()
    rounds, n_rows = (5, 40_000) if arguments.quick else (arguments.rounds, 400_000)

    print(f"{'':<8}{'two processes':>15}{'two threads':>15}{'one thread':>15}{'ratio':>8}  budget")
    rows = []
    for name, make in (("dense", dense), ("sparse", sparse)):
        rows.append(found := row(name, make(n_rows), rounds))
        times = "".join(
            f"{found[key] * 1e3:>12.1f} ms"
            for key in ("two processes", "two threads", "one thread")
        )
        print(f"{name:<8}{times}{found['ratio']:>8.2f}  {BUDGET:.2f}", flush=True)
    if arguments.json:
        result = {**about(), "budget": BUDGET, "rounds": rounds, "n_rows": n_rows, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
