"""A round whose rows are on the workers' disks, against one whose rows are in memory.

    python examples/benchmarks/disk.py [--rows 400000] [--rounds 15] [--json PATH]

The same dense and sparse rows are placed twice on two worker processes, uncoded, and the rounds of
both go in turns, so that they share the machine's moods. Before a *cold* round the files are put
out of the system's cache (posix_fadvise, on the workers); before a *warm* one they have been read
once. The sums are compared bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse
from distributed import Client, LocalCluster

from common import about
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.codes import Uncoded
from dask_gradcode.losses import Logistic

N_WORKERS = 2
N_CHUNKS = 20


def rows_of(kind: str, n_rows: int) -> tuple[Any, Any]:
    """Return lazy rows, dense with 100 features or CSR with 100 of 20,000 stored, and targets."""

    def make(start: int, stop: int) -> Any:
        rng = np.random.default_rng(start)
        values = rng.standard_normal((stop - start, 100))
        if kind == "dense":
            return values
        columns = np.sort(rng.integers(0, 20_000, size=values.shape), axis=1)
        ends = np.arange(0, values.size + 1, 100)
        arrays = values.ravel(), columns.ravel().astype(np.int32), ends
        return scipy.sparse.csr_array(arrays, shape=(stop - start, 20_000))

    width = 100 if kind == "dense" else 20_000
    meta = np.zeros((0, width)) if kind == "dense" else scipy.sparse.csr_array((0, width))
    borders = [n_rows * i // N_CHUNKS for i in range(N_CHUNKS + 1)]
    chunks = [
        da.from_delayed(dask.delayed(make)(start, stop), (stop - start, width), meta=meta)
        for start, stop in pairwise(borders)
    ]
    y = np.random.default_rng(0).integers(0, 2, n_rows)
    return da.concatenate(chunks), da.from_array(y, n_rows // N_CHUNKS)


def put_out_of_cache(dask_worker: Any) -> int:
    """Have the system forget the worker's files, which have no names; return how many there are."""
    n_files = 0
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            path = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if path.startswith(os.path.realpath(dask_worker.local_directory)):
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            n_files += 1
    return n_files


def seconds_of(objective: ClusterObjective, w: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    gradient = objective(w).gradient
    return time.perf_counter() - began, gradient


def compare(client: Client, kind: str, n_rows: int, n_rounds: int) -> dict[str, float]:
    """Return the median seconds of rounds in memory, from the cache, and from the disk."""
    X, y = rows_of(kind, n_rows)
    found: dict[str, list[float]] = {"memory": [], "warm": [], "cold": []}
    with (
        place(X, y, code=Uncoded(N_WORKERS), storage="memory") as in_memory,
        place(X, y, code=Uncoded(N_WORKERS), storage="disk") as on_disk,
        ClusterObjective(in_memory, Logistic()) as memory,
        ClusterObjective(on_disk, Logistic()) as disk,
    ):
        w = np.zeros(X.shape[1])
        memory(w), disk(w)
        for _ in range(n_rounds):
            w = np.random.default_rng(len(found["warm"])).normal(size=w.size) / 10
            took, expected = seconds_of(memory, w)
            found["memory"].append(took)
            for name in ("cold", "warm"):
                if name == "cold" and not all(client.run(put_out_of_cache).values()):
                    raise SystemExit("The files on the workers' disks were not found.")
                took, gradient = seconds_of(disk, w)
                found[name].append(took)
                assert np.array_equal(gradient, expected)
    return {name: median(took) for name, took in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()
    if not hasattr(os, "posix_fadvise") or not os.path.isdir("/proc/self/fd"):
        raise SystemExit("This benchmark needs Linux's /proc and posix_fadvise.")
    results = {}
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for kind in ("dense", "sparse"):
            found = results[kind] = compare(client, kind, arguments.rows, arguments.rounds)
            print(f"{kind}, {arguments.rows:,} rows: memory {1e3 * found['memory']:.0f} ms a round")
            for name in ("warm", "cold"):
                print(f"  from disk, cache {name:<5}{found[name] / found['memory']:>6.2f} x memory")
    if arguments.json:
        result = {**about(), "rows": arguments.rows, "seconds": results}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
