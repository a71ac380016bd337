"""Blocks on the workers' disks: models and messages have the bits of those in memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

from dask_gradcode import CodedLogisticRegression, CodedRidgeCV, place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.cluster.data.stored import StoredRows
from dask_gradcode.cluster.placement.storage import disks_of
from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    Uncoded,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Crew, Folds, as_work, compute_message, pieces_of
from helpers import frozen, gradcode_keys, local_cluster, logistic_data, pid_of, wait_until

pytestmark = pytest.mark.cluster

N_ROWS = 105_000  # in blocks of several chunks
CODES = [
    Uncoded(3),
    FractionalRepetition(2, 1),
    CyclicRepetition(3, 1),
    DeclusteredRepetition(3, 1, n_leaves=2),
]


@pytest.fixture(scope="module")
def three() -> Iterator[Client]:
    """Three worker processes of two threads."""
    with (
        LocalCluster(n_workers=3, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def data_of(kind: str) -> tuple[Any, Any, Any]:
    """Return lazy rows, targets and weights, each in chunks of their own, made on the workers."""

    def make(start: int, stop: int) -> Any:
        rng = np.random.default_rng(start)
        X = rng.integers(0, 3, size=(stop - start, 4)) * np.array([0.3, -0.7, 1.7, 1.0])
        if kind == "dense":
            return X
        wide = scipy.sparse.csr_array((stop - start, 9))
        return scipy.sparse.csr_array(scipy.sparse.hstack([wide, X, wide[:, :3]]))

    borders = [*range(0, N_ROWS, 35_000), N_ROWS]
    shape = (N_ROWS, 4 if kind == "dense" else 16)
    meta = np.zeros((0, 4)) if kind == "dense" else scipy.sparse.csr_array((0, 16))
    chunks = [
        da.from_delayed(dask.delayed(make)(a, b), (b - a, shape[1]), meta=meta)
        for a, b in pairwise(borders)
    ]
    rng = np.random.default_rng(1)
    y, weight = rng.integers(0, 2, N_ROWS), rng.uniform(0.5, 2.0, N_ROWS)
    return da.concatenate(chunks), da.from_array(y, 50_000), da.from_array(weight, 50_000)


def payloads(data: Placement, w: Vector) -> dict[tuple[int, int], Vector]:
    """Return what each role computes, on two threads, of each message that it could send."""

    def compute(shard: Any, code: GradientCode, role: int, w: Vector) -> Any:
        work, crew = as_work(Logistic()), Crew(2)
        w = w if shard.columns is None else np.append(w[shard.columns], w[-1])

        def cut(message: int) -> list[Any]:
            return pieces_of(code, code.messages[message], shard.seen_by(work), work, w)

        messages = [i for i in range(len(code.messages)) if role in code.senders(i)]
        found = {(role, i): compute_message(code, i, cut, crew=crew) for i in messages}
        crew.close()
        return found

    found = {}
    for role, shard in data.shards.items():
        arguments, where = (compute, shard, data.code, role, w), [data.addresses[role]]
        found |= data.client.submit(*arguments, workers=where, pure=False).result()
    return found


def is_on_disk(data: Placement) -> bool:
    """Say whether all rows are on the disks of their workers, or all in memory."""

    def kinds(shard: Any) -> set[bool]:
        return {isinstance(block.X, StoredRows) for block in shard.blocks.values()}

    found = [data.client.submit(kinds, s, pure=False) for s in data.shards.values()]
    (answer,) = set().union(*data.client.gather(found))
    return bool(answer)


@pytest.mark.parametrize("kind", ["dense", "CSR"])
def test_every_message_of_every_code_has_the_bits_of_memory(three: Client, kind: str) -> None:
    X, y, weight = data_of(kind)
    w = np.linspace(-1.0, 1.0, X.shape[1] + 1)
    for code in CODES:
        found = []
        for storage in ("memory", "disk"):
            with place(X, y, sample_weight=weight, code=code, storage=storage) as data:
                data.wait(60)
                assert is_on_disk(data) == (data.storage == "disk") == (storage == "disk")
                assert ("<th>on disk" in data._repr_html_()) == (storage == "disk")
                assert (data.roles.columns[0] is None) == (kind == "dense")
                found.append((payloads(data, w), data.spread, data.replica(0, 0).compute()))
        (memory, spread, rows), (disk, its_spread, its_rows) = found
        assert memory.keys() == disk.keys()
        for message, payload in memory.items():
            assert_array_equal(payload, disk[message])
        assert_array_equal(spread.squares, its_spread.squares)
        assert rows.dtype == its_rows.dtype
        assert abs(rows - its_rows).max() == 0.0


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_models_have_the_bits_of_memory(three: Client, transport: str) -> None:
    X, y, weight = data_of("dense")
    code = CODES[-1]

    def sums(w: Vector, block: Block) -> tuple[float, Vector]:
        assert isinstance(block.X, np.ndarray)
        return float(block.y.sum()), w * block.X.sum()

    found = []
    for storage in ("memory", "disk"):
        with place(X, y, sample_weight=weight, code=code, storage=storage) as data:
            classifier = CodedLogisticRegression(transport=transport).fit(data)
            ridge = CodedRidgeCV(transport=transport).fit(data)
            seen = []
            for work in (sums, Folds(as_work(Logistic()), n_folds=3)):  # by the last column
                with ClusterObjective(data, work, transport=transport) as objective:
                    seen.append(objective(np.ones(4)).gradient)
        found.append((classifier.coef_, classifier.intercept_, ridge.coef_, ridge.alpha_, *seen))
    for memory, disk in zip(*found, strict=True):
        assert_array_equal(memory, disk)


def test_float32_and_chunks_of_both_kinds_are_as_in_memory(three: Client) -> None:
    X, y = logistic_data(900, 4)

    def mixed(rows: Any, block_info: Any = None) -> Any:
        is_odd = block_info[0]["chunk-location"][0] % 2
        return scipy.sparse.csr_array(rows) if is_odd else rows

    lazy = da.from_array(X, (100, 4))
    for given in (lazy.astype(np.float32), lazy.map_blocks(mixed, meta=np.zeros((0, 4)))):
        found = []
        for storage in ("memory", "disk"):
            with place(given, y, code=FractionalRepetition(2, 1), storage=storage) as data:
                found.append((data.replica(0, 0).compute(), payloads(data, np.ones(5))[0, 0]))
        (rows, payload), (its_rows, its_payload) = found
        assert (type(rows), rows.dtype) == (type(its_rows), its_rows.dtype)
        assert_array_equal(payload, its_payload)


# ---------------------------------------------------------------- files, and what may go wrong


def all_bytes(client: Client) -> list[int]:
    """Return the bytes of files without names in each worker's directory."""

    def bytes_on_disk(dask_worker: Any) -> int:
        total, here = 0, os.path.realpath(dask_worker.local_directory)
        for number in os.listdir("/proc/self/fd"):
            try:
                path, found = os.readlink(f"/proc/self/fd/{number}"), os.stat(int(number))
            except OSError:  # it was there while they were listed
                continue
            total += found.st_blocks * 512 if path.startswith(here) and not found.st_nlink else 0
        return total

    return list(client.run(bytes_on_disk).values())


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc to look at")


