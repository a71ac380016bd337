"""Adaptive Gradient Coding (Cao, Yan, Tang, Han; arXiv 2006.04845): how much is sent, and how fast.

    python examples/papers/agc.py [--out DIR] [--rate 4e6] [--size 2000000] [--rounds 4] [--quick]

The paper's claim: where ``r`` workers hold each block and ``s'`` are late, ``p / (r - s')`` numbers
of each of the others are enough, and its scheme sends no more, without knowing ``s'`` beforehand.

First, on a virtual clock, rounds of 60 workers, of which others are late in each: what each worker
of a group has sent, against the bound. Then twelve real worker processes, three a group, whose
uplinks take RATE bytes a second: how long a round takes, whose payload is SIZE numbers, while
nobody, one or two of each group never answer. ``fractional`` sends whole sums, ``fixed`` sums of
two slices of which any two of a group are enough, ``sliced`` asks for slices.

DIR gets agc.json and agc.png; it is this folder if not given.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from report import at_least, write

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Throttle, inject
from dask_gradcode.codes import FractionalRepetition, GradientCode, SlicedRepetition
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import NeverAnswers, StragglerModel
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block

N, R = 12, 3
CODES: dict[str, GradientCode] = {
    "fractional": FractionalRepetition(N, R - 1),
    "fixed, m = 2": SlicedRepetition(N, R - 2, n_slices=2),
    "sliced": SlicedRepetition(N, R - 1),
}


def sent_by(code: GradientCode, record: RoundRecord) -> Counter[int]:
    """How much of a payload each worker has sent in a round."""
    sent: Counter[int] = Counter()
    for answer in record.answers:
        sent[answer.role] += Fraction(1, code.messages[answer.message].slices.n_slices)
    return sent


# ---------------------------------------------------------------- on a virtual clock


def simulated(r: int, n_rounds: int = 200, n: int = 60) -> Iterator[dict[str, Any]]:
    """Yield for each ``s'`` what workers of groups with as many late ones have sent."""
    code, rng = SlicedRepetition(n, r - 1), np.random.default_rng(0)
    found: dict[int, list[Fraction]] = {}
    for _ in range(n_rounds):
        late = [
            worker
            for group in range(0, n, r)
            for worker in group + rng.permutation(r)[: rng.integers(r)]
        ]
        model = NeverAnswers(workers=late) if late else StragglerModel()
        *_, record = simulate(code, model, n_rounds=2, work=1.0, upload=1.0)
        sent = sent_by(code, record)
        for group in range(0, n, r):
            ready = [worker for worker in range(group, group + r) if worker not in late]
            found.setdefault(r - len(ready), []).extend(sent[worker] for worker in ready)
    for s, values in sorted(found.items()):
        yield {
            "r": r,
            "s'": s,
            "bound, p / (r - s')": f"p / {r - s}",
            "least sent": str(min(values)),
            "most sent": str(max(values)),
        }


# ---------------------------------------------------------------- real processes


def long_sum(w: Vector, block: Block) -> tuple[float, Vector]:
    """Return a gradient that takes no time to compute, to speak of."""
    return float(block.n_rows), np.full(w.size, block.X[0, 0])


def measured(client: Client, size: int, rate: float, n_rounds: int) -> Iterator[dict[str, Any]]:
    """Yield how long rounds take, by code and by how many of each group are late."""
    X, w = np.arange(float(N))[:, None], np.zeros(size - 1)
    for name, code in CODES.items():
        with (
            place(X, np.arange(N) % 2, code=code, client=client) as data,
            ClusterObjective(data, long_sum) as objective,
        ):
            for s in range(code.n_stragglers + 1):
                late = [group + i for group in range(0, N, R) for i in range(R - s, R)]
                model = NeverAnswers(workers=late) if late else StragglerModel()
                with inject(client, model):
                    bare = [objective(w).record.seconds for _ in range(n_rounds)]
                    with inject(client, Throttle(rate)):
                        records = [objective(w).record for _ in range(n_rounds)]
                assert np.allclose(objective(w).gradient, X.sum())
                ready = [worker for worker in range(N) if worker not in late]
                sent = [sent_by(code, record)[i] for record in records[1:] for i in ready]
                usual = median(record.seconds for record in records[1:])
                yield {
                    "code": name,
                    "s'": s,
                    "bound, of p": f"1 / {R - s}",
                    "sent, of p (median)": str(median(x for x in sent if x)),
                    "bound at that rate (s)": 8 * size / (rate * (R - s)),
                    "round (s)": usual,
                    "first such round (s)": records[0].seconds,
                    "round, links not slow (s)": median(bare[1:]),
                }


def draw(rows: Sequence[dict[str, Any]], path: Path, size: int, rate: float) -> None:
    """Draw how long rounds take, and what the paper's bound allows."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for place_, name in enumerate(CODES):
        mine = [row for row in rows if row["code"] == name]
        at = [row["s'"] + 0.27 * (place_ - 1) for row in mine]
        ax.bar(at, [row["round (s)"] for row in mine], width=0.25, label=name)
    for s in range(R):
        bound = 8 * size / (rate * (R - s))
        label = "p / (r - s') at that rate" if s == 0 else None
        ax.plot([s - 0.42, s + 0.42], [bound, bound], "k--", label=label)
    ax.set(xlabel="late workers in each group of three", ylabel="seconds a round")
    ax.set_xticks(range(R))
    ax.set_title(f"{N} processes, {rate / 1e6:g} MB/s each, payload {8 * size / 1e6:g} MB")
    ax.set_ylim(top=1.35 * ax.get_ylim()[1])  # room for the legend
    ax.legend(ncols=2, loc="upper right")
    figure.savefig(path, dpi=150)


def rate(text: str) -> float:
    """Return an uplink's bytes a second; ValueError if there is no such one."""
    return float(Throttle(float(text)).bytes_per_second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--rate", type=rate, default=4e6, help="bytes a second of each worker")
    parser.add_argument(
        "--size", type=at_least(R + 1), default=2_000_000, help="numbers of a payload"
    )
    parser.add_argument("--rounds", type=at_least(2), default=4)
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.size, options.rate, options.rounds = 20_000, 1e6, 3
    n_rounds = 5 if options.quick else 200
    virtual = [row for r in (2, 3, 4, 5) for row in simulated(r, n_rounds)]
    with (
        LocalCluster(n_workers=N, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        real = list(measured(client, options.size, options.rate, options.rounds))
    tables = {"Sent by workers, 60 on a virtual clock": virtual, f"{N} processes": real}
    write(options.out, "agc", tables)
    draw(real, options.out / "agc.png", options.size, options.rate)


_Raw = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
