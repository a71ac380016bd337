"""Data on the workers: the right rows, each source chunk computed once, replicas that stay."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from dask.sizeof import sizeof
from distributed import Client, Event, get_worker
from numpy.testing import assert_array_equal

from dask_gradcode import InsufficientWorkersError, place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.data.shard import take_blocks
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded
from dask_gradcode.history import History
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import (
    count_rows,
    frozen,
    gradcode_keys,
    local_cluster,
    logistic_data,
    pid_of,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(97, 3)
WEIGHT = np.random.default_rng(1).random(97)
CODE = CyclicRepetition(4, 1)


def sparse_chunks(X: Any, chunks: Any) -> Any:
    dense = da.from_array(X, chunks=(chunks, X.shape[1]))
    return dense.map_blocks(scipy.sparse.csr_array, meta=scipy.sparse.csr_array((0, 0)))


SOURCES = {
    "ndarray": lambda: (X, Y, WEIGHT),
    "float32": lambda: (X.astype(np.float32), Y, None),
    "csr": lambda: (scipy.sparse.csr_matrix(X), Y, WEIGHT),
    "dask, chunked differently": lambda: (
        da.from_array(X, chunks=(13, 3)),
        da.from_array(Y, chunks=40),
        da.from_array(WEIGHT, chunks=97),
    ),
    "dask, y in memory": lambda: (da.from_array(X, chunks=(50, 3)), Y, WEIGHT),
    "dask with CSR chunks": lambda: (sparse_chunks(X, 31), da.from_array(Y, chunks=20), None),
    "dask, unknown lengths": lambda: (
        da.from_array(X, chunks=(13, 3))[da.from_array(np.arange(97), chunks=13) < 90],
        da.from_array(Y, chunks=13)[da.from_array(np.arange(97), chunks=13) < 90],
        None,
    ),
    "dask, y from persisted X": lambda: (
        (lazy := da.from_array(np.column_stack([X, Y]), chunks=(20, 4)).persist())[:, :3],
        lazy[:, 3],
        da.from_array(WEIGHT, chunks=97).persist(),
    ),
    "dask, with empty chunks": lambda: (
        da.from_array(X, chunks=((50, 0, 47), 3)),
        da.from_array(Y, chunks=((0, 97),)),
        None,
    ),
}


def dense(array: Any) -> Any:
    array = array.compute()
    return array.toarray() if scipy.sparse.issparse(array) else array


@pytest.mark.parametrize("source", SOURCES)
def test_every_role_holds_its_rows(client: Client, source: str) -> None:
    with place(*SOURCES[source]()[:2], code=CODE, sample_weight=SOURCES[source]()[2]) as data:
        n = 90 if "unknown" in source else 97
        expected = X[:n].astype(np.float32) if source == "float32" else X[:n]
        assert (data.n_samples, data.n_features) == (n, 3)
        borders = np.concatenate([[0], np.cumsum(data.block_rows)]).astype(int)
        assert borders[-1] == n
        assert np.ptp(data.block_rows) <= 1
        for role in range(CODE.n_workers):
            for block in CODE.blocks_of(role):
                replica = data.replica(role, block)
                rows = expected[borders[block] : borders[block + 1]]
                assert replica.shape == rows.shape
                assert replica.dtype == rows.dtype
                assert_array_equal(dense(replica), rows)


@pytest.mark.parametrize("source", SOURCES)
def test_targets_and_weights_come_with_their_rows(client: Client, source: str) -> None:
    X_, y_, weight = SOURCES[source]()
    n = 90 if "unknown" in source else 97

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        weight = np.ones(block.n_rows) if block.sample_weight is None else block.sample_weight
        return float(block.y @ weight), block.X.T @ (block.y * weight)

    with place(X_, y_, sample_weight=weight, code=CODE) as data, ClusterObjective(data, work) as f:
        seen = f(np.zeros(3))
    wy = Y[:n] * (1.0 if weight is None else WEIGHT)
    assert seen.value == pytest.approx(wy.sum(), rel=1e-12)
    expected = X[:n].astype(np.float32) if source == "float32" else X[:n]
    np.testing.assert_allclose(seen.gradient, expected.T @ wy, rtol=1e-6)
    assert data.targets.weight == pytest.approx(n if weight is None else WEIGHT.sum())


def test_weights_may_be_zero_in_a_whole_chunk(client: Client) -> None:
    weight = np.where(np.arange(97) < 40, 0.0, WEIGHT)
    lazy = (da.from_array(a, chunks=n) for a, n in ((X, (30, 3)), (Y, 20), (weight, 10)))
    X_, y_, weight_ = lazy
    with place(X_, y_, sample_weight=weight_, code=CODE) as data:
        assert data.targets.weight == pytest.approx(weight.sum())


def test_labels_that_are_not_numbers_are_encoded_on_the_workers(client: Client) -> None:
    names = np.where(Y, "yes", "no")
    source = da.from_array(X, chunks=(30, 3)), da.from_array(names, chunks=20)
    with place(*source, code=CODE) as data:
        assert data.targets.labels.tolist() == ["no", "yes"]
        assert_array_equal(data.targets.counts, np.bincount(Y))
        with ClusterObjective(data, lambda w, block: (float(block.y.sum()), w)) as objective:
            assert objective(np.zeros(1)).value == pytest.approx(Y.sum())


def test_each_source_chunk_is_computed_once_by_one_who_keeps_it(
    client: Client, tmp_path: Path
) -> None:
    log = tmp_path / "computed"

    def record(chunk: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{np.flatnonzero((chunk[0] == X).all(axis=1))[0]} {get_worker().address}\n")
        return chunk

    source = da.from_array(X, chunks=(10, 3)).map_blocks(record, meta=np.empty((0, 3)))
    y = source[:, 0] > 0  # for which Dask would compute the chunks again, if asked apart
    code = FractionalRepetition(4, 1)
    with place(source, y, code=code) as data:
        computed = [line.split() for line in log.read_text().splitlines()]
        assert sorted(int(row) for row, _ in computed) == list(range(0, 97, 10))
        ends = np.cumsum(data.block_rows)
        for row, address in computed:
            holders = [
                role
                for role in range(4)
                for block in code.blocks_of(role)
                if ends[block] - data.block_rows[block] - 9 <= int(row) < ends[block]
            ]
            assert address in {data.addresses[role] for role in holders}
        assert len({address for _, address in computed}) == 4  # all take part
        with ClusterObjective(data, lambda w, block: (1.0, w)) as objective:
            objective(np.zeros(1))
    assert len(log.read_text().splitlines()) == source.numblocks[0]


def test_rows_arrive_aligned_so_that_nothing_copies_them_again(client: Client) -> None:
    def arrays(block: Block) -> list[Any]:
        X: Any = block.X
        return [X] if isinstance(X, np.ndarray) else list(X._parts)

    def aligned(shard: Any) -> list[bool]:
        taken = isinstance(shard, list)
        blocks = [parcel.content for parcel in shard] if taken else shard.blocks.values()
        return [array.flags.aligned for block in blocks for array in arrays(block)]

    large = np.random.default_rng(0).normal(size=(80_000, 4))  # Dask sends small arrays otherwise
    y = np.arange(80_000) % 2
    lazy = da.from_array(large, chunks=(20_000, 4))
    for X_, y_ in ((large, y), (lazy, y), (lazy.rechunk((15_000, 4)), y)):
        with place(X_, y_, code=FractionalRepetition(4, 1)) as data:
            wait_until(lambda data=data: not data.lost)
            for shard in data.shards.values():
                assert all(client.submit(aligned, shard, pure=False).result())
            block = client.submit(take_blocks, data.shards[0], [0], pure=False)
            there = [data.addresses[role] for role in (2, 3)]
            assert all(client.submit(aligned, block, workers=there, pure=False).result())


def test_rows_do_not_pass_through_the_client(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "unpickled"

    def traced(chunk: Any) -> Any:
        class Traced(scipy.sparse.csr_array):
            def __reduce__(self) -> Any:
                return rebuild, (self.data, self.indices, self.indptr, self.shape)

        def rebuild(data: Any, indices: Any, indptr: Any, shape: Any) -> Any:
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            return scipy.sparse.csr_array((data, indices, indptr), shape=shape)

        return Traced(chunk)

    meta = scipy.sparse.csr_array((0, 0))
    source = da.from_array(X, chunks=(10, 3)).map_blocks(traced, meta=meta)
    with place(source, da.from_array(Y, chunks=30), code=FractionalRepetition(4, 1)):
        pids = {int(line) for line in log.read_text().splitlines()}
        assert pids  # chunks did travel
        assert pids <= set(client.run(os.getpid).values())


def test_replicas_survive_memory_manager_rebalance_and_stealing(client: Client) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        before = client.who_has(list(data.shards.values()))
        assert {tuple(where) for where in before.values()} == {
            (a,) for a in data.addresses.values()
        }
        for _ in range(3):
            client.amm.run_once()
            client.rebalance()
        # work that Dask may steal, while the shards are in use
        busy = client.map(lambda i: sum(range(i)), range(1000, 1200), pure=False)
        with ClusterObjective(data, lambda w, block: (float(block.n_rows), w)) as objective:
            for _ in range(5):
                assert objective(np.zeros(1)).value == 97.0
        client.gather(busy)
        assert client.who_has(list(data.shards.values())) == before


def test_nothing_is_left_after_close(client: Client) -> None:
    data = place(X, Y, code=CODE)
    assert any("gradcode-shard" in key for key in gradcode_keys(client))
    data.close()
    data.close()  # twice does no harm
    wait_until(lambda: not gradcode_keys(client))
    with pytest.raises(RuntimeError, match="has been closed"):
        data.replica(0, 0)
    with pytest.raises(RuntimeError, match="has been closed"):
        ClusterObjective(data, lambda w, block: (0.0, w))


def test_replica_says_what_a_role_holds(client: Client) -> None:
    with place(X, Y, code=Uncoded(4)) as data:
        with pytest.raises(ValueError, match=r"Role 1 does not hold block 0; it holds \(1,\)"):
            data.replica(1, 0)
        with pytest.raises(ValueError, match="Role 9 holds nothing"):
            data.replica(9, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_in_a_chunk_is_found_on_its_worker(client: Client, bad: float) -> None:
    spoilt = X.copy()
    spoilt[70, 1] = bad
    with pytest.raises(ValueError, match=r"^Chunk 2 of X \(on tcp://.*\): Input X contains "):
        place(da.from_array(spoilt, chunks=(30, 3)), da.from_array(Y, chunks=30))
    target = Y.astype(float)
    target[5] = bad
    with pytest.raises(ValueError, match=r"^Chunk 0 of y .*: Input y contains "):
        place(da.from_array(X, chunks=(30, 3)), da.from_array(target, chunks=30))
    wait_until(lambda: not gradcode_keys(client))


def test_an_error_in_the_users_graph_comes_through(client: Client) -> None:
    def broken(chunk: Any) -> Any:
        raise OSError("the file is gone")

    source = da.from_array(X, chunks=(30, 3)).map_blocks(broken, meta=np.empty((0, 3)))
    with pytest.raises(OSError, match="the file is gone"):
        place(source, da.from_array(Y, chunks=30))
    wait_until(lambda: not gradcode_keys(client))


def test_too_few_workers_or_rows(client: Client) -> None:
    with dask.config.set({"gradcode.timeouts.workers": "0s"}):
        for options, text in (
            ({"n_workers": 9}, r"needs 9 workers, .* cluster at tcp://.* has 4.*for_workers\(9\)"),
            ({"code": CyclicRepetition(6, 1)}, r"one of these: Cyclic.* 1 silent.*n_workers=4"),
        ):
            with pytest.raises(InsufficientWorkersError, match=text):
                place(X, Y, **options)
    with pytest.raises(ValueError, match="into 4 blocks, but it has only 3 rows"):
        place(X[:3], [0, 1, 0])
    wait_until(lambda: not gradcode_keys(client))


def sizes_in_memory(data: Placement) -> list[int]:
    """Return how many bytes of each shard Dask's memory manager counts."""
    data.wait(60)
    sizes = [data.client.submit(sizeof, shard, pure=False) for shard in data.shards.values()]
    found: list[int] = data.client.gather(sizes)
    return found


