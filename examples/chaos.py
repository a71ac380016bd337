"""Train while another thread kills and freezes workers, and compare with an undisturbed fit.

    python examples/chaos.py --seed 1 --faults 5
    python examples/chaos.py --seed 0 1 2 3 4 5 6 7 8 9 --faults 5   # and a table of all
    python examples/chaos.py --code declustered --slow 0.1   # the others are slow, now and then
    python examples/chaos.py --workers 32 --seed 0 1 --faults 25
    python examples/chaos.py --workers 6 --seed 0 1 2 --liars 1   # one sends wrong sums

What happened in the rounds of a fit that was not survived is written to chaos-SEED.logs, for
``dask_gradcode.rounds.Round.replay``.

The seed decides which workers are hurt, how, and in which rounds. At most ``s`` workers are hurt
at once, and the next only after all roles of the code are placed again.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import dask
import numpy as np
import psutil
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode import CodedLogisticRegression, InsufficientWorkersError, place
from dask_gradcode.cluster import Lies, Placement, inject
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
)
from dask_gradcode.optimizers import Nesterov, Solution
from dask_gradcode.rounds import Done, Round, RoundLog
from dask_gradcode.stragglers import Slowdown
from dask_gradcode.typing import Evaluation, Objective, Vector

SIGNALS = {"kill": signal.SIGKILL, "segfault": signal.SIGSEGV, "freeze": signal.SIGSTOP}
N_WORKERS = 4
MAKE: dict[str, Callable[[int], GradientCode]] = {
    "fractional": lambda n_workers: FractionalRepetition(n_workers, 1),
    "cyclic": lambda n_workers: CyclicRepetition(n_workers, 2),
    "declustered": lambda n_workers: DeclusteredRepetition(n_workers, 1),
}
CODES = {name: make(N_WORKERS) for name, make in MAKE.items()}
BOUND = 280.0
"""Seconds after which a role that has not been placed again counts as lost."""


# ---------------------------------------------------------------- what shall go wrong


@dataclass(frozen=True)
class Fault:
    """What happens to the worker of a role when a round begins; a frozen worker is woken again."""

    round: int
    what: str
    role: int
    woken_after: int = 0  # rounds

    def __str__(self) -> str:
        until = f" for {self.woken_after} rounds" if self.woken_after else ""
        return f"{self.what} role {self.role}{until}"


def schedule(
    seed: int, n_faults: int, code: GradientCode, at_once: int | None = None
) -> list[Fault]:
    """Return faults by ascending round; at most ``s`` of one round, each of another role."""
    at_once = code.n_stragglers if at_once is None else at_once
    rng = np.random.default_rng(seed)
    faults: list[Fault] = []
    round_ = 0
    while len(faults) < n_faults:
        round_ += int(rng.integers(2, 8))
        n_at_once = min(int(rng.integers(1, at_once + 1)), n_faults - len(faults))
        for role in sorted(rng.choice(code.n_workers, n_at_once, replace=False).tolist()):
            what = str(rng.choice(list(SIGNALS)))
            woken_after = int(rng.integers(5, 200)) if what == "freeze" else 0
            faults.append(Fault(round_, what, role, woken_after))
    return faults


# ---------------------------------------------------------------- making it go wrong


@dataclass
class Report:
    """What became of a fault."""

    fault: Fault
    address: str
    pid: int
    happened: bool = False
    survived: bool = False
    seconds: float = math.nan  # until its role was placed again, or its worker awake
    rounds: int = 0  # that were run meanwhile


class Chaos:
    """Hurts workers from a thread of its own, by a schedule that goes by the rounds of a fit.

    A round in which a fault is due is repeated until all earlier faults are over: so each fault
    finds all roles placed, and rounds go on while it is mended.

    Parameters
    ----------
    client : Client
        The client.
    data : Placement
        What is trained on.
    faults : sequence of Fault
        By ascending round.
    """

    def __init__(self, client: Client, data: Placement, faults: Sequence[Fault]) -> None:
        self._client, self._data = client, data
        self._blows = [list(blow) for _, blow in groupby(faults, key=lambda fault: fault.round)]
        self._news = threading.Condition()
        self._round = -1  # of the fit
        self._n_rounds = 0  # with those that were repeated
        self._n_over = 0  # blows
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self.reports: list[Report] = []

    def around(self, objective: Objective) -> Objective:
        """Return the same objective, under fire."""
        self._thread.start()

        def evaluate(w: Vector) -> Evaluation:
            due = self._round + 1
            if any(blow[0].round == due for blow in self._blows):
                self._mend(sum(blow[0].round < due for blow in self._blows), objective, w)
            with self._news:
                self._round = due
            return self._counted(objective(w))

        return evaluate

    def end(self, objective: Objective, w: Vector) -> None:
        """Go on with rounds until the last fault is over."""
        self._mend(len(self._blows), objective, w)
        self._thread.join()

    def _mend(self, n_blows: int, objective: Objective, w: Vector) -> None:
        while self._n_over < n_blows and self._thread.is_alive():
            self._counted(objective(w))

    def _counted(self, seen: Evaluation) -> Evaluation:
        with self._news:
            self._n_rounds += 1
            self._news.notify_all()
        return seen

    # ---- in the thread

    def _run(self) -> None:
        for blow in self._blows:
            self._wait(lambda due=blow[0].round: self._round >= due)
            self._strike(blow)
            self._n_over += 1

    def _strike(self, blow: Sequence[Fault]) -> None:
        began, first_round = time.monotonic(), self._n_rounds
        where = {fault.role: self._data.addresses[fault.role] for fault in blow}
        pids = self._client.run(os.getpid, workers=list(where.values()))
        reports = [Report(fault, where[fault.role], pids[where[fault.role]]) for fault in blow]
        self.reports += reports
        for report in reports:
            os.kill(report.pid, SIGNALS[report.fault.what])
        for report in reports:
            report.happened = self._wait(lambda report=report: is_hurt(report))
        for report in sorted(reports, key=lambda report: report.fault.woken_after):
            if report.fault.what == "freeze":
                until = first_round + report.fault.woken_after
                self._wait(lambda until=until: self._n_rounds >= until)
                os.kill(report.pid, signal.SIGCONT)
        for report in reports:
            report.survived = self._wait(lambda report=report: self._is_mended(report))
            report.seconds = time.monotonic() - began
            report.rounds = self._n_rounds - first_round

    def _is_mended(self, report: Report) -> bool:
        role = report.fault.role
        replaced = self._data.addresses[role] != report.address
        return role not in self._data.lost and (replaced or report.fault.what == "freeze")

    def _wait(self, is_so: Callable[[], bool]) -> bool:
        """Look after every round, and in between, whether something is so."""
        end = time.monotonic() + BOUND
        with self._news:
            while not is_so() and time.monotonic() < end:
                self._news.wait(0.1)
        return is_so()


def is_hurt(report: Report) -> bool:
    """Say whether a signal has done what it should."""
    try:
        status = psutil.Process(report.pid).status()
    except psutil.NoSuchProcess:
        return report.fault.what != "freeze"
    return status == (
        psutil.STATUS_STOPPED if report.fault.what == "freeze" else psutil.STATUS_ZOMBIE
    )


@dataclass(frozen=True)
class UnderFire(Nesterov):
    """Nesterov's method, while workers are hurt."""

    chaos: Chaos | None = None

    def minimize(self, objective: Objective, w0: Vector, **options: object) -> Solution:
        assert self.chaos is not None
        solution = super().minimize(self.chaos.around(objective), w0, **options)
        self.chaos.end(objective, solution.w)
        return solution


