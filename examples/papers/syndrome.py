"""Liars among the workers of a cyclic code: what its syndrome tells of them.

    python examples/papers/syndrome.py [--out DIR] [--rows 24000] [--honest 50]

No two workers of a cyclic code (Tandon et al., ICML 2017) send the same. But of ``s`` answers more
than decoding needs one shows that something is wrong, and all locate up to ``s - 1`` liars that
have nothing to do with each other, without computing anything.

Six worker processes, logistic regression by L-BFGS; ``verify="syndrome"`` for s = 2 and 3, and
``s - 1`` liars of each kind. Then as many honest fits as are asked for, on other data each: how
often anybody was suspected.

DIR gets syndrome.json; it is this folder if not given.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from liars import LIARS, N_WORKERS, cluster, data_set, fitted, n_rounds
from report import at_least, write

from dask_gradcode import place
from dask_gradcode.cluster import Lies, inject
from dask_gradcode.codes import CyclicRepetition
from dask_gradcode.rounds import WrongSumsError


def with_liars(client: Client, n_rows: int) -> list[dict[str, Any]]:
    X, y = data_set(n_rows, seed=0)
    rows = []
    for s in (2, 3):
        with place(X, y, code=CyclicRepetition(N_WORKERS, s), client=client) as data:
            honest, *_ = fitted(data, 0)
            for name, how in LIARS.items():
                if "together" in how and s == 2:
                    continue
                lies = Lies(workers=list(range(s - 1)), **how)
                try:
                    with inject(client, lies):
                        coef, _, expelled = fitted(data, "syndrome")
                except WrongSumsError:
                    found, difference = "cannot be told: WrongSumsError", None
                else:
                    assert expelled.keys() <= set(lies.workers)
                    found = " and ".join(map(str, expelled.values())) or "is never among the first"
                    difference = float(np.abs(coef - honest).max() / np.abs(honest).max())
                rows.append(
                    {
                        "s": s,
                        "number of liars": s - 1,
                        "liars": name,
                        "expelled in round": found,
                        "relative difference": difference,
                    }
                )
    return rows


def honest(client: Client, n_fits: int) -> dict[str, Any]:
    """Run honest fits, and count in how many rounds anybody was suspected."""
    n_all = n_suspected = 0
    for seed in range(n_fits):
        X, y = data_set(600, seed)
        code = CyclicRepetition(N_WORKERS, 1 + seed % 3)
        with place(X, y, code=code, client=client) as data:
            _, objective, expelled = fitted(data, "syndrome")
        n_all += n_rounds(objective)
        n_suspected += len(expelled)
    return {"fits": n_fits, "rounds": n_all, "suspicions": n_suspected}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--rows", type=at_least(600), default=24_000)
    parser.add_argument("--honest", type=at_least(0), default=50, metavar="N")
    options = parser.parse_args()
    with cluster() as client:
        tables = {
            "By the syndrome": with_liars(client, options.rows),
            "Honest fits": [honest(client, options.honest)],
        }
    write(options.out, "syndrome", tables)


if __name__ == "__main__":
    main()
