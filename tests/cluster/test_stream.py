"""What only streams promise: latest wins, nobody is waited for, sockets end with their fit."""

from __future__ import annotations

import os
import resource
import signal
import socket
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from scipy.sparse import csr_array

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.cluster.transport import StreamTransport
from dask_gradcode.cluster.transport.connector import Connector
from dask_gradcode.cluster.worker import desk as desk_module
from dask_gradcode.cluster.worker import wire
from dask_gradcode.cluster.worker.wire import Unreadable
from dask_gradcode.codes import FractionalRepetition, Uncoded
from dask_gradcode.kernels import chunk_rows
from dask_gradcode.losses import Loss
from dask_gradcode.rounds import Arrived
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, as_work
from frames import UNREADABLE
from helpers import (
    Interfering,
    count_rows,
    frozen,
    gradcode_keys,
    local_cluster,
    pid_of,
    wait_until,
)

pytestmark = pytest.mark.cluster

CODE = FractionalRepetition(4, 1)
N_ROWS = 8 * chunk_rows(csr_array((1, 1)))  # four chunks of rows in each message
LABELS = np.arange(N_ROWS) % 2


@pytest.mark.parametrize(("n_features", "n_rounds"), [(1, 2000), (300_000, 30)])
def test_a_worker_that_wakes_computes_at_most_one_stale_chunk(
    client: Client, tmp_path: Path, n_features: int, n_rounds: int
) -> None:
    """Thousands of small w fit in the buffers of a socket, not even one large w does."""
    log = tmp_path / "rounds"

    class Logged(Loss):
        def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
            if get_worker().address == slow:
                with log.open("a") as file:
                    file.write(f"{int(z[0])}\n")
                if z[0] not in (0, n_rounds):
                    Event("newer-is-on-its-way").wait()
            return z, y

    newer = Event("newer-is-on-its-way", client=client)
    with place(csr_array((N_ROWS, n_features)), LABELS, code=CODE) as data:
        slow = data.addresses[0]
        transport = StreamTransport(client, CODE, as_work(Logged()), data.serving)
        for role, shard in data.shards.items():
            transport.attach(role, shard, data.addresses[role])

        def run_round(number: int, roles: set[int]) -> None:
            w = np.zeros(n_features + 1)
            w[-1] = number  # the intercept, which is all that these rows see of w
            transport.begin(number, w, 1)
            for role in range(4):
                transport.ask(role, CODE.messages_of[role])
            answered: set[int] = set()
            while not answered >= roles:
                # The beginning of a round newer than any that has come whole is on its way; its
                # rest may need the slow worker to read, which it cannot before the gate is open.
                if number == n_rounds and (slowest._now or not slowest._next):
                    newer.set()
                for event in transport.poll(0.1):
                    assert isinstance(event, Arrived)
                    if event.round == number:
                        answered.add(event.role)

        try:
            run_round(0, {0, 1, 2, 3})
            slowest = transport._links[0].outbox
            with frozen(pid_of(client, slow)):
                for number in range(1, n_rounds):
                    run_round(number, {1, 2, 3})
            run_round(n_rounds, {0, 1, 2, 3})
        finally:
            transport.close()
    newer.clear()
    chunks = [int(line) for line in log.read_text().split()]
    assert chunks[:4] == [0] * 4
    assert chunks[-4:] == [n_rounds] * 4
    assert len(chunks[4:-4]) <= 1


def test_an_error_that_cannot_be_read_here_is_still_an_error(client: Client) -> None:
    def broken(w: Vector, block: Block) -> tuple[float, Vector]:
        class Strange(Exception):
            def __init__(self, one: int, two: int) -> None:  # its pickle has no arguments
                super().__init__()

        raise Strange(1, 2)

    with (
        place(np.eye(8), np.arange(8) % 2, code=CODE) as data,
        ClusterObjective(data, broken) as objective,
        pytest.raises(RuntimeError, match="raised an error that cannot be read here"),
    ):
        objective(np.zeros(8))


def test_a_fit_leaves_no_open_file_behind(client: Client) -> None:
    def open_files() -> dict[str, int]:
        found: dict[str, int] = client.run(lambda: len(os.listdir("/proc/self/fd")))
        return {**found, "client": len(os.listdir("/proc/self/fd"))}

    X = np.random.default_rng(0).normal(size=(N_ROWS, 2))
    with place(X, LABELS, code=CODE) as data:
        CodedLogisticRegression().fit(data)  # opens what Dask itself keeps open
        before = open_files()
        for _ in range(20):
            CodedLogisticRegression().fit(data)
        wait_until(lambda: all(after <= before[k] + 2 for k, after in open_files().items()))
    wait_until(lambda: not gradcode_keys(client))


def test_a_stream_needs_tcp() -> None:
    with (
        Client(processes=False, n_workers=2, dashboard_address=":0") as client,
        place(np.eye(4), [0, 1, 0, 1], client=client) as data,
    ):
        with pytest.raises(ValueError, match=r"'stream' needs workers at tcp:// .*'tasks'"):
            ClusterObjective(data, count_rows, transport="stream")
        with ClusterObjective(data, count_rows) as objective:
            assert objective.transport == "tasks"
            assert objective(np.zeros(1)).value == 4.0


