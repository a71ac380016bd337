"""Files that outlive their client are taken up by the same placement, and by no other."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster.placement.keeping import fingerprint_of
from dask_gradcode.codes import FractionalRepetition
from helpers import gradcode_keys, local_cluster, logistic_data, pid_of, wait_until

pytestmark = pytest.mark.cluster

X, Y = logistic_data(600, 4)
OPTIONS: dict[str, Any] = {"code": "declustered", "n_stragglers": 1, "storage": "disk"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Three worker processes."""
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


def loader(folder: Path) -> tuple[Any, Any]:
    """Return lazy rows and targets of files that each chunk reads, which no token says."""

    def load(name: str, part: int) -> Any:
        return np.load(folder / f"{name}{part}.npy")

    def lazy(name: str, shape: tuple[int, ...]) -> Any:
        parts = [dask.delayed(load, pure=True)(name, part) for part in range(6)]
        return da.concatenate([da.from_delayed(part, shape, dtype=float) for part in parts])

    return lazy("X", (100, 4)), lazy("y", (100,))


def write(folder: Path, X: Any, y: Any) -> None:
    for part in range(6):
        rows = slice(100 * part, 100 * part + 100)
        np.save(folder / f"X{part}.npy", X[rows])
        np.save(folder / f"y{part}.npy", y[rows].astype(float))