# ---------------------------------------------------------------- the experiment


@dataclass
class Outcome:
    """A fit under fire, beside the same one undisturbed."""

    reports: list[Report]
    fit: CodedLogisticRegression
    difference: float  # of a coefficient to the undisturbed fit's, at most
    amplification: float  # of rounding errors by decoding, at most
    liars: frozenset[int] = frozenset()

    @property
    def survived(self) -> bool:
        """Whether all faults were mended, and did no harm beyond rounding."""
        mended = all(report.happened and report.survived for report in self.reports)
        exact = all(record.exact for record in self.fit.history_)
        rounding = 100 * self.amplification * float(np.finfo(float).eps)
        is_right = exact and self.difference <= rounding and self.expelled <= self.liars
        return mended and is_right and not self.told_otherwise

    @property
    def expelled(self) -> frozenset[int]:
        """Who was expelled."""
        events = self.fit.history_.events
        return frozenset(event.worker for event in events if event.what == "expelled")

    @property
    def n_unverified(self) -> int:
        """In how many rounds too few were left to confirm a sum."""
        return sum(bool(record.unverified) for record in self.fit.history_)

    @cached_property
    def told_otherwise(self) -> list[int]:
        """The rounds that decide otherwise when they are run again from their logs."""
        return [log.number for log in self.fit.history_.logs if not repeats(log)]


