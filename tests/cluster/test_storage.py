"""Where blocks are kept: what is chosen, what is refused, and what an estimate says beforehand."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client, LocalCluster

from dask_gradcode import InsufficientWorkersError, estimate, place
from dask_gradcode.cluster import Placement
from dask_gradcode.cluster.data.disk import DiskFacts, kind_of
from dask_gradcode.cluster.data.stored import StoredRows
from dask_gradcode.cluster.placement.storage import best_storage, why_no_room
from dask_gradcode.codes import FractionalRepetition, Uncoded

X, Y = np.arange(40_000.0).reshape(1000, 40), np.arange(1000) % 2  # 320,000 bytes
MEMORY = "/dev/shm"


@pytest.fixture
def two() -> Iterator[LocalCluster]:
    """Two workers in this process, whose limits and directories a test may change."""
    with LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as cluster:
        yield cluster


def limit(cluster: LocalCluster, nbytes: int) -> None:
    for worker in cluster.scheduler.workers.values():
        worker.memory_limit = nbytes


def is_on_disk(data: Placement) -> bool:
    data.wait(60)
    shards = data.client.gather(list(data.shards.values()))
    kinds = {isinstance(block.X, StoredRows) for shard in shards for block in shard.blocks.values()}
    (found,) = kinds
    return found


def test_auto_takes_the_disk_beyond_half_of_the_memory(two: LocalCluster) -> None:
    with Client(two) as client:
        for nbytes, expected in ((0, False), (640_001, False), (639_999, True)):
            limit(two, nbytes)
            found = estimate(X, Y, code=FractionalRepetition(2, 1), client=client)
            assert (found.storage == "disk", found.memory_limit) == (expected, nbytes)
            with place(X, Y, code=FractionalRepetition(2, 1), client=client) as data:
                assert is_on_disk(data) == expected


def test_a_directory_that_cannot_be_written_is_named_before_anything_moves(
    two: LocalCluster, tmp_path: Path
) -> None:
    with Client(two) as client:
        worker = two.workers[1]
        gone, worker.local_directory = tmp_path / "gone", str(tmp_path / "gone")
        text = rf"storage='disk': worker {worker.address} cannot write to {gone}: No such file"
        with pytest.raises(OSError, match=text):
            place(X, Y, code=Uncoded(2), storage="disk", client=client)
        limit(two, 250_000)
        assert estimate(X, Y, code=Uncoded(2), client=client).storage == "memory"
        with (
            pytest.warns(UserWarning, match=rf"They cannot be kept on disk: .*{gone}"),
            place(X, Y, code=Uncoded(2), client=client) as data,
        ):
            assert not is_on_disk(data)


@pytest.mark.skipif(not os.path.isdir(MEMORY), reason="no file system in memory")
def test_a_disk_that_is_memory_is_said(two: LocalCluster) -> None:
    with Client(two) as client:
        for worker in two.workers.values():
            worker.local_directory = MEMORY
        with (
            pytest.warns(UserWarning, match="Rows will be written to /dev/shm, which is no disk"),
            place(X, Y, code=Uncoded(2), storage="disk", client=client) as data,
        ):
            assert is_on_disk(data)
        limit(two, 250_000)
        with pytest.warns(UserWarning, match="on disk: /dev/shm, where .* is no disk but memory"):
            place(X, Y, code=Uncoded(2), client=client).close()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_disk_is_said_with_what_to_set(
    two: LocalCluster, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.path.realpath(tmp_path)
    mounts = [SimpleNamespace(mountpoint=m, fstype=k) for m, k in (("/", "ext4"), (there, kind))]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    with Client(two) as client:
        place(X, Y, code=Uncoded(2), storage="disk", client=client).close()
        for worker in two.workers.values():
            worker.local_directory = there
        text = rf"written to {there}, which is on a network disk \({kind}\).* --local-directory"
        with (
            pytest.warns(UserWarning, match=text) as warned,
            place(X, Y, code=Uncoded(2), storage="disk", client=client) as data,
        ):
            assert is_on_disk(data)
        assert warned[0].filename == __file__
        limit(two, 250_000)
        with (
            pytest.warns(UserWarning, match=text),  # slow, but more than memory could take
            place(X, Y, code=Uncoded(2), client=client) as data,
        ):
            assert is_on_disk(data)


def test_a_disk_is_remote_by_its_kind_alone() -> None:
    def is_remote(kind: str) -> bool:
        return DiskFacts("/scratch", 7, 1, kind).is_remote

    assert all(map(is_remote, ("nfs", "smb3", "lustre", "9p", "fuse", "fuse.s3fs", "ceph")))
    assert not any(map(is_remote, ("ext4", "xfs", "overlay", "tmpfs", "fuseblk", "zfs", "")))


def test_a_mount_over_another_hides_it() -> None:
    assert kind_of("/a/b", [("/", "ext4"), ("/a", "nfs"), ("/a", "xfs")]) == "xfs"
    assert kind_of("/a/b", [("/a/b/c", "nfs"), ("/ab", "nfs")]) == ""


def test_values_that_are_all_one_take_no_room(two: LocalCluster) -> None:
    ones = scipy.sparse.csr_array(np.kron(np.eye(2), np.ones((500, 20))))  # 20,000 stored
    other = ones.copy()
    other.data[-1] = 2.0
    lazy = [
        da.from_array(rows.toarray(), (100, 40)).map_blocks(scipy.sparse.csr_array, meta=ones[:0])
        for rows in (ones, other)
    ]
    code, without = FractionalRepetition(2, 1), 20_000 * 4 + 1001 * 8
    with Client(two) as client:
        limit(two, 3 * without)  # twice the bytes without values is less, with values is more
        for given, expected in ((ones, False), (lazy[0], False), (other, True), (lazy[1], True)):
            with place(given, Y, code=code, client=client) as data:
                assert is_on_disk(data) == expected
                held = max(data.roles.nbytes.values()) - Y.size * 8
            if given is not lazy[1]:  # an estimate takes all chunks for alike
                found = estimate(given, Y, code=code, client=client)
                assert (found.storage == "disk") == expected
                assert found.held == pytest.approx(held, rel=0.05)


def test_workers_of_one_host_share_its_disk() -> None:
    disks = {name: DiskFacts("/scratch", 7, 1000 * 2**20, "ext4") for name in "abc"}
    hosts = {"a": "one", "b": "one", "c": "two"}
    assert why_no_room(disks, hosts, 500 * 2**20) == ""
    text = why_no_room(disks, hosts, 600 * 2**20)
    assert text.startswith("a, b would write 1.17 GiB to /scratch, where 0.98 GiB are free.")
    assert why_no_room(disks, dict.fromkeys("abc", "one"), 333 * 2**20) == ""
    assert why_no_room(disks, dict.fromkeys("abc", "one"), 334 * 2**20)
    storage, why = best_storage(disks, hosts, held=2**30, written=2**31, limit=100)
    assert storage == "memory"
    assert "would write" in why


def test_an_estimate_is_of_what_placing_takes(two: LocalCluster) -> None:
    lazy = da.from_array(X, (100, 40))
    sparse = lazy.map_blocks(scipy.sparse.csr_array, meta=scipy.sparse.csr_array((0, 40)))
    unknown = lazy[da.ones(1000, chunks=100) > 0]
    with Client(two) as client:
        for given in (X, X.astype(np.float32), lazy, unknown, scipy.sparse.csr_array(X), sparse):
            found = estimate(given, Y, n_stragglers=1, client=client)
            with place(given, da.from_array(Y, 100) if hasattr(given, "dask") else Y) as data:
                data.wait(60)
                held = max(data.roles.nbytes.values())
            # blocks have their targets, too, and a sparse one a row's end more
            assert found.held == pytest.approx(held - 8 * 1000, rel=0.02)
            assert found.code == data.code
            moves = found.held * 2 - (found.nbytes if hasattr(given, "dask") else 0)
            assert found.moved == moves
            assert found.written == found.held + found.nbytes // 2
            assert found.free > 0
            assert str(found).count("\n") == 6
        with pytest.raises(InsufficientWorkersError, match=r"needs 5 workers, .* has 2"):
            estimate(X, Y, code=Uncoded(5), client=client)
        alone, shared = (estimate(X, Y, code=Uncoded(n), client=client) for n in (2, 4))
        assert shared.held == alone.held  # two roles each, of half as many rows


def test_no_warning_without_need_and_no_client_but_the_one_given(two: LocalCluster) -> None:
    with Client(two, set_as_default=False) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        place(X, Y, code=Uncoded(2), storage="disk", client=client).close()
