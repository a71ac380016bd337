"""Placing data that come in many small chunks, against persisting such data in the same run.

    python examples/benchmarks/many_chunks.py [--chunks 800 4000] [--repeats 5]

Four worker processes of one thread; fractional repetition, s = 1; 100 rows of 10 features a chunk.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter, sleep
from typing import Any

import dask.array as da
from distributed import Client, LocalCluster, wait

from dask_gradcode import place

BUDGET = 3.0
N_ROWS, N_FEATURES, N_WORKERS = 100, 10, 4


def data_set(n_chunks: int, seed: int) -> tuple[da.Array, da.Array]:
    """Return lazy features and labels, which nobody has computed yet if the seed is new."""
    rng = da.random.default_rng(seed)
    X = rng.normal(size=(n_chunks * N_ROWS, N_FEATURES), chunks=(N_ROWS, -1))
    y = rng.integers(0, 2, size=n_chunks * N_ROWS, chunks=N_ROWS)
    return X, y


def persisting(client: Client, X: Any, y: Any) -> float:
    start = perf_counter()
    held = client.persist([X, y])
    wait(held)
    return perf_counter() - start


def placing(X: Any, y: Any) -> float:
    start = perf_counter()
    with place(X, y, n_stragglers=1) as data:
        data.wait()
        return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", type=int, nargs="+", default=[800, 4000])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        placing(*data_set(8, seed=0))  # what is imported is imported now
        for n_chunks in arguments.chunks:
            pairs = []
            for repeat in range(arguments.repeats):
                sleep(1.0)  # the workers free meanwhile what was let go before
                persisted = persisting(client, *data_set(n_chunks, seed=2 * repeat + 1))
                sleep(1.0)
                pairs.append((persisted, placing(*data_set(n_chunks, seed=2 * repeat + 2))))
            ratio = median(placed / persisted for persisted, placed in pairs)
            persisted, placed = (median(times) for times in zip(*pairs, strict=True))
            print(
                f"{n_chunks} chunks: persisted in {persisted:.2f} s, placed in {placed:.2f} s, "
                f"ratio {ratio:.2f} (budget {BUDGET})"
            )


if __name__ == "__main__":
    main()
