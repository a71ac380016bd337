"""The reference of ``rounds.py``: the paper authors' kind of loop, bare mpi4py with dense vectors.

    mpirun -n N+1 python examples/benchmarks/mpi_loop.py PATH N_STRAGGLERS

Rank 0 sends ``w`` to all, every other rank computes the messages of a fractional repetition code
with SciPy's public products, and rank 0 adds the first answer of each group. It reads numbers of
rounds from standard input and writes their times in seconds, one line of JSON each.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import numpy as np
from mpi4py import MPI
from scipy.special import expit
from threadpoolctl import threadpool_limits

from common import amazon

W, ANSWER = 1, 2


def main() -> None:
    comm = MPI.COMM_WORLD
    path, n_stragglers = sys.argv[1], int(sys.argv[2])
    n_workers, rank = comm.size - 1, comm.rank
    X, _, y, _ = amazon.load(path)
    with threadpool_limits(1):
        if rank == 0:
            lead(comm, X.shape[1], n_workers, n_stragglers + 1)
        else:
            worker = rank - 1
            first = worker - worker % (n_stragglers + 1)
            start, stop = (len(y) * edge // n_workers for edge in (first, first + n_stragglers + 1))
            follow(comm, X[start:stop], y[start:stop])


def lead(comm: MPI.Comm, n_features: int, n_workers: int, group_size: int) -> None:
    answers = np.empty((n_workers, n_features))
    comm.Barrier()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            w = np.random.default_rng(0).normal(size=n_features) * 1e-3
            start = perf_counter()
            sends = [comm.Isend(w, dest=1 + i, tag=W) for i in range(n_workers)]
            receives = [comm.Irecv(answers[i], source=1 + i, tag=ANSWER) for i in range(n_workers)]
            seen: set[int] = set()
            total = np.zeros(n_features)
            while len(seen) < n_workers // group_size:
                worker = MPI.Request.Waitany(receives)
                if worker // group_size not in seen:
                    seen.add(worker // group_size)
                    total += answers[worker]
            seconds.append(perf_counter() - start)
            MPI.Request.Waitall(receives)
            MPI.Request.Waitall(sends)
        print(json.dumps(seconds), flush=True)
    for i in range(n_workers):
        comm.Send(np.full(n_features, np.nan), dest=1 + i, tag=W)


def follow(comm: MPI.Comm, X: object, y: np.ndarray) -> None:
    w = np.empty(X.shape[1])
    comm.Barrier()
    while True:
        comm.Recv(w, source=0, tag=W)
        if np.isnan(w[0]):
            return
        comm.Send(X.T @ (expit(X @ w) - y), dest=0, tag=ANSWER)


main()
