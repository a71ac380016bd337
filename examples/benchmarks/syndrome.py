"""What it takes to see that the payloads of a cyclic code agree, and to locate one that is wrong.

The reference is the decoding of the same round: its weights, and the sum of the payloads by them.
Both are timed in turn in this process, with one BLAS thread, as rounds are; medians are shown.

    python examples/benchmarks/syndrome.py [--json PATH]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from common import about
from dask_gradcode.codes import CyclicRepetition
from dask_gradcode.codes.locating import locate
from dask_gradcode.codes.parity import ParityChecks
from dask_gradcode.kernels import one_blas_thread

N_STRAGGLERS = 3
SIZES = [(12, 1000), (12, 100_000), (12, 1_000_000), (60, 10_000), (60, 100_000)]


def compare(n_workers: int, n_entries: int, repeats: int) -> dict[str, float | int]:
    code, rng = CyclicRepetition(n_workers, N_STRAGGLERS), np.random.default_rng(0)
    sums = rng.standard_normal((n_workers, n_entries))
    payloads = {i: row @ sums for i, row in enumerate(code.encoding_matrix)}
    n_checked = n_workers - N_STRAGGLERS + 1
    first = {i: payloads[i] for i in range(n_checked)}
    arrived = np.arange(n_workers) < n_checked
    start = perf_counter()
    checks = ParityChecks(code)
    checks.agree(first)
    once = perf_counter() - start
    decoding, checking = [], []
    for _ in range(repeats):
        start = perf_counter()
        code.combine(code.decode(arrived), first)
        decoding.append(perf_counter() - start)
        start = perf_counter()
        is_fine = checks.agree(first)
        checking.append(perf_counter() - start)
        assert is_fine
    payloads[2] = payloads[2] + 1.0
    start = perf_counter()
    assert locate(checks, payloads) == (2,)
    return {
        "n_workers": n_workers,
        "n_entries": n_entries,
        "decode_seconds": median(decoding),
        "check_seconds": median(checking),
        "ratio": median(checking) / median(decoding),
        "first_check_seconds": once,
        "locate_seconds": perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--repeats", type=int, default=25)
    given = parser.parse_args()
    print("workers   entries   decode ms   check ms   ratio   locate ms")
    rows = []
    with one_blas_thread():
        for size in SIZES:
            rows.append(row := compare(*size, given.repeats))
            ms = [1e3 * row[f"{name}_seconds"] for name in ("decode", "check", "locate")]
            print(
                f"{row['n_workers']:7}{row['n_entries']:10}{ms[0]:12.3f}{ms[1]:11.3f}"
                f"{row['ratio']:8.2f}{ms[2]:12.1f}"
            )
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "about": about()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
