"""Kill workers while data is placed on them, at seeded moments, and see what becomes of the fit.

    python examples/chaos_placing.py --seed 0 --deaths 100

Seeds are tried one after the other until there have been so many deaths. Each stands for a cluster
of its own, for data, and for deaths: of one, two or all workers, at a moment of their own choice (a
task of some kind begins or ends on a worker, which kills itself) or some seconds after the death
before. Each ends in a fit, the coefficients of which are scikit-learn's, or in the error that is
promised, within the time that is promised.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, WorkerPlugin
from sklearn.linear_model import LogisticRegression
from tornado.ioloop import PeriodicCallback

from dask_gradcode import CodedLogisticRegression, InsufficientWorkersError, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded

# What a worker is doing when it dies: the first part of a task's key, and the state it comes to.
MOMENTS = {
    "before chunks are computed": ("chunk", "waiting"),
    "while a chunk is computed": ("chunk", "executing"),
    "when a chunk is computed": ("chunk", "memory"),
    "while a chunk is looked at": ("gradcode-inspect", "executing"),
    "when it has been looked at": ("gradcode-inspect", "memory"),
    "while rows are cut out": ("gradcode-cut", "executing"),
    "when rows are cut out": ("gradcode-cut", "memory"),
    "while rows travel": ("gradcode-cut", "flight"),
    "while a shard is built": ("gradcode-shard", "executing"),
    "when a shard is built": ("gradcode-shard", "memory"),
    "when it is placed": ("gradcode-look", "memory"),
}
RECOVER = 120.0
"""Seconds that are promised: ``gradcode.timeouts.recover``."""
BOUND = 280.0
"""Seconds after which a fit counts as hanging."""


@dataclass(frozen=True)
class Death:
    """One or more workers die: at a moment, or some seconds after the death before."""

    moment: str | float
    n_workers: int = 1

    def __str__(self) -> str:
        when = self.moment if isinstance(self.moment, str) else f"{self.moment:.1f} s later"
        return f"{self.n_workers} {when}"


@dataclass(frozen=True)
class Plan:
    """What one seed stands for."""

    seed: int
    code: GradientCode
    n_spares: int
    source: str  # in memory, dask, persisted
    transport: str
    nannies: bool
    deaths: tuple[Death, ...]

    def __str__(self) -> str:
        deaths = "; ".join(map(str, self.deaths))
        spares = f" + {self.n_spares}" if self.n_spares else ""
        nannies = "nannies" if self.nannies else "no nannies"
        return f"{self.code}{spares} | {self.source} | {self.transport} | {nannies} | {deaths}"


def plan(seed: int) -> Plan:
    """Return what a seed stands for."""
    rng = np.random.default_rng(seed)
    codes = [FractionalRepetition(2, 1), FractionalRepetition(4, 1), CyclicRepetition(3, 1)]
    code: GradientCode = [*codes, Uncoded(2)][rng.integers(4)]
    n_spares = int(rng.integers(2))
    n_all = code.n_workers + n_spares
    deaths = [Death(str(rng.choice(list(MOMENTS))), int(rng.choice([1, 1, 2, n_all])))]
    for _ in range(rng.integers(3)):
        late = bool(rng.integers(2))
        moment = round(float(rng.uniform(0.0, 6.0)), 1) if late else str(rng.choice(list(MOMENTS)))
        deaths.append(Death(moment, int(rng.choice([1, 1, 2, n_all]))))
    source = str(rng.choice(["in memory", "dask", "dask", "persisted"]))
    nannies = sum(death.n_workers for death in deaths) > n_spares or bool(rng.integers(2))
    chosen = str(rng.choice(["stream", "tasks"]))
    return Plan(seed, code, n_spares, source, chosen, nannies, tuple(deaths))


class Deaths(WorkerPlugin):
    """Has its worker kill itself when its turn has come; files say whose turn it is.

    Parameters
    ----------
    folder : str
        Where all workers, those started later too, note who has died.
    deaths : sequence of Death
        In this order.
    """

    name = "deaths"

    def __init__(self, folder: str, deaths: Sequence[Death]) -> None:
        self._folder = Path(folder)
        self._turns = [
            (death.moment, number == 0) for death in deaths for number in range(death.n_workers)
        ]

    def setup(self, worker: Any) -> None:
        self._timer = PeriodicCallback(self._look, 50)
        self._timer.start()

    def teardown(self, worker: Any) -> None:
        self._timer.stop()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        name = str(key[0] if isinstance(key, tuple) else key)
        turn, moment = self._turn()
        if isinstance(moment, str):
            prefix, state = MOMENTS[moment]
            chunk = prefix == "chunk" and ("chunk" in name or "again" in name)
            if finish == state and (chunk or name.startswith(prefix)):
                self._die(turn)

    def _look(self) -> None:
        turn, moment = self._turn()
        if isinstance(moment, float) and turn:
            waited = time.time() - (self._folder / str(turn - 1)).stat().st_mtime
            if waited >= moment or not self._turns[turn][1]:
                self._die(turn)

    def _turn(self) -> tuple[int, str | float | None]:
        turn = len(list(self._folder.iterdir()))
        return turn, self._turns[turn][0] if turn < len(self._turns) else None

    def _die(self, turn: int) -> None:
        try:
            (self._folder / str(turn)).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _chunk(rows: Any) -> Any:
    time.sleep(0.05)
    return rows


def data_set(n_rows: int = 4000, n_features: int = 6) -> tuple[Any, Any]:
    """Return features and labels of a logistic model."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    y = X @ rng.standard_normal(n_features) + rng.logistic(size=n_rows) > 0
    return X, y.astype(int)