def test_too_little_memory_is_said_before_placement() -> None:
    with local_cluster(2) as client:
        X = np.zeros((1000, 500))
        X[:, 0] = np.arange(1000)

        def shrink(dask_scheduler: Any) -> None:
            for worker in dask_scheduler.workers.values():
                worker.memory_limit = 5_000_000

        client.run_on_scheduler(shrink)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            place(X, np.arange(1000) % 2, n_stragglers=1, storage="memory").close()
        with place(X, np.arange(1000) % 2, n_stragglers=1) as data:  # no warning: it is on disk
            assert sizes_in_memory(data) == [0, 0]
    texts = [str(warning.message) for warning in caught]
    assert any("100% of the data, 3.81 MiB, of its memory limit of 4.77 MiB" in t for t in texts)
    assert [w.filename for w in caught if "of the data" in str(w.message)] == [__file__]


def test_a_frozen_worker_without_replicas_ends_placement_with_its_name() -> None:
    with local_cluster(2) as client, dask.config.set({"gradcode.timeouts.recover": "1s"}):
        address = sorted(client.scheduler_info()["workers"])[1]
        with (
            frozen(pid_of(client, address)),
            pytest.raises(InsufficientWorkersError, match=rf"(?s){address}: .*no heartbeat"),
        ):
            place(X, Y, code=Uncoded(2))
        wait_until(lambda: not gradcode_keys(client))