@needs_proc
@pytest.mark.parametrize("kind", ["dense", "CSR"])
def test_files_are_as_large_as_the_blocks_and_gone_after_close(three: Client, kind: str) -> None:
    X, y, weight = data_of(kind)
    wait_until(lambda: all_bytes(three) == [0, 0, 0])
    with place(X, y, sample_weight=weight, code=Uncoded(3), storage="disk") as data:
        data.wait(60)
        nbytes = sum(data.roles.nbytes.values())
        wait_until(lambda: sum(all_bytes(three)) < 1.2 * nbytes)  # chunks are let go
        assert min(all_bytes(three)) > 0.2 * nbytes
        CodedLogisticRegression().fit(data)
    wait_until(lambda: all_bytes(three) == [0, 0, 0])
    wait_until(lambda: not gradcode_keys(three))


def test_a_lost_role_comes_back_from_others_disks_or_from_the_source() -> None:
    X, y, weight = data_of("dense")
    for code in (DeclusteredRepetition(3, 1, n_leaves=2), Uncoded(3)):
        with (
            local_cluster(3) as client,
            place(X, y, sample_weight=weight, code=code, storage="disk") as data,
        ):
            data.wait(60)
            before = CodedLogisticRegression().fit(data)
            os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
            wait_until(lambda data=data: 1 in data.lost)  # type: ignore[misc]
            data.wait(100)
            assert is_on_disk(data)
            after = CodedLogisticRegression().fit(data)
        assert_array_equal(before.coef_, after.coef_)


def test_a_shard_that_dask_spills_or_copies_is_no_harm(three: Client) -> None:
    X, y = logistic_data(300, 4)
    with place(X, y, code=FractionalRepetition(2, 1), storage="disk") as data:
        before = CodedLogisticRegression().fit(data)
        key, where = data.shards[0].key, data.addresses[0]

        def evict(dask_worker: Any) -> int:
            while dask_worker.data.evict() > 0:
                pass
            return int(key in dask_worker.data.disk)

        assert three.run(evict, workers=[where]) == {where: 1}
        three.replicate([data.shards[0]], n=3)  # a handle, of which the rows stay where they are
        after = CodedLogisticRegression(transport="tasks").fit(data)
        assert_array_equal(before.coef_, after.coef_)


def test_a_disk_that_cannot_take_the_blocks_is_said(three: Client) -> None:
    X, y = logistic_data(3000, 40)

    def limit(nbytes: int) -> int:
        import resource

        old, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, most))
        return old

    address, *_ = three.scheduler_info()["workers"]
    old = three.run(limit, 100_000, workers=[address])[address]
    try:
        text = f"Worker {address} cannot write rows to .*: File too large"
        with pytest.raises(OSError, match=text):
            place(X, y, code=Uncoded(3), storage="disk")
    finally:
        three.run(limit, old, workers=[address])

    wait_until(lambda: not gradcode_keys(three))
    place(X, y, code=Uncoded(3), storage="disk").close()


def test_who_is_silent_is_not_waited_for_when_disks_are_looked_at(three: Client) -> None:
    addresses = [*three.scheduler_info()["workers"]]
    asleep = addresses[0]
    with (
        dask.config.set({"gradcode.timeouts.workers": 0.5}),
        frozen(three.run(os.getpid, workers=[asleep])[asleep]),
    ):
        assert [*disks_of(three, addresses)] == addresses[1:]
    assert [*disks_of(three, addresses)] == addresses
    wait_until(lambda: gradcode_keys(three) == [])


def test_what_is_no_storage_is_said() -> None:
    with pytest.raises(ValueError, match="must be one of 'auto', 'memory', 'disk', got 'tape'"):
        place(np.zeros((3, 1)), [0, 1, 0], storage="tape")