def repeats(log: RoundLog) -> bool:
    """Say whether a round that is run again from its log gives the same orders."""
    again = Round.replay(log)
    same = [step.orders for step in again.log.steps] == [step.orders for step in log.steps]
    return same and isinstance(again.outcome, Done)


def fit_under_fire(
    client: Client,
    data: Placement,
    faults: Sequence[Fault],
    transport: str,
    logs: Path,
    lies: Lies | None = None,
) -> Outcome:
    """Fit twice, first undisturbed and then under fire, for the same number of iterations.

    What happened in rounds is written to the file ``logs`` if a fault was not survived. Where there
    are lies, the second fit verifies, for as many liars as there are.
    """
    chaos = Chaos(client, data, faults)
    fits = []
    for solver in (Nesterov(step=1.0), UnderFire(step=1.0, chaos=chaos)):
        model = CodedLogisticRegression(
            solver=solver, tol=0.0, max_iter=faults[-1].round + 10, transport=transport
        )
        lying: AbstractContextManager[object] = nullcontext()
        if lies is not None and isinstance(solver, UnderFire):
            model.verify, lying = len(lies.workers), inject(client, lies)
        with lying, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are counted out
            try:
                fits.append(model.fit(data))
            except Exception:
                keep_logs(model, logs)
                raise
    calm, under_fire = fits
    difference = max(
        np.abs(under_fire.coef_ - calm.coef_).max(),
        np.abs(under_fire.intercept_ - calm.intercept_).max(),
    )
    amplification = max(record.amplification for record in under_fire.history_)
    lying_roles = frozenset(() if lies is None else lies.workers)
    outcome = Outcome(chaos.reports, under_fire, float(difference), amplification, lying_roles)
    if not outcome.survived:
        keep_logs(under_fire, logs)
    return outcome


def liars(code: GradientCode, n_liars: int, seed: int) -> Lies | None:
    """Return who lies, in which way, and from which round on; nobody if none shall."""
    if not n_liars:
        return None
    rng = np.random.default_rng(seed)
    who = rng.choice(code.n_workers, n_liars, replace=False).tolist()
    return Lies(str(rng.choice(["random", "sign", "chunk", "copy"])), who, int(rng.integers(20)))


def keep_logs(model: CodedLogisticRegression, path: Path) -> None:
    """Write what happened in the last rounds of a fit to a file, as a pickled list."""
    logs = list(model.history_.logs)
    path.write_bytes(pickle.dumps(logs))
    print(f"{path}: the logs of {len(logs)} rounds, for dask_gradcode.rounds.Round.replay")