@pytest.mark.parametrize("source", ["ndarray", "dask, chunked differently"])
def test_placement_does_not_wait_for_a_frozen_worker(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its chunks are computed elsewhere, and rounds begin without its role, with a warning."""
    with local_cluster(4) as client:
        address = sorted(client.scheduler_info()["workers"])[1]
        X_, y_, _ = SOURCES[source]()
        with frozen(pid_of(client, address)):
            data = place(X_, y_, n_stragglers=1)
            # on a busy machine others may be late, too
            (role,) = {role for role in data.lost if data.addresses[role] == address}
            objective = ClusterObjective(data, count_rows)
            expected = (
                rf"before all roles are placed \(.*role {role}: {address}.*tolerates 1 silent"
            )
            with pytest.warns(UserWarning, match=expected):
                seen = objective(np.zeros(1))
            history = History(data.code, "stream", [seen.record])
            assert (seen.value, seen.record.lost) == (97.0, ())
            assert role in seen.record.unplaced
        with data, objective:  # awake, it joins
            while history[-1].unplaced:
                assert "all roles are placed; tolerated" not in caplog.text
                seen = objective(np.zeros(1))
                assert seen.value == 97.0
                history.records.append(seen.record)
            assert [(event.round, event.what) for event in history.events] == [
                (history[-1].round, "complete")
            ]
            assert "all roles are placed; tolerated from now on: 1 silent" in caplog.text
            assert caplog.text.count("all roles are placed;") == 1
            wait_until(lambda: np.isfinite(objective(np.zeros(1)).record.arrived_at[role]))
        wait_until(lambda: not gradcode_keys(client))


def test_a_worker_that_dies_during_placement_is_replaced() -> None:
    with local_cluster(3) as client:
        victim = sorted(client.scheduler_info()["workers"])[1]
        started, gate = Event("started", client=client), Event("gate", client=client)

        def slow(chunk: Any) -> Any:
            Event("started").set()
            Event("gate").wait()
            return chunk

        def kill() -> None:
            started.wait(30)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: victim not in client.scheduler_info()["workers"])
            gate.set()

        # the last chunk alone is slow, so that two workers are free
        lengths = (50, 47)
        source = da.from_array(X, chunks=(lengths, 3))
        source = da.concatenate([source[:50], source[50:].map_blocks(slow, meta=np.empty((0, 3)))])
        killer = threading.Thread(target=kill)
        pid = pid_of(client, victim)
        killer.start()
        with place(source, da.from_array(Y, chunks=50), code=Uncoded(3)) as data:
            killer.join()
            assert pid not in client.run(os.getpid).values()
            assert victim not in data.addresses.values()  # its nanny has started another
            with ClusterObjective(data, count_rows) as objective:
                assert objective(np.zeros(1)).value == 97.0


@pytest.mark.parametrize("source", ["ndarray", "dask, chunked differently"])
def test_a_worker_that_dies_with_what_it_has_found_is_done_without(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked at a chunk, and dies before it has handed over what it saw."""
    fetch, killed = Mailbox._fetch, []

    async def kill_first(self: Mailbox, future: Any) -> Any:
        if not killed:
            killed.append(future.key)  # at once: other results are fetched meanwhile
            scheduler: Any = self._client.scheduler
            ((address,),) = (await scheduler.who_has(keys=[future.key])).values()
            os.kill(pids[address], signal.SIGKILL)
        return await fetch(self, future)

    with local_cluster(4) as client:
        pids = client.run(os.getpid)
        X_, y_, _ = SOURCES[source]()
        monkeypatch.setattr(Mailbox, "_fetch", kill_first)
        with (
            place(X_, y_, n_stragglers=1) as data,
            ClusterObjective(data, count_rows) as objective,
        ):
            assert len(killed) == 1
            assert objective(np.zeros(1)).value == 97.0
        wait_until(lambda: not gradcode_keys(client))


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError])
def test_an_error_of_reading_data_is_no_loss_of_a_worker(
    client: Client, error: type[OSError]
) -> None:
    def read(chunk: Any) -> Any:
        raise error("no such store")

    lazy = da.from_array(X, chunks=(50, 3)).map_blocks(read, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(error, match="no such store"):
        place(lazy, Y)
    wait_until(lambda: not gradcode_keys(client))