def leave(cluster: Any, X: Any, y: Any, **options: Any) -> Any:
    """Place rows by a client that goes without a word; return the coefficients of a fit."""
    with Client(cluster, set_as_default=False) as client:
        data = place(X, y, client=client, **{**OPTIONS, "keep": "10 minutes", **options})
        data.wait(60)
        return CodedLogisticRegression(client=client).fit(data).coef_


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def test_the_same_place_takes_up_what_a_client_left_and_close_ends_it(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    write(tmp_path, X, Y)
    before = leave(cluster, *loader(tmp_path))
    sparse = da.from_array(X, (100, 4)).map_blocks(scipy.sparse.csr_array)
    leave(cluster, sparse, da.from_array(Y, 100))  # others are kept beside them
    with Client(cluster) as client, caplog.at_level(logging.WARNING, "dask_gradcode"):
        with place(*loader(tmp_path), keep="10 minutes", **OPTIONS) as data:
            assert "Taken up from the disks of workers: roles 0, 1, 2." in said(caplog)
            assert data.storage == "disk"
            data.wait(60)
            assert_array_equal(CodedLogisticRegression().fit(data).coef_, before)
            kept = {
                client.submit(lambda shard: shard.role, s).result() for s in data.shards.values()
            }
            assert kept == {0, 1, 2}
        caplog.clear()
        with place(*loader(tmp_path), keep="10 minutes", **OPTIONS) as data:
            assert "Taken up" not in said(caplog)  # it had been closed
        with place(sparse, da.from_array(Y, 100), keep="1 hour", **OPTIONS) as data:
            assert "Taken up" in said(caplog)
        wait_until(lambda: gradcode_keys(client) == [])


@pytest.mark.parametrize("changed", ["X", "y"])
def test_other_rows_behind_the_same_tasks_are_not_taken_up(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture, tmp_path: Path, changed: str
) -> None:
    write(tmp_path, X, Y)
    before = leave(cluster, *loader(tmp_path))
    other = (X[::-1], Y) if changed == "X" else (X, 1 - Y)
    write(tmp_path, *other)
    with Client(cluster), caplog.at_level(logging.WARNING, "dask_gradcode"):
        with place(*loader(tmp_path), keep="10 minutes", **OPTIONS) as data:
            why = "X has other rows" if changed == "X" else "the targets or the sample weights are"
            assert f"is not taken up: {'chunk' if changed == 'X' else why}" in said(caplog)
            assert why in said(caplog)
            data.wait(60)
            coef = CodedLogisticRegression().fit(data).coef_
        assert_allclose(coef, CodedLogisticRegression(n_stragglers=1).fit(*other).coef_)
    assert not np.array_equal(coef, before)


def test_another_wish_is_another_placement(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    leave(cluster, X, Y, keep="10 minutes")
    with Client(cluster), caplog.at_level(logging.WARNING, "dask_gradcode"):
        for options in ({"code": "uncoded", "n_stragglers": 0}, {"n_workers": 2}):
            place(X, Y, keep="10 minutes", **{**OPTIONS, **options}).close()
        place(X.astype(np.float32), Y, keep="10 minutes", **OPTIONS).close()
        place(X, Y, sample_weight=np.ones(600), keep="10 minutes", **OPTIONS).close()
        place(X, Y, **OPTIONS).close()  # that takes nothing up, and leaves what is kept alone
        assert "Taken up" not in said(caplog)
        place(X, Y, keep="10 minutes", **OPTIONS).close()
        assert "Taken up" in said(caplog)


def test_what_nobody_comes_for_is_let_go_in_time(cluster: LocalCluster) -> None:
    def entries(dask_worker: Any) -> list[tuple[str, int]]:
        plugin = dask_worker.plugins.get("dask-gradcode-kept")
        kept = {} if plugin is None else plugin._entries
        return [(entry.keep.uid, role) for (_, role), entry in kept.items()]

    def kept(client: Client) -> set[tuple[str, int]]:
        return {entry for found in client.run(entries).values() for entry in found}

    with Client(cluster) as client:
        before = kept(client)  # some of which may be let go just now
        leave(cluster, X, Y)
        assert len(kept(client) - before) == 3
        with Client(cluster, set_as_default=False) as other:
            place(X, Y, keep="0.3 s", client=other, **OPTIONS)  # takes them up, and goes
        wait_until(lambda: kept(client) <= before)


def test_what_has_died_with_its_worker_is_placed_anew(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    write(tmp_path, X, Y)
    with local_cluster(3) as watching, caplog.at_level(logging.WARNING, "dask_gradcode"):
        before = leave(watching.cluster, *loader(tmp_path))
        victim = next(iter(watching.scheduler_info()["workers"]))
        os.kill(pid_of(watching, victim), signal.SIGKILL)
        wait_until(lambda: victim not in watching.scheduler_info()["workers"])
        watching.wait_for_workers(3)
        with place(*loader(tmp_path), keep="10 minutes", **OPTIONS) as data:
            (text,) = [line for line in said(caplog).splitlines() if line.startswith("Taken up")]
            assert text.count(",") == 1  # two roles of three
            data.wait(60)
            assert_array_equal(CodedLogisticRegression().fit(data).coef_, before)


def test_a_client_that_is_killed_leaves_its_parquet_rows_to_the_next(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def write_files() -> None:
        table = pd.DataFrame(X, columns=list("abcd")).assign(y=Y)
        for part in range(4):
            rows = table.iloc[150 * part : 150 * part + 150]
            rows.to_parquet(tmp_path / f"{part}.parquet", index=False)

    write_files()
    script = """
        import sys
        import dask.dataframe as dd
        from distributed import Client
        from dask_gradcode import place

        with Client(sys.argv[1]):
            frame = dd.read_parquet(sys.argv[2], filesystem="arrow")
            options = dict(code="declustered", storage="disk", keep="1h")
            data = place(frame[list("abcd")], frame["y"], **options)
            data.wait()
            print("placed", flush=True)
            sys.stdin.read()
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(script),
        cluster.scheduler_address,
        str(tmp_path),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def place_anew() -> None:
        frame = dd.read_parquet(str(tmp_path), filesystem="arrow")  # fsspec's names are not equal
        options: Any = {"code": "declustered", "storage": "disk", "keep": "1h"}
        with place(frame[list("abcd")], frame["y"], **options) as data:
            coef = CodedLogisticRegression().fit(data).coef_
        assert_allclose(coef, expected, atol=1e-9)

    expected = CodedLogisticRegression().fit(X, Y).coef_
    with Client(cluster) as client, caplog.at_level(logging.WARNING, "dask_gradcode"):
        for change in (False, True):
            caplog.clear()
            with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
                assert process.stdout.readline() == b"placed\n"
                process.kill()
            wait_until(lambda: client.run_on_scheduler(n_clients) == 1)
            if change:  # the same rows, written anew: the reader cannot know that
                write_files()
            place_anew()
            assert ("Taken up" in said(caplog)) == (not change)


def n_clients(dask_scheduler: Any) -> int:
    return sum(name.startswith("Client-") for name in dask_scheduler.clients)


@pytest.mark.parametrize("keep", [0, -1.0, "soon", "", [], float("nan"), float("inf")])
def test_what_is_no_time_is_said_before_any_work(keep: Any) -> None:
    with pytest.raises(ValueError, match="keep must be a positive time, in seconds or as a text"):
        place(X, Y, keep=keep)


def test_memory_is_not_kept() -> None:
    with pytest.raises(ValueError, match="keep is for blocks on disk: use storage='disk'"):
        place(X, Y, keep="1 hour", storage="memory")


def test_a_fingerprint_is_of_tasks_and_not_of_names() -> None:
    def of(X: Any) -> str:
        return fingerprint_of(
            {"X": X, "y": Y, "sample_weight": None}, None, FractionalRepetition(2, 1)
        )

    assert of(da.from_array(X, 100)) == of(da.from_array(X.copy(), 100))
    other = X.copy()
    other[0, 0] += 1.0
    assert of(da.from_array(X, 100, name="mine")) != of(da.from_array(other, 100, name="mine"))
    assert of(X) != of(other)
    assert of(scipy.sparse.csr_array(X)) != of(scipy.sparse.csr_array(other))
