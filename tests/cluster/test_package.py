"""A scheduler or workers without this package, or with another version of it, are named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
from distributed import Client, LocalCluster

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster.placement import package
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(60, 3)
LAZY = da.from_array(X, chunks=(30, 3)), da.from_array(Y, chunks=30)

WITHOUT = """
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "dask_gradcode":
                raise ModuleNotFoundError(f"No module named {name!r}", name="dask_gradcode")

    sys.meta_path.insert(0, Missing())
    for name in [name for name in sys.modules if name.partition(".")[0] == "dask_gradcode"]:
        del sys.modules[name]
"""
OTHER = """
    from importlib import metadata

    def other(name, known=metadata.version):
        return "0.0.7" if name == "dask-gradcode" else known(name)

    metadata.version = other
"""


@contextmanager
def workers(tmp_path: Path, preload: str, n: int = 2) -> Iterator[Client]:
    """Start workers that run a module when they start."""
    (tmp_path / "preload.py").write_text(textwrap.dedent(preload))
    with (
        LocalCluster(
            n_workers=n,
            threads_per_worker=1,
            dashboard_address=":0",
            preload=[str(tmp_path / "preload.py")],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_workers_without_the_package_are_named_together(tmp_path: Path) -> None:
    with workers(tmp_path, WITHOUT) as client:
        with pytest.raises(ModuleNotFoundError, match="all workers need dask_gradcode") as caught:
            CodedLogisticRegression(client=client).fit(*LAZY)
        for address in client.scheduler_info()["workers"]:
            assert address in str(caught.value)


def test_a_worker_with_another_version_is_warned_of(tmp_path: Path) -> None:
    with (
        workers(tmp_path, OTHER, n=1) as client,
        pytest.warns(UserWarning, match=r"is 0\.0\.7 on worker tcp://.* and 0.* on the client"),
    ):
        place(*LAZY, client=client).close()


SCHEDULER = """
    import asyncio
    import sys

    from distributed import Scheduler

    async def serve():
        options = dict(host="127.0.0.1", port=0, dashboard_address=":0", preload=[sys.argv[1]])
        async with Scheduler(**options) as scheduler:
            print(scheduler.address, flush=True)
            await scheduler.finished()

    asyncio.run(serve())
"""


@contextmanager
def scheduler(tmp_path: Path, preload: str) -> Iterator[Client]:
    """Start a scheduler in a process of its own, and a client."""
    path = tmp_path / "preload.py"
    path.write_text(textwrap.dedent(preload))
    command = [sys.executable, "-c", textwrap.dedent(SCHEDULER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with Client(process.stdout.readline().strip()) as client:
                yield client
        finally:
            process.kill()


def test_a_scheduler_without_the_package_is_named(tmp_path: Path) -> None:
    with (
        scheduler(tmp_path, WITHOUT) as client,
        pytest.raises(ModuleNotFoundError, match=r"and the scheduler tcp://\S+ cannot import it"),
    ):
        package.check_scheduler(client)


def test_a_scheduler_with_another_version_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scheduler(tmp_path, OTHER) as client:
        said = r"is 0\.0\.7 on the scheduler tcp://\S+ and 0\S* on the client"
        with pytest.warns(UserWarning, match=said):
            package.check_scheduler(client)
        package.check_scheduler(client)  # once: a warning would be an error
        monkeypatch.setattr(package, "version_here", lambda: None)  # not installed: who knows
        package._checked.discard(client)
        package.check_scheduler(client)


def test_a_scheduler_is_asked_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask = client.run_on_scheduler
    monkeypatch.setattr(client, "run_on_scheduler", lambda f: asked.append(f) or ask(f))
    for _ in range(3):
        place(X, Y).close()
    assert len(asked) == 1
