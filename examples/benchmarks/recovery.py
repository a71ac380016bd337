"""How long it takes from a worker's death until the code tolerates s stragglers again.

    python examples/benchmarks/recovery.py --data PATH [--json PATH]

PATH is train.csv of Amazon employee access; n = 4 with nannies, fractional repetition, s = 1. While
rounds go on one worker after another is killed (SIGKILL). The reference, of the same deaths: the
time until its nanny has a new worker in the cluster, plus twice the time that it takes to copy one
shard to another worker by a Dask task, while rounds go on too. Rounds meanwhile are compared with
the median round.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import dask.config
import numpy as np
from distributed import Client, LocalCluster

from common import about, amazon
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Logistic

BUDGET = 1.0
N_WORKERS, DEATHS = 4, 5


def copy_seconds(
    client: Client, data: Placement, role: int, one_round: Callable[[], float]
) -> float:
    """Return how long a Dask task takes to bring a role's shard to another worker."""
    other = next(a for r, a in data.addresses.items() if r // 2 != role // 2)
    start = perf_counter()
    copy: Any = client.submit(len, [data.shards[role]], workers=[other], pure=False)
    done: list[float] = []
    copy.add_done_callback(lambda _: done.append(perf_counter()))
    while not done:
        one_round()
    return done[0] - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="train.csv of Amazon employee access")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    arguments = parser.parse_args()

    X, _, y, _ = amazon.load(arguments.data)
    w = np.random.default_rng(0).normal(size=X.shape[1]) * 1e-3
    restarts, copies, restored, longest, rounds = [], [], [], [], []
    with (
        # else the cluster closes a nanny whose worker is away 15 s after an earlier death
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(X, y, code=FractionalRepetition(N_WORKERS, 1)) as data,
        ClusterObjective(data, Logistic()) as objective,
    ):

        def one_round() -> float:
            start = perf_counter()
            objective(w)
            return perf_counter() - start

        for death in range(DEATHS):
            rounds += [one_round() for _ in range(50)]
            role = death % N_WORKERS
            copies.append(copy_seconds(client, data, role, one_round))
            known, address = set(client.run(os.getpid)), data.addresses[role]
            os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)
            start, came, during = perf_counter(), None, []
            while came is None or data.lost or data.addresses[role] == address:
                during.append(one_round())
                if came is None and set(client.scheduler_info(n_workers=-1)["workers"]) - known:
                    came = perf_counter() - start
            restored.append(perf_counter() - start)
            restarts.append(came)
            longest.append(max(during))

    reference = [restart + 2 * copy for restart, copy in zip(restarts, copies, strict=True)]
    ratio = median(mine / other for mine, other in zip(restored, reference, strict=True))
    print(f"nanny's new worker after {median(restarts):.2f} s, a copy takes {median(copies):.3f} s")
    print(f"death to s restored      {median(restored):.2f} s, ratio {ratio:.2f} (budget {BUDGET})")
    limit = 3 * median(rounds) + 0.1
    print(f"longest round meanwhile  {max(longest) * 1e3:.0f} ms, limit {limit * 1e3:.0f} ms")
    if arguments.json:
        result = {**about(), "restored": restored, "reference": reference, "ratio": ratio}
        result |= {"longest_round": max(longest), "round": median(rounds)}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