def undisturbed(X: Any, y: Any) -> Any:
    """Return the coefficients and the intercept of scikit-learn's fit."""
    model = LogisticRegression(tol=1e-12, solver="newton-cg", max_iter=1000).fit(X, y)
    return np.append(model.coef_, model.intercept_)


async def _stay_dead() -> None:
    """Do what a nanny does not: leave a dead worker dead."""


@dataclass
class Outcome:
    """What became of a plan."""

    plan: Plan
    end: str = "HANGS"
    seconds: float = BOUND
    n_died: int = 0
    silent: float = 0.0  # seconds at most without a line in the log
    log: list[tuple[float, str]] = field(default_factory=list)
    why: str = ""
    states: str = ""


class _Lines(logging.Handler):
    def __init__(self, log: list[tuple[float, str]]) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.append((time.monotonic(), f"{record.levelname} {record.getMessage()}"))


@contextmanager
def logged(log: list[tuple[float, str]]) -> Iterator[None]:
    logger, handler = logging.getLogger("dask_gradcode"), _Lines(log)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def run(plan: Plan) -> Outcome:
    """Place and fit while workers die."""
    outcome, expected = Outcome(plan), undisturbed(*data_set())
    settings = {
        "distributed.deploy.lost-worker-timeout": "1 hour",
        "distributed.scheduler.allowed-failures": 10,
        "gradcode.timeouts.recover": f"{RECOVER}s",
        "gradcode.timeouts.workers": f"{RECOVER}s",
    }
    n_workers = plan.code.n_workers + plan.n_spares
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(settings),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        logged(outcome.log),
    ):
        if not plan.nannies:
            for nanny in cluster.workers.values():
                nanny.instantiate = _stay_dead
        client.register_plugin(Deaths(folder, plan.deaths))
        given = _given(plan, client)
        began = time.monotonic()
        thread = threading.Thread(target=_fit, args=(outcome, client, given, expected), daemon=True)
        thread.start()
        thread.join(BOUND)
        ended = time.monotonic()
        outcome.seconds = ended - began
        if thread.is_alive():
            outcome.states = str(client.run_on_scheduler(_states))
        outcome.n_died = len(list(Path(folder).iterdir()))
        heard = [began, *(when for when, _ in outcome.log), ended]
        outcome.silent = max(b - a for a, b in pairwise(heard))
    return outcome


def _given(plan: Plan, client: Client) -> tuple[Any, Any]:
    """Return the data set as the plan has it come."""
    X, y = data_set()
    if plan.source == "in memory":
        return X, y
    lazy_X = da.from_array(X, chunks=(700, 6)).map_blocks(_chunk, name="chunk-X")
    lazy_y = da.from_array(y, chunks=900).map_blocks(_chunk, name="chunk-y")
    if plan.source == "persisted":
        lazy_X, lazy_y = client.persist([lazy_X, lazy_y])
    return lazy_X, lazy_y


def _fit(outcome: Outcome, client: Client, given: tuple[Any, Any], expected: Any) -> None:
    """Place and fit, and note how that has ended."""
    plan = outcome.plan
    try:
        with place(*given, code=plan.code, client=client) as data:
            model = CodedLogisticRegression(tol=1e-8, transport=plan.transport).fit(data)
        found = np.append(model.coef_, model.intercept_)
        outcome.end = "fit" if np.allclose(found, expected, atol=1e-5) else "WRONG"
    except InsufficientWorkersError as error:
        outcome.end, outcome.why = "error", str(error)
    except BaseException as error:
        outcome.end = f"OTHER {type(error).__name__}"
        outcome.why = "".join(traceback.format_exception(error))


def _states(dask_scheduler: Any) -> list[Any]:
    return [
        (str(key), task.state, sorted(task.worker_restrictions or ()))
        for key, task in dask_scheduler.tasks.items()
        if task.state != "memory"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--deaths", type=int, default=10)
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    while sum(outcome.n_died for outcome in outcomes) < arguments.deaths:
        outcome = run(plan(arguments.seed + len(outcomes)))
        outcomes.append(outcome)
        about = f"{outcome.n_died} died, {outcome.seconds:.0f} s, silent {outcome.silent:.0f} s"
        print(f"{outcome.plan.seed:3d} {outcome.end}: {about} | {outcome.plan}", flush=True)
        if outcome.end != "fit":
            print(outcome.why or outcome.states, *outcome.log, sep="\n    ", flush=True)
    ends = Counter(outcome.end for outcome in outcomes)
    n_died = sum(outcome.n_died for outcome in outcomes)
    print(f"{n_died} deaths in {len(outcomes)} fits: {dict(ends)}")
    if not ends.keys() <= {"fit", "error"}:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
