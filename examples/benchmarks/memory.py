"""How much memory a worker needs, against what it holds: its load times the data.

    python examples/benchmarks/memory.py [--rows 400000] [--json PATH]

A lazy dask array of 100 dense features is placed on four worker processes with fractional
repetition, s = 1, and fitted. Each worker's resident memory (Linux's VmRSS, and VmHWM for peaks) is
taken above what it was before: while chunks are computed and placed, at rest, and in the fit.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from distributed import Client, LocalCluster

from common import about
from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition
from fit import data_set

BUDGETS = {"at rest": 1.3, "peak": 1.6}
N_WORKERS = 4


def memory(pid: int, name: str) -> int:
    """Return a line of a process's status in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise SystemExit("This benchmark needs Linux's /proc.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    code = FractionalRepetition(N_WORKERS, 1)
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        with place(*data_set(40_000, seed=0), code=code) as data:  # imports and first calls
            CodedLogisticRegression().fit(data)
        time.sleep(3)  # what was freed goes back to the system
        pids = list(client.run(os.getpid).values())
        idle = [memory(pid, "VmRSS") for pid in pids]
        X, y = data_set(arguments.rows, seed=1)
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        with place(X, y, code=code) as data:
            time.sleep(3)
            rest = [memory(pid, "VmRSS") for pid in pids]
            CodedLogisticRegression(tol=1e-6).fit(data)
            peak = [memory(pid, "VmHWM") for pid in pids]
    held = code.load * X.nbytes
    found = {
        "at rest": max(now - before for now, before in zip(rest, idle, strict=True)) / held,
        "peak": max(now - before for now, before in zip(peak, idle, strict=True)) / held,
    }
    print(f"load x data = {held / 1e6:.0f} MB; the largest of {N_WORKERS} workers, above idle:")
    for name, ratio in found.items():
        print(f"{name:<10}{ratio * held / 1e6:>6.0f} MB{ratio:>7.2f} (budget {BUDGETS[name]})")
    if arguments.json:
        result = {**about(), "held_bytes": held, "ratio": found}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
