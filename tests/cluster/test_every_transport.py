"""What every transport promises. Workers wait at events that the test opens; nothing sleeps."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Event, get_worker

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.transport import StreamTransport, TaskTransport, Transport
from dask_gradcode.codes import FractionalRepetition, Uncoded
from dask_gradcode.losses import Loss
from dask_gradcode.rounds import Announced, Arrived, Failed, Lost
from dask_gradcode.rounds import Event as RoundEvent
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Work, WorkLike, as_work
from dask_gradcode.work.account import digest_of
from helpers import (
    OwnThenNext,
    count_rows,
    gradcode_keys,
    local_cluster,
    logistic_data,
    pid_of,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(40, 3)


def tasks(data: Placement, work: Work) -> Transport:
    return TaskTransport(data.client, f"{data.uid}-test", data.code, work)


def stream(data: Placement, work: Work) -> Transport:
    return StreamTransport(data.client, data.code, work, data.serving)


TRANSPORTS: list[Callable[[Placement, Work], Transport]] = [tasks, stream]
every_transport = pytest.mark.parametrize("make", TRANSPORTS)


@contextmanager
def transport_for(data: Placement, make: Any, work: WorkLike) -> Iterator[Transport]:
    transport = make(data, as_work(work))
    for role, shard in data.shards.items():
        transport.attach(role, shard, data.addresses[role])
    try:
        yield transport
    finally:
        transport.close()


def begin(transport: Transport, number: int, w: Vector, asks: Mapping[int, Sequence[int]]) -> None:
    """Begin a round and ask for messages, in the order of this mapping."""
    transport.begin(number, w, 1)
    for role, messages in asks.items():
        transport.ask(role, messages)


def events(transport: Transport, n: int) -> list[RoundEvent]:
    """Return the next ``n`` events, and fail if they do not come."""
    found: list[RoundEvent] = []
    wait_until(lambda: len(found) >= n or found.extend(transport.poll(0.1)) or len(found) >= n)
    assert len(found) == n
    return found


@pytest.fixture
def data(client: Client) -> Iterator[Placement]:
    with place(X, Y, code=Uncoded(4)) as placed:
        yield placed
    wait_until(lambda: not gradcode_keys(client))  # nothing stays on the cluster


@every_transport
def test_messages_come_in_the_order_in_which_workers_finish(data: Placement, make: Any) -> None:
    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event(f"gate-{get_worker().address}").wait()
        return count_rows(w, block)

    with transport_for(data, make, gated) as transport:
        begin(transport, 0, np.zeros(2), {role: (role,) for role in range(4)})
        for role in (2, 0, 3, 1):
            assert not transport.poll(0)
            Event(f"gate-{data.addresses[role]}", client=data.client).set()
            [event] = events(transport, 1)
            assert isinstance(event, Arrived)
            assert (event.round, event.role, event.message) == (0, role, role)
            np.testing.assert_array_equal(event.payload, [10.0, 0.0, 0.0])
    for address in data.addresses.values():
        Event(f"gate-{address}", client=data.client).clear()


@every_transport
def test_of_what_is_announced_the_digest_comes_and_then_the_sum_if_it_is_asked_for(
    data: Placement, make: Any
) -> None:
    expected = np.array([10.0, 1.0, 1.0])
    with transport_for(data, make, count_rows) as transport:
        for number in range(3):
            transport.begin(number, np.ones(2), 1)
            transport.ask(0, (0,))
            transport.announce(1, (1,))
            told = {event.role: event for event in events(transport, 2)}  # type: ignore[union-attr]
            assert isinstance(told[0], Arrived)
            assert told[1] == Announced(number, 1, 1, digest_of(expected))
            transport.ask(1, (1,))
            [sent] = events(transport, 1)
            assert isinstance(sent, Arrived)
            np.testing.assert_array_equal(sent.payload, expected)
        transport.begin(3, np.zeros(2), 1)
        transport.announce(1, (1,))
        [last] = events(transport, 1)
        assert last == Announced(3, 1, 1, digest_of(np.array([10.0, 0.0, 0.0])))


@every_transport
def test_who_is_not_asked_computes_nothing_until_it_is(data: Placement, make: Any) -> None:
    with transport_for(data, make, count_rows) as transport:
        begin(transport, 0, np.ones(2), {0: (0,), 1: (1,)})
        assert {event.role for event in events(transport, 2)} == {0, 1}
        transport.ask(3, (3,))
        [third] = events(transport, 1)
        assert (third.round, third.role) == (0, 3)
        np.testing.assert_array_equal(third.payload, [10.0, 1.0, 1.0])
        begin(transport, 1, np.zeros(2), {3: (3,), 2: (2,)})
        assert {(event.round, event.role) for event in events(transport, 2)} == {(1, 2), (1, 3)}


@every_transport
def test_who_comes_back_in_mid_round_computes_what_it_is_asked_for_once(
    data: Placement, make: Any
) -> None:
    with transport_for(data, make, count_rows) as transport:
        begin(transport, 0, np.zeros(2), {0: (0,), 1: (1,)})
        transport.detach(1)
        transport.attach(1, data.shards[1], data.addresses[1])
        transport.ask(1, (1,))
        assert {event.role for event in events(transport, 2)} == {0, 1}
        begin(transport, 1, np.zeros(2), {1: (1,)})
        [event] = events(transport, 1)
        assert (event.round, event.role) == (1, 1)


@every_transport
def test_a_worker_sends_its_messages_in_order(client: Client, make: Any) -> None:
    def first_row(w: Vector, block: Block) -> tuple[float, Vector]:
        return float(block.X[0, 0]), w

    X, y = np.arange(8.0).reshape(8, 1), np.arange(8) % 2
    with (
        place(X, y, code=OwnThenNext(4)) as data,
        transport_for(data, make, first_row) as transport,
    ):
        begin(transport, 0, np.zeros(1), {3: (6, 7)})
        found = events(transport, 2)
    assert [event.message for event in found] == [6, 7]
    assert [event.payload[0] for event in found] == [6.0, 0.0]


@every_transport
def test_more_can_be_asked_for_in_mid_round(data: Placement, make: Any) -> None:
    with transport_for(data, make, count_rows) as transport:
        begin(transport, 0, np.ones(2), {0: (0,)})
        [first] = events(transport, 1)
        transport.ask(1, (1,))
        [second] = events(transport, 1)
        assert [first.role, second.role] == [0, 1]
        assert second.round == 0
        np.testing.assert_array_equal(second.payload, [10.0, 1.0, 1.0])


@every_transport
def test_the_caller_may_change_w_at_once(data: Placement, make: Any) -> None:
    with transport_for(data, make, lambda w, block: (float(w.sum()), w)) as transport:
        w = np.ones(300_000)
        begin(transport, 0, w, {role: (role,) for role in range(4)})
        w[:] = 7.0
        assert {event.payload[0] for event in events(transport, 4)} == {300_000.0}


@every_transport
def test_a_function_on_a_worker_may_keep_w(client: Client, make: Any) -> None:
    kept: list[Vector] = []

    def keep(w: Vector, block: Block) -> tuple[float, Vector]:
        if w[0] != 1.0 or not kept:
            kept.append(w)
        return float(kept[0][0]), w

    with place(X, Y, code=Uncoded(4)) as data, transport_for(data, make, keep) as transport:
        for number in (1, 2, 3):
            begin(transport, number, np.full(100_000, float(number)), {0: (0,)})
            [event] = events(transport, 1)
        assert event.round == 3
        np.testing.assert_array_equal(event.payload[1:], 3.0)
        if make is stream:  # a task reads its function anew when it is pushed out of the cache
            assert event.payload[0] == 1.0


@every_transport
def test_an_error_on_a_worker_is_an_event(data: Placement, make: Any) -> None:
    def broken(w: Vector, block: Block) -> tuple[float, Vector]:
        raise ZeroDivisionError("a bug of the user's")

    with transport_for(data, make, broken) as transport:
        begin(transport, 0, np.zeros(2), {2: (2,)})
        [event] = events(transport, 1)
    assert isinstance(event, Failed)
    assert (event.role, event.message) == (2, 2)
    assert isinstance(event.error, ZeroDivisionError)
    assert event.error.__notes__ == ["while computing block 2"]


STRANGE = """
from dask_gradcode.codes import Uncoded

