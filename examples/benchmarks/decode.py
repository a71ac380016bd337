"""How long the decode weights of one round take, against least squares on ``B``.

The reference is what the paper's authors run each round, ``numpy.linalg.lstsq(B[arrived].T, 1)``.
Both are timed in turn in this process: one least squares, then decodes of SETS sets of stragglers.
Medians are shown, of all decodes and of the first of each turn, when the least squares has emptied
the processor's caches. The ratio is that of all decodes.

    python examples/benchmarks/decode.py [--json PATH]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from common import about
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode

N_STRAGGLERS = 3
SETS = 20
BUDGETS = {1000: 2000}  # n_workers -> how many times faster than least squares


def compare(code: GradientCode, repeats: int) -> dict[str, float | str | int | None]:
    rng = np.random.default_rng(0)
    encoding, ones = code.encoding_matrix, np.ones(code.n_blocks)
    seconds, first, reference, residuals = [], [], [], []
    for _ in range(repeats):
        decoders = []
        for _ in range(SETS):
            arrived = np.ones(code.n_workers, dtype=bool)
            arrived[rng.choice(code.n_workers, code.n_stragglers, replace=False)] = False
            decoder = code.decoder()
            for message in np.flatnonzero(arrived).tolist():
                decoder.add(message)  # spread over the round's arrivals, not part of the decode
            decoders.append(decoder)
        start = perf_counter()
        np.linalg.lstsq(encoding[arrived].T, ones, rcond=None)
        reference.append(perf_counter() - start)
        turn = []
        for decoder in decoders:
            start = perf_counter()
            decoding = decoder.decode()
            turn.append(perf_counter() - start)
            residuals.append(decoding.residual)
        seconds += turn
        first.append(turn[0])
    return {
        "code": type(code).__name__,
        "n_workers": code.n_workers,
        "decode_seconds": median(seconds),
        "first_decode_seconds": median(first),
        "lstsq_seconds": median(reference),
        "ratio": median(reference) / median(seconds),
        "budget": BUDGETS.get(code.n_workers),
        "worst_residual": max(residuals),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures, versions and machine here")
    parser.add_argument("--repeats", type=int, default=25)
    arguments = parser.parse_args()
    path, repeats = arguments.json, arguments.repeats

    print(
        f"{'code':<22}{'n':>6}{'decode':>11}{'first':>11}{'lstsq':>11}{'ratio':>8}{'budget':>8}{'residual':>11}"
    )
    rows = []
    for n_workers in (10, 100, 1000):
        codes: list[GradientCode] = [CyclicRepetition(n_workers, N_STRAGGLERS)]
        if n_workers % (N_STRAGGLERS + 1) == 0:
            codes.append(FractionalRepetition(n_workers, N_STRAGGLERS))
        for code in codes:
            compare(code, 2)  # first calls fill caches
            rows.append(row := compare(code, repeats))
            print(
                f"{row['code']:<22}{n_workers:>6}{row['decode_seconds'] * 1e6:>8.1f} us"
                f"{row['first_decode_seconds'] * 1e6:>8.1f} us"
                f"{row['lstsq_seconds'] * 1e3:>8.2f} ms{row['ratio']:>8.0f}"
                f"{row['budget'] or '-':>8}{row['worst_residual']:>11.0e}"
            )
    if path:
        settings = {"n_stragglers": N_STRAGGLERS, "repeats": repeats}
        path.write_text(json.dumps({**about(), **settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
