"""The experiment of "Gradient Coding" (Tandon et al., ICML 2017), on real worker processes.

    python examples/tandon2017/reproduce.py --data PATH --out DIR [--quick]
    python examples/tandon2017/plot.py DIR

PATH is train.csv of Amazon employee access; without it scikit-learn fetches the table from OpenML.
DIR gets results.json and coefficients.json; a figure that is run again replaces its own rows there.
README.md beside this file says what is measured and what came out.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

from common import SCHEMES, SIMULATED, SIZES, Progress, Scheme, amazon, merge
from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import Placement, inject
from dask_gradcode.codes import Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.optimizers import Nesterov, Optimizer, Solution
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import FixedDelay, ParetoDelay, StragglerModel
from dask_gradcode.typing import Evaluation, Objective, Vector
from dask_gradcode.work import Block

DELAYS = (0, 2, 10)  # in plain rounds
TAIL_WORKERS = [n for n, _ in (*SIZES["tail"], *SIMULATED)]
SHAPE = 1.5  # of the Pareto delays
PAPER = Nesterov(momentum="paper", step=10.0)


@dataclass(frozen=True)
class Watched(Optimizer):
    """The paper's solver; it notes where it is after each iteration, and when."""

    progress: Progress
    points: list[Vector] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def minimize(
        self, objective: Objective, w0: Vector, *, max_iter: int, tol: float, **others: Any
    ) -> Solution:
        def note(n_iter: int, w: Vector, seen: Evaluation) -> None:
            self.times.append(perf_counter())
            self.points.append(w.copy())
            self.progress.step()

        self.times.append(perf_counter())
        return PAPER.minimize(objective, w0, max_iter=max_iter, tol=tol, callback=note)