class Strange(Uncoded):
    pass

def work(w, block):
    return 1.0, w
"""


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module that workers cannot import."""
    (tmp_path / "only_here.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("only_here")
    del sys.modules["only_here"]


@every_transport
@pytest.mark.parametrize("what", ["code", "work"])
def test_what_workers_cannot_import_is_an_event_and_other_fits_go_on(
    data: Placement, make: Any, only_here: Any, what: str
) -> None:
    def one_round(transport: Transport, number: int) -> list[RoundEvent]:
        begin(transport, number, np.zeros(2), {role: (role,) for role in range(4)})
        return events(transport, 4)

    with transport_for(data, make, count_rows) as other:
        assert all(isinstance(event, Arrived) for event in one_round(other, 0))
        code = only_here.Strange(4) if what == "code" else data.code
        work = as_work(only_here.work if what == "work" else count_rows)
        strange = (
            TaskTransport(data.client, f"{data.uid}-strange", code, work)
            if make is tasks
            else StreamTransport(data.client, code, work, data.serving)
        )
        for role, shard in data.shards.items():
            strange.attach(role, shard, data.addresses[role])
        try:
            for number in range(2):
                for event in one_round(strange, number):
                    assert isinstance(event, Failed)
                    assert (event.round, event.message) == (number, event.role)
                    assert isinstance(event.error, ModuleNotFoundError)
                assert all(isinstance(event, Arrived) for event in one_round(other, 1 + number))
        finally:
            strange.close()


@every_transport
def test_the_user_gets_the_original_error_and_where_it_was_raised(
    data: Placement, make: Any, only_here: Any
) -> None:
    with ClusterObjective(data, only_here.work, transport=make.__name__) as objective:
        with pytest.raises(ModuleNotFoundError, match="only_here") as told:
            objective(np.zeros(2))
        assert any(
            f"raised on worker {address}" in note
            for note in told.value.__notes__
            for address in data.addresses.values()
        )


@every_transport
@pytest.mark.parametrize("is_cause", [False, True])
def test_an_error_from_far_down_is_told_as_any_other(
    data: Placement, make: Any, is_cause: bool
) -> None:
    """Its traceback is longer than what can be pickled, which Dask's client does not survive."""

    def endless(w: Vector, block: Block) -> tuple[float, Vector]:
        return endless(w, block)

    def work(w: Vector, block: Block) -> tuple[float, Vector]:
        try:
            return endless(w, block)
        except RecursionError as error:
            if is_cause:
                raise ValueError("too deep") from error
            raise

    with ClusterObjective(data, work, transport=make.__name__) as objective:
        with pytest.raises(ValueError if is_cause else RecursionError) as told:
            objective(np.zeros(2))
        assert any("raised on worker tcp://" in note for note in told.value.__notes__)
        assert "in endless" in "".join(traceback.format_exception(told.value))


@every_transport
def test_work_that_exits_ends_no_worker(data: Placement, make: Any) -> None:
    def leave(w: Vector, block: Block) -> tuple[float, Vector]:
        raise SystemExit(0)

    with transport_for(data, make, leave) as transport:
        for number in range(2):
            begin(transport, number, np.zeros(2), {role: (role,) for role in range(4)})
            for event in events(transport, 4):
                assert isinstance(event, Failed)
                assert isinstance(event.error, RuntimeError)
                assert "SystemExit(0) was raised on a worker" in str(event.error)


@every_transport
def test_stale_work_gives_up_at_the_next_chunk(client: Client, make: Any, tmp_path: Path) -> None:
    log = tmp_path / "chunks"
    X, Y = logistic_data(12_000, 128)  # 3000 rows a block, 2048 a chunk

    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        stuck = data.addresses[0]

        class Gated(Loss):
            def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
                if get_worker().address == stuck:
                    round_ = int(z.any())  # w is 0 in round 0
                    with log.open("a") as file:
                        file.write(f"{round_}\n")
                    if round_ == 0:
                        Event("chunk-gate").wait()
                return z * y, y

        with transport_for(data, make, Gated()) as transport:
            begin(transport, 0, np.zeros(128), {0: (0,)})
            wait_until(
                lambda: not transport.poll(0.01) and log.exists() and log.read_text() == "0\n"
            )
            begin(transport, 1, np.ones(128), {0: (0,)})
            assert not transport.poll(0)  # w is on its way

            def told(dask_worker: Any) -> bool:
                states = dask_worker.state.tasks.items()
                return any(
                    key[0].startswith("gradcode-message-")
                    and key[1] == 0
                    and task.state == "cancelled"
                    for key, task in states
                    if isinstance(key, tuple)
                )

            wait_until(lambda: make is stream or client.run(told, workers=[stuck])[stuck])
            Event("chunk-gate", client=client).set()
            [event] = events(transport, 1)
        assert event.round == 1
        # one chunk of the stale round, then all four of the new one
        assert log.read_text().split() == ["0"] + ["1"] * 4
        Event("chunk-gate", client=client).clear()


@every_transport
def test_answers_of_an_old_round_say_so(data: Placement, make: Any) -> None:
    """A worker that stays silent for some rounds is asked no more until it has answered."""

    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        if get_worker().address == slow:
            Event("old-gate").wait()
        return float(w[0]), w

    slow = data.addresses[1]
    with transport_for(data, make, gated) as transport:
        for number in range(10):
            begin(transport, number, np.full(1, number), {role: (role,) for role in range(4)})
            assert sorted(e.role for e in events(transport, 3)) == [0, 2, 3]

        def queued() -> int:
            return sum("gradcode-message" in key for key in gradcode_keys(data.client))

        wait_until(lambda: queued() <= 1)  # nothing piles up behind it
        Event("old-gate", client=data.client).set()
        late, current = events(transport, 2)
        assert late.round < 9
        assert late.payload[0] == late.round
        assert (current.round, current.payload[0]) == (9, 9.0)
        assert {late.role, current.role} == {1}
    Event("old-gate", client=data.client).clear()


@every_transport
def test_a_worker_that_dies_is_an_event_and_leaves_no_task(make: Any) -> None:
    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event("never").wait()
        return count_rows(w, block)

    with local_cluster(2) as client, place(X, Y, code=FractionalRepetition(2, 1)) as data:
        with transport_for(data, make, gated) as transport:
            begin(transport, 0, np.zeros(1), {0: (0,), 1: (0,)})
            os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
            [event] = events(transport, 1)
            assert isinstance(event, Lost)
            assert event.role == 1
            assert data.addresses[1] in event.why
            wait_until(lambda: 1 in data.lost)
            wait_until(
                lambda: (
                    not any(
                        ", 1, 1)" in key or ", 1, 0)" in key
                        for key in gradcode_keys(client)
                        if "message" in key
                    )
                )
            )
        Event("never", client=client).set()


def test_frozen_between_finishing_and_handing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six workers finish and freeze before their results are fetched; the others' still come."""
    with local_cluster(8) as client, place(X, Y, code=Uncoded(8)) as data:
        pids = {role: pid_of(client, address) for role, address in data.addresses.items()}
        fetch, stopped = Mailbox._fetch, []

        async def stop_first(self: Mailbox, future: Any) -> Any:
            role = future.key[3]
            if role < 6:
                os.kill(pids[role], signal.SIGSTOP)
                stopped.append(role)
            return await fetch(self, future)

        monkeypatch.setattr(Mailbox, "_fetch", stop_first)
        try:
            with transport_for(data, tasks, count_rows) as transport:
                begin(transport, 0, np.zeros(1), {role: (role,) for role in range(6)})
                wait_until(lambda: len(stopped) == 6)
                transport.ask(6, (6,))
                transport.ask(7, (7,))
                assert sorted(event.role for event in events(transport, 2)) == [6, 7]
        finally:
            for role in stopped:
                os.kill(pids[role], signal.SIGCONT)


@every_transport
def test_two_fits_at_once_do_not_meet(client: Client, make: Any) -> None:
    def run(data: Placement, factor: float, found: list[float]) -> None:
        def work(w: Vector, block: Block) -> tuple[float, Vector]:
            return factor * block.n_rows, w

        with ClusterObjective(data, work, transport=make.__name__) as objective:
            found.extend(objective(np.zeros(1)).value for _ in range(10))

    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        results: list[list[float]] = [[], []]
        threads = [
            threading.Thread(target=run, args=(data, factor, found))
            for factor, found in zip((1.0, 3.0), results, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [[40.0] * 10, [120.0] * 10]


@every_transport
def test_close_leaves_no_thread_key_or_task(client: Client, make: Any) -> None:
    before = set(threading.enumerate())

    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event("close-gate").wait()
        return count_rows(w, block)

    with place(X, Y, code=Uncoded(4)) as data:
        with transport_for(data, make, gated) as transport:
            begin(transport, 0, np.zeros(1), {role: (role,) for role in range(4)})
        wait_until(lambda: not any("message" in key for key in gradcode_keys(client)))
        Event("close-gate", client=client).set()
    wait_until(lambda: not gradcode_keys(client))
    started = [t.name for t in threading.enumerate() if t not in before]
    assert not [name for name in started if not name.startswith("Dask-")]  # Dask's are for good
    assert not client.futures
    Event("close-gate", client=client).clear()
