"""What several tests need: data, clusters to harm, and looks at what is left on a cluster."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import psutil
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.codes import GradientCode, Message, SpanDecoder
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Layout, Logistic
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS, Optimizer, Solution
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Evaluation, Matrix, Objective, Payload, Vector
from dask_gradcode.work import Block, Centred

__all__ = [
    "Interfering",
    "OwnThenNext",
    "answers_of",
    "assert_same_model",
    "count_rows",
    "frozen",
    "gradcode_keys",
    "in_process_coef",
    "local_cluster",
    "logistic_data",
    "name_of",
    "parts_of",
    "payloads_of",
    "pid_of",
    "reference",
    "restart_no_more",
    "tight",
    "wait_until",
]


def logistic_data(n_samples: int = 600, n_features: int = 5, seed: int = 0) -> tuple[Matrix, Any]:
    """Return features and 0/1 labels that no plane separates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    coef: Vector = rng.standard_normal(n_features)
    y = (X @ coef + rng.logistic(size=n_samples) > 0).astype(int)
    return X, y


def in_process_coef(
    X: Matrix, y: Any, code: GradientCode, *, tol: float, solver: Optimizer | None = None
) -> Vector:
    """Return coefficients and intercept of the same coded fit, computed without a cluster."""
    borders = [len(y) * i // code.n_blocks for i in range(code.n_blocks + 1)]
    blocks = {
        i: Block(X[start:stop], y[start:stop].astype(float))
        for i, (start, stop) in enumerate(pairwise(borders))
    }
    problem = Problem(Logistic(), scale=1 / len(y), alpha=1 / len(y), curvature=0.25)
    layout = Layout(X.shape[1], n_outputs=1, n_own=0, has_intercept=True)
    coordinates = problem.coordinates(layout, Spread.of(X))
    about = coordinates.about
    objective = Penalised(
        InProcessObjective(
            code, blocks, problem.loss if about is None else Centred(problem.loss, about)
        ),
        scale=problem.scale,
        alpha=problem.alpha,
        n_penalised=layout.n_slopes,
    )
    start = coordinates.to_solver(np.zeros(layout.size))
    seen, solver = coordinates.objective(objective, about), solver or LBFGS()
    return coordinates.to_model(solver.minimize(seen, start, tol=tol, max_iter=500).w)


def tight(**parameters: Any) -> CodedLogisticRegression:
    """Return an estimator that stops close to the minimum."""
    return CodedLogisticRegression(**{"tol": 1e-9, "max_iter": 5000, **parameters})


def reference(**parameters: Any) -> LogisticRegression:
    """Return scikit-learn's estimator, set to end at the minimum."""
    return LogisticRegression(tol=1e-12, solver="newton-cg", max_iter=1000, **parameters)


def assert_same_model(ours: Any, theirs: Any, atol: float = 1e-6) -> None:
    """Check that two fitted classifiers have the same attributes, to ``atol``."""
    assert_allclose(ours.coef_, theirs.coef_, atol=atol)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=atol)
    assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape


def count_rows(w: Vector, block: Block) -> tuple[float, Vector]:
    """A block function whose sum is known: the number of rows."""
    return float(block.n_rows), w


def payloads_of(code: GradientCode, blocks: Matrix) -> list[Payload]:
    """The payload of every message, of the sums of each block in a row."""
    found = []
    for message in code.messages:
        whole = np.asarray(message.coefficients) @ blocks[list(message.blocks)]
        found.append(message.slices.carried(message.slices.of(whole), whole.size))
    return found


def parts_of(code: GradientCode, messages: Iterable[int]) -> set[tuple[int, int]]:
    """What messages are made of: a slice of a block each."""
    sent = [code.messages[index] for index in messages]
    return {(block, t) for m in sent for block in m.blocks for t, _ in m.slices.terms()}


def answers_of(code: GradientCode) -> list[tuple[int, int]]:
    """Every answer that a round can get, as role and message: by message, then by role."""
    return [(role, i) for i in range(len(code.messages)) for role in code.senders(i)]


@dataclass(frozen=True)
class OwnThenNext(GradientCode):
    """Each worker sends its own block, then the next worker's: two messages a worker."""

    n_workers: int

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @property
    def n_stragglers(self) -> int:
        return 0

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        n = self.n_workers
        blocks = [block % n for worker in range(n) for block in (worker, worker + 1)]
        return tuple(Message((block,), (1.0,)) for block in blocks)

    def senders(self, message: int) -> tuple[int, ...]:
        return (message // 2,)

    def decoder(self) -> SpanDecoder:
        return SpanDecoder(self)


@dataclass(frozen=True)
class Interfering(LBFGS):
    """L-BFGS that does something to the cluster right before one of its rounds."""

    round: int = 3
    act: Callable[[], Any] = field(default=lambda: None)

    def minimize(self, objective: Objective, w0: Vector, **options: Any) -> Solution:
        n_rounds = 0

        def interfered(w: Vector) -> Evaluation:
            nonlocal n_rounds
            if n_rounds == self.round:
                self.act()
            n_rounds += 1
            return objective(w)

        return super().minimize(interfered, w0, **options)


@contextmanager
def local_cluster(n_workers: int) -> Iterator[Client]:
    """Start worker processes for one test that may harm them."""
    with (
        # else a nanny is closed for good that is restarting its worker 15 s after a death
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def restart_no_more(client: Client) -> None:
    """Let workers that die stay dead."""

    async def stay_dead() -> None:
        pass

    for nanny in client.cluster.workers.values():
        nanny.instantiate = stay_dead  # what a nanny does when its worker's process has ended


def name_of(value: object) -> str:
    """Return a test's name for a value: its repr, without what differs from process to process."""
    return re.sub(r" at 0x\w+", "", repr(value))


def pid_of(client: Client, address: str) -> int:
    """Return the process id of a worker."""
    return int(client.run(os.getpid, workers=[address])[address])


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes (SIGSTOP) for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids)
        )
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def gradcode_keys(client: Client) -> list[str]:
    """Return the scheduler's keys of this package, and those that tests' data has left there."""

    def keys(dask_scheduler: Any) -> list[str]:
        return [str(key) for key in dask_scheduler.tasks]

    found: list[str] = client.run_on_scheduler(keys)
    return found


def wait_until(is_so: Callable[[], Any], seconds: float = 100.0) -> None:
    """Wait for a state that must come, and fail if it does not."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
