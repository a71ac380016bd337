"""Train on rows that are more than the workers' memory, while one worker is killed.

    python examples/larger_than_memory.py                # three times the workers' memory limits
    python examples/larger_than_memory.py --times 0.1    # a small one, of which memory would do
    python examples/larger_than_memory.py --limit 4GiB --workers 8

The chunks are computed on the workers, one by one, and written to their disks (storage="disk"). The
same model is fitted twice: undisturbed, and while a worker is killed (SIGKILL) on the way. What
each worker process needs of memory is watched from outside.

What trains is imported in functions: the workers of a LocalCluster import this file as it begins,
and would hold scikit-learn, pandas and all else for nothing.
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from typing import Any

import numpy as np
import psutil
from dask.utils import format_bytes, parse_bytes
from distributed import Client, LocalCluster

N_FEATURES = 200
CHUNK = 2**23  # bytes


def rows(nbytes: int) -> tuple[Any, Any]:
    """Return lazy rows of so many bytes, and labels."""
    import dask.array as da
    from dask import delayed

    def make(start: int, stop: int) -> Any:
        return np.random.default_rng(start).standard_normal((stop - start, N_FEATURES))

    n_rows, n_chunks = nbytes // (8 * N_FEATURES), max(1, nbytes // CHUNK)
    ends = [n_rows * i // n_chunks for i in range(n_chunks + 1)]
    chunks = [
        da.from_delayed(delayed(make)(a, b), (b - a, N_FEATURES), dtype=float)
        for a, b in pairwise(ends)
    ]
    X = da.concatenate(chunks)
    return X, (X[:, 0] - X[:, 1] + X[:, 2] ** 2 > 1.0).astype(int)


def main() -> None:
    from dask_gradcode import CodedLogisticRegression, estimate, place
    from killing import Killing
    from watching import Watch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=float, default=3.0, help="the data in memory limits")
    parser.add_argument("--limit", type=parse_bytes, default="512 MiB", help="of each worker")
    parser.add_argument("--workers", type=int, default=3, help="two at least: one is killed")
    arguments = parser.parse_args()
    n, limit = arguments.workers, arguments.limit
    X, y = rows(int(arguments.times * n * limit))
    print(f"data:   {X.shape[0]:,} rows x {N_FEATURES} features, {format_bytes(X.nbytes)}")
    with (
        LocalCluster(
            n_workers=n, threads_per_worker=1, memory_limit=limit, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        print(estimate(X, y, code="declustered", n_stragglers=1))
        pids = client.run(os.getpid)
        idle = max(psutil.Process(pid).memory_info().rss for pid in pids.values())
        killing = Killing()
        with (
            Watch(list(pids.values())) as watch,
            place(X, y, code="declustered", n_stragglers=1, storage="disk") as data,
        ):
            data.wait()
            print(f"idle:   a worker has {idle / limit:.0%} of its memory limit")
            print(f"placed: no worker had more than {watch.most / limit:.0%} of its limit")
            watch.most = 0
            model = CodedLogisticRegression(max_iter=500).fit(data)
            print(f"fitted: {len(model.history_)} rounds, {watch.most / limit:.0%} of the limit")
            killing.pid = pids[data.addresses[1]]
            again = CodedLogisticRegression(max_iter=500, solver=killing).fit(data)
    lost = sum(bool(record.lost) for record in again.history_)
    print(f"again:  {len(again.history_)} rounds, {lost} with a loss")
    print(f"largest difference of a coefficient: {np.abs(again.coef_ - model.coef_).max():.1e}")


if __name__ == "__main__":
    main()
