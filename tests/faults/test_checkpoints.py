"""Fits on real clusters whose script or scheduler dies, and that go on from their checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.optimizers import Nesterov, Solution
from dask_gradcode.typing import Evaluation, Objective, Vector
from helpers import gradcode_keys, logistic_data, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]

X, Y = logistic_data(400, 4)
CODE = FractionalRepetition(2, 1)


@dataclass
class Processes:
    """A scheduler and two workers, each a process of its own."""

    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]
    address: str


@contextmanager
def processes(directory: Path) -> Iterator[Processes]:
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], stdout=quiet, stderr=quiet
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        directory.mkdir()
        file = directory / "scheduler.json"
        scheduler = start(
            "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        worker = ("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
        yield Processes(scheduler, [start(*worker) for _ in range(2)], address)


@dataclass(frozen=True)
class Interfering(Nesterov):
    """Nesterov's method that does something right before one of its rounds."""

    act: Callable[[], Any] = field(default=lambda: None, repr=False)

    def minimize(self, objective: Objective, w0: Vector, **options: Any) -> Solution:
        n_rounds = 0

        def interfered(w: Vector) -> Evaluation:
            nonlocal n_rounds
            n_rounds += 1
            if n_rounds == 12:
                self.act()
            return objective(w)

        return super().minimize(interfered, w0, **options)


def fit(
    client: Any, path: Any, act: Callable[[], Any] = lambda: None, transport: str = "auto"
) -> CodedLogisticRegression:
    return CodedLogisticRegression(
        code=CODE,
        solver=Interfering(act=act),
        tol=1e-6,
        max_iter=500,
        checkpoint=path,
        checkpoint_every=2,
        client=client,
        transport=transport,
    ).fit(X, Y)


def assert_goes_on(address: str, path: Path) -> None:
    with Client(address) as client:
        client.wait_for_workers(2)
        whole, rest = fit(client, None), fit(client, path)
        assert rest.coef_.tobytes() == whole.coef_.tobytes()
        assert rest.intercept_.tobytes() == whole.intercept_.tobytes()
        assert 0 < len(rest.history_) < len(whole.history_)
        wait_until(lambda: not gradcode_keys(client))


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_the_death_of_the_scheduler_ends_a_fit_that_goes_on_elsewhere(
    tmp_path: Path, transport: str
) -> None:
    path = tmp_path / "checkpoint"
    with processes(tmp_path / "first") as first, Client(first.address, timeout=3) as client:
        client.wait_for_workers(2)

        def kill() -> None:
            first.scheduler.kill()
            wait_until(lambda: all(worker.poll() is not None for worker in first.workers))

        with pytest.raises((RuntimeError, ConnectionError)) as caught:
            fit(client, path, kill, transport)
        assert str(path) in "".join(caught.value.__notes__)
    with processes(tmp_path / "second") as second:
        assert_goes_on(second.address, path)


SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    sys.path[:0] = {paths!r}
    from distributed import Client
    from test_checkpoints import fit
    with Client({address!r}) as client:
        client.wait_for_workers(2)
        try:
            fit(client, {checkpoint!r}, lambda: os.kill(os.getpid(), signal.{signal}))
        except KeyboardInterrupt:
            sys.exit(7)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -signal.SIGKILL), ("SIGINT", 7)])
def test_a_script_that_is_killed_goes_on_and_leaves_nothing(
    tmp_path: Path, name: str, code: int
) -> None:
    path, here = tmp_path / "checkpoint", Path(__file__).parent
    with processes(tmp_path / "cluster") as cluster:
        script = SCRIPT.format(
            paths=[str(here), str(here.parent)],
            address=cluster.address,
            checkpoint=os.fspath(path),
            signal=name,
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        with Client(cluster.address) as client:
            wait_until(lambda: not gradcode_keys(client))
        assert_goes_on(cluster.address, path)