class Experiment:
    """Data, cluster and options; each figure is a method that yields rows of results."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.options = arguments
        self.X, self.X_test, self.y, self.y_test = amazon.load(arguments.data)
        self.n_rounds, self.n_plain = (10, 10) if arguments.quick else (100, 30)
        self.progress = Progress()
        self.coefficients: list[dict[str, Any]] = []
        self._exact: dict[int, Vector] = {}  # the naive scheme's coefficients, by n_workers

    # ---- figures

    def delay(self) -> Iterator[dict[str, Any]]:
        """Measure with the same s workers late in every round, by 0, 2 and 10 plain rounds."""
        n = SIZES["delay"][0][0]  # the same for all s
        with self.workers(n) as client:
            if client is None:
                return
            plain = self.plain_round(client, n)
            for scheme, s, data in self.placed(client, SIZES["delay"]):
                for factor in DELAYS:
                    model = FixedDelay(factor * plain, workers=range(s))
                    run = self.run(client, data, scheme, s, model, f"{factor}x late")
                    yield self.row("delay", scheme, n, s, factor * plain, run)

    def tail(self) -> Iterator[dict[str, Any]]:
        """Measure with every worker late in every round, by delays with a heavy tail."""
        for n, s in SIZES["tail"]:
            if n not in self.options.sizes:
                continue
            with self.workers(n) as client:
                if client is None:
                    continue
                plain = self.plain_round(client, n)
                for scheme, _, data in self.placed(client, [(n, s)]):
                    model, scale = self.heavy(plain)
                    run = self.run(client, data, scheme, s, model, "heavy tail")
                    yield self.row("tail", scheme, n, s, scale, run)
        plain = self.one_pass()  # who has many workers has more data, too
        for n, s in SIMULATED:
            if n in self.options.sizes:
                yield from self.simulated(n, s, plain)

    def auc(self) -> Iterator[dict[str, Any]]:
        """Measure how good the model is after how long, with the delays of ``tail``."""
        ((n, s),) = SIZES["auc"]
        with self.workers(n) as client:
            if client is None:
                return
            plain = self.plain_round(client, n)
            for scheme, _, data in self.placed(client, [(n, s)]):
                model, scale = self.heavy(plain)
                run = self.run(client, data, scheme, s, model, "AUC")
                last = self.row("auc", scheme, n, s, scale, run)
                for i in [0, *range(4, self.n_rounds, 5)]:
                    seconds = run.times[i + 1] - run.times[0]
                    yield last | {"auc": self.score(run.points[i]), "seconds": seconds}

    def simulated(self, n: int, s: int, plain: float) -> Iterator[dict[str, Any]]:
        """Simulate the heavy tail, where a plain round takes as long as given."""
        for scheme in SCHEMES:
            if not scheme.feasible(n, s):
                continue
            self.progress.say(f"simulated, n = {n}, s = {s}, {scheme.name}")
            history = simulate(
                scheme.code(n, s),
                ParetoDelay(SHAPE, plain, seed=0),
                wait=scheme.wait(n, s),
                n_rounds=self.n_rounds * 1000 // n,
                work=plain * n,
            )
            seconds = history.columns["seconds"]
            yield {
                "figure": "tail",
                "scheme": scheme.name,
                "n_workers": n,
                "n_stragglers": s,
                "delay_seconds": plain,
                "seconds_per_iteration": float(np.mean(seconds)),
                "auc": None,
                "seconds": float(np.sum(seconds)),
                "simulated": True,
            }

    # ---- what they are made of

    @contextmanager
    def workers(self, n: int) -> Iterator[Client | None]:
        """Give a client of at least n workers; None where the given cluster has fewer."""
        self.progress.say(f"starting {n} workers")
        with ExitStack() as stack:
            if self.options.client is None:
                cluster = LocalCluster(
                    n_workers=n,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=":0",
                    silence_logs=logging.ERROR,  # they would break the progress bar
                )
                client = stack.enter_context(Client(stack.enter_context(cluster)))
            else:
                client = stack.enter_context(Client(self.options.client))
            available = len(client.ncores())
            if available < n:
                print(f"\nleft out: n = {n}, as the cluster has {available} worker(s)")
            yield client if available >= n else None

    def placed(
        self, client: Client, sizes: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[Scheme, int, Placement]]:
        for n, s in sizes:
            for scheme in SCHEMES:
                if scheme.feasible(n, s):
                    self.progress.say(f"placing for n = {n}, s = {s}, {scheme.name}")
                    code = scheme.code(n, s)
                    with place(self.X, self.y, code=code, client=client) as data:
                        yield scheme, s, data

    def run(
        self,
        client: Client,
        data: Placement,
        scheme: Scheme,
        s: int,
        model: StragglerModel | None,
        what: str,
        n_rounds: int | None = None,
    ) -> Watched:
        """Fit under a straggler model and return what the solver noted."""
        n = data.code.n_workers
        self.progress.say(f"{what}, n = {n}, s = {s}, {scheme.name}")
        run = Watched(self.progress)
        estimator = CodedLogisticRegression(
            C=0.5, fit_intercept=False, tol=0.0, wait=scheme.wait(n, s) or "exact"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the paper stops after 100
            estimator.set_params(solver=PAPER, max_iter=3).fit(data)  # connects, warms up
            with nullcontext() if model is None else inject(client, model):
                estimator.set_params(solver=run, max_iter=n_rounds or self.n_rounds).fit(data)
        return run

    def plain_round(self, client: Client, n: int) -> float:
        """Return the median time of a naive iteration with nobody delayed, in seconds."""
        naive = SCHEMES[0]
        with place(self.X, self.y, code=naive.code(n, 0), client=client) as data:
            run = self.run(client, data, naive, 0, None, "plain round", self.n_plain)
        return float(np.median(np.diff(run.times[1:])))

    def heavy(self, plain: float) -> tuple[StragglerModel | None, float]:
        if self.options.natural:
            return None, 0.0
        return ParetoDelay(SHAPE, plain, seed=0), plain

    def one_pass(self) -> float:
        """Return the time in which this process computes the whole data set once, in seconds."""
        block, w = Block(self.X, self.y.astype(float)), np.zeros(self.X.shape[1])
        objective, seconds = InProcessObjective(Uncoded(1), {0: block}, Logistic()), []
        for _ in range(7):
            start = perf_counter()
            objective(w)
            seconds.append(perf_counter() - start)
        return float(np.median(seconds))

    def score(self, coef: Vector) -> float:
        return float(roc_auc_score(self.y_test, self.X_test @ coef))

    def row(
        self, figure: str, scheme: Scheme, n: int, s: int, delay: float, run: Watched
    ) -> dict[str, Any]:
        coef = run.points[-1]
        exact = self._exact.setdefault(n, coef)  # the naive scheme comes first
        key = {
            "figure": figure,
            "scheme": scheme.name,
            "n_workers": n,
            "n_stragglers": s,
            "delay_seconds": delay,
        }
        difference = np.linalg.norm(coef - exact) / np.linalg.norm(exact)
        self.coefficients.append(key | {"relative_difference": float(difference)})
        return key | {
            "seconds_per_iteration": per_iteration(run),
            "auc": self.score(coef),
            "seconds": run.times[-1] - run.times[0],
            "simulated": False,
        }


def per_iteration(run: Watched) -> float:
    """Return the mean time of an iteration, the first one left out."""
    return (run.times[-1] - run.times[1]) / (len(run.times) - 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="train.csv of Amazon employee access")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="10 rounds instead of 100")
    parser.add_argument("--figure", choices=SIZES, action="append", help="only this one")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        choices=TAIL_WORKERS,
        default=TAIL_WORKERS,
        help="n_workers of tail",
    )
    parser.add_argument("--client", metavar="ADDRESS", help="scheduler of a cluster to run on")
    parser.add_argument(
        "--natural", action="store_true", help="tail and auc with the cluster's own stragglers"
    )
    arguments = parser.parse_args()
    try:
        experiment = Experiment(arguments)
    except OSError as error:  # there is no data
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = arguments.figure or list(SIZES)
    experiment.progress.expect(expected_rounds(experiment, figures))
    for figure in figures:
        rows = list(getattr(experiment, figure)())
        merge(arguments.out / "results.json", rows)
        mine = [row for row in experiment.coefficients if row["figure"] == figure]
        merge(arguments.out / "coefficients.json", mine)
    experiment.progress.end()


def expected_rounds(experiment: Experiment, figures: list[str]) -> int:
    """Return how many iterations on workers there will be, for the progress bar."""
    sizes: dict[str, Sequence[tuple[int, int]]] = {
        "delay": [size for size in SIZES["delay"] for _ in DELAYS],
        "tail": [(n, s) for n, s in SIZES["tail"] if n in experiment.options.sizes],
        "auc": SIZES["auc"],
    }
    chosen = [size for figure in figures for size in sizes[figure]]
    runs = sum(scheme.feasible(n, s) for n, s in chosen for scheme in SCHEMES)
    plain = sum(len({n for n, _ in sizes[figure]}) for figure in figures)
    return runs * experiment.n_rounds + plain * experiment.n_plain


if __name__ == "__main__":
    main()