def data_set(n_rows: int = 20_000, n_features: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of a logistic model."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    y = X @ rng.standard_normal(n_features) + rng.logistic(size=n_rows) > 0
    return X, y.astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more")
    parser.add_argument("--faults", type=int, default=5, metavar="M", help="for each seed")
    parser.add_argument("--code", choices=MAKE, default="fractional")
    parser.add_argument("--workers", type=int, default=N_WORKERS, metavar="N")
    parser.add_argument(
        "--slow",
        type=float,
        default=0.0,
        metavar="P",
        help="probability with which a worker computes 8 times slower in a round",
    )
    parser.add_argument(
        "--liars",
        type=int,
        default=0,
        metavar="B",
        help="workers that send wrong sums; the code then has so many more replicas",
    )
    parser.add_argument("--transport", choices=["auto", "stream", "tasks"], default="auto")
    options = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every death
    # A LocalCluster closes a nanny for good that is restarting its worker 15 s after a death.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})

    X, y = data_set()
    code = MAKE[options.code](options.workers)
    if options.liars:
        code = FractionalRepetition(options.workers, 1 + options.liars)
    print(f"{X.shape[0]:,} rows x {X.shape[1]} features, {code}, transport={options.transport!r}")
    rows = []
    for seed in options.seed:
        with (
            started(code.n_workers) as cluster,
            Client(cluster) as client,
            place(X, y, code=code) as data,
            slowed(client, options.slow, seed),
        ):
            lies = liars(code, options.liars, seed)
            faults = schedule(seed, options.faults, code, code.n_stragglers - options.liars)
            try:
                outcome = fit_under_fire(
                    client, data, faults, options.transport, Path(f"chaos-{seed}.logs"), lies
                )
            except InsufficientWorkersError as error:
                print(f"\nseed {seed}: {error}")
                rows.append((seed, len(faults), 0, len(faults), math.nan))
                continue
        show(seed, outcome)
        survived = sum(report.survived and report.happened for report in outcome.reports)
        rows.append((seed, len(faults), survived, len(faults) - survived, outcome.difference))
    print("\n| seed | faults tried | survived | lost | difference of a coefficient |")
    print("|---|---|---|---|---|")
    for row in rows:
        print("| {} | {} | {} | {} | {:.1e} |".format(*row))
    tried, survived, lost = (sum(row[i] for row in rows) for i in (1, 2, 3))
    worst = max(row[4] for row in rows)
    print(f"| all | {tried} | {survived} | {lost} | {worst:.1e} |")


def started(n_workers: int) -> LocalCluster:
    """Return a cluster whose workers were started a few at a time, as a machine can bear.

    They are forked from a process that has imported Dask already, and so are those that replace
    them.
    """
    dask.config.set(
        {
            "distributed.worker.multiprocessing-method": "forkserver",
            "distributed.worker.profile.enabled": False,
        }
    )
    cluster = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0")
    with Client(cluster) as client:
        for n_started in range(4, n_workers + 4, 4):
            cluster.scale(min(n_started, n_workers))
            client.wait_for_workers(min(n_started, n_workers))
    return cluster


def slowed(client: Client, probability: float, seed: int) -> AbstractContextManager[object]:
    """Have workers that are there now compute 8 times slower in some rounds."""
    if not probability:
        return nullcontext()
    return inject(client, Slowdown(8.0, probability=probability, seed=seed))


def show(seed: int, outcome: Outcome) -> None:
    """Print what was done to the workers in one fit, and what became of it."""
    print(f"\nseed {seed}, {len(outcome.fit.history_)} rounds")
    for report in outcome.reports:
        end = "mended" if report.survived else "NOT MENDED"
        happened = "" if report.happened else " (did not happen)"
        print(
            f"  round {report.fault.round:3d}: {report.fault!s:30}{happened} {end} after "
            f"{report.seconds:4.1f} s, {report.rounds} rounds meanwhile"
        )
    print(f"  largest difference of a coefficient: {outcome.difference:.1e}")
    n_logs = len(outcome.fit.history_.logs)
    print(f"  rounds run again from their logs: {n_logs}, otherwise: {outcome.told_otherwise}")
    if outcome.liars:
        print(
            f"  liars: {sorted(outcome.liars)}, expelled: {sorted(outcome.expelled)}; "
            f"{outcome.n_unverified} rounds unverified"
        )


if __name__ == "__main__":
    main()