def test_more_roles_than_files_may_be_open_are_an_error_or_a_case_for_tasks(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with place(np.eye(8), np.arange(8) % 2, code=CODE) as data:
        few = len(os.listdir("/dev/fd")) + 40
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
        try:
            with pytest.raises(ValueError, match=rf"each of 4 roles.*{few} files.*'tasks'"):
                ClusterObjective(data, count_rows, transport="stream")
            with ClusterObjective(data, count_rows) as objective:
                assert objective.transport == "tasks"
                assert objective(np.zeros(8)).value == 8.0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "ulimit -n" in caplog.text


def test_workers_that_are_out_of_reach_are_an_error_or_a_case_for_tasks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behind_a_firewall(self: Connector, address: str, token: str) -> None:
        raise OSError("no route")

    with (
        place(np.eye(8), np.arange(8) % 2, code=CODE) as data,
        dask.config.set({"gradcode.timeouts.connect": "2s"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Connector, "_try", behind_a_firewall)
            with pytest.raises(ConnectionError, match=r"within 2 s .*timeouts\.connect.*'tasks'"):
                ClusterObjective(data, count_rows, transport="stream")
            with ClusterObjective(data, count_rows) as objective:
                assert objective.transport == "tasks"
        with ClusterObjective(data, count_rows, transport="stream") as objective:
            assert objective(np.zeros(8)).value == 8.0


@pytest.mark.parametrize("transport", ["stream", "tasks"])
@pytest.mark.parametrize("in_mid_fit", [False, True])
def test_placed_data_that_is_cancelled_is_said_at_once(
    client: Client, transport: str, in_mid_fit: bool
) -> None:
    with place(np.eye(8), np.arange(8) % 2, code=CODE) as data:
        act = lambda: client.cancel(list(data.shards.values()))  # noqa: E731
        model = CodedLogisticRegression(transport=transport).fit(data)
        if in_mid_fit:
            model.set_params(solver=Interfering(round=1, act=act))
        else:
            act()
        with pytest.raises(RuntimeError, match=r"roles \[0, 1, 2, 3\] has been cancelled"):
            model.fit(data)
    wait_until(lambda: not gradcode_keys(client))


def test_a_worker_frozen_before_the_first_round_joins_when_it_wakes() -> None:
    with local_cluster(2) as client, place(np.eye(4), [0, 1, 0, 1]) as data:
        with frozen(pid_of(client, data.addresses[1])):
            objective = ClusterObjective(data, count_rows)
            assert objective(np.zeros(1)).value == 4.0
        with objective:
            wait_until(lambda: np.isfinite(objective(np.zeros(1)).record.arrived_at[1]))


def test_a_role_is_not_back_between_its_sockets_end_and_the_word_of_its_death() -> None:
    records = []
    with (
        local_cluster(4) as client,
        place(np.ones((40, 2)), np.arange(40) % 2, code=CODE) as data,
        ClusterObjective(data, count_rows, transport="stream") as objective,
    ):
        data.wait(timeout=30)
        objective(np.zeros(2))
        os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
        while 1 not in data.lost or len(records) < 20:
            records.append(objective(np.zeros(2)).record)
    assert any(1 in record.lost for record in records)
    assert not any(record.restored for record in records)


def visit(client: Client, data: Placement, role: int, sent: bytes) -> bytes:
    """Open a connection to a role's desk, send something, and return all that comes back."""
    opened: SimpleQueue[Any] = SimpleQueue()
    connector = Connector(client, data.serving, lambda ticket, found: opened.put(found))
    token = data.serving.token(role, data.shards[role], data.addresses[role])
    connector.open(None, data.addresses[role], token)
    with opened.get() as sock:
        connector.close()
        sock.settimeout(None)
        sock.sendall(sent)
        return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_rubbish_on_a_desk_or_a_workers_port_is_no_matter_of_the_fits(client: Client) -> None:
    with (
        place(np.eye(8), np.arange(8) % 2, code=Uncoded(4)) as data,
        ClusterObjective(data, count_rows, transport="stream") as objective,
    ):
        assert objective(np.zeros(8)).value == 8.0
        for sent, _ in UNREADABLE.values():
            for role, address in data.addresses.items():
                assert b"Unreadable" in visit(client, data, role, sent)
                host, port = address.removeprefix("tcp://").split(":")
                with socket.create_connection((host, int(port))) as sock:
                    sock.sendall(sent)
            record = objective(np.zeros(8)).record
            assert not record.lost
            assert not record.restored


def test_another_version_of_the_wire_is_an_error_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        place(np.eye(8), np.arange(8) % 2, code=CODE) as data,
        ClusterObjective(data, count_rows, transport="stream") as other,
    ):
        assert other(np.zeros(8)).value == 8.0
        with monkeypatch.context() as patch:
            patch.setattr(wire, "VERSION", wire.VERSION + 1)  # of this process only
            with (
                ClusterObjective(data, count_rows, transport="stream") as objective,
                pytest.raises(Unreadable, match="the same version of dask_gradcode") as told,
            ):
                objective(np.zeros(8))
        assert any("raised on worker tcp://" in note for note in told.value.__notes__)
        assert other(np.zeros(8)).value == 8.0


def test_a_desk_that_cannot_be_opened_is_an_error_at_once_and_is_tried_again() -> None:
    def work(works: bool) -> None:
        desk = vars(desk_module).setdefault("kept", desk_module.Desk)
        vars(desk_module)["Desk"] = desk if works else None

    with (
        local_cluster(2) as client,
        place(np.eye(4), [0, 1, 0, 1]) as data,
    ):
        client.run(work, False)
        with ClusterObjective(data, count_rows, transport="stream") as objective:
            with pytest.raises(TypeError, match="not callable") as told:
                objective(np.zeros(1))
            assert any("raised on worker tcp://" in note for note in told.value.__notes__)
            client.run(work, True)
            wait_until(lambda: goes_well(objective))


def goes_well(objective: ClusterObjective) -> bool:
    try:
        return objective(np.zeros(1)).value == 4.0
    except TypeError:  # until its tasks are begun anew
        return False
