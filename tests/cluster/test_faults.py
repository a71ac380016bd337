"""Injected delays on real workers, over both transports, and what is left of them."""

from __future__ import annotations

import gc
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from numpy.testing import assert_array_equal

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective, inject
from dask_gradcode.cluster.transport import StreamTransport, TaskTransport
from dask_gradcode.cluster.transport.link import Link
from dask_gradcode.cluster.worker.delays import await_begin, await_end, hold
from dask_gradcode.codes import (
    CyclicRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
    Uncoded,
)
from dask_gradcode.rounds import Everybody, InsufficientWorkersError, RoundRecord
from dask_gradcode.stragglers import (
    FixedDelay,
    NeverAnswers,
    ParetoDelay,
    StragglerModel,
    TraceDelay,
)
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block
from helpers import (
    count_rows,
    gradcode_keys,
    in_process_coef,
    local_cluster,
    logistic_data,
    pid_of,
    restart_no_more,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(400, 3)
every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])


@pytest.fixture(autouse=True)
def nothing_is_left(client: Client) -> Iterator[None]:
    yield
    wait_until(lambda: not gradcode_keys(client))
    assert not injections(client)


def drain(objective: ClusterObjective, record: RoundRecord) -> None:
    """Wait for all messages of a round."""

    def arrived() -> bool:
        objective.drain(0.05)
        return not np.isnan(record.arrived_at).any()

    wait_until(arrived)


def wait_until_all_answer(objective: ClusterObjective) -> None:
    drain(objective, objective(np.zeros(2)).record)


def injections(client: Client) -> list[Any]:
    """Return what is injected anywhere on the workers."""

    def active() -> list[Any]:
        from dask_gradcode.cluster.worker import delays

        return list(delays._active)

    return [found for worker in client.run(active).values() for found in worker]


@every_transport
def test_a_worker_that_never_answers_is_not_waited_for_and_is_back_afterwards(
    client: Client, transport: str
) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        with inject(client, NeverAnswers(workers=[2])):
            for _ in range(8):
                seen = objective(np.zeros(2))
                assert seen.value == 400.0
                assert np.isnan(seen.record.arrived_at[2])
                assert 2 in (*seen.record.late, *seen.record.not_needed)
        wait_until(lambda: not np.isnan(objective(np.zeros(2)).record.arrived_at[2]))


@every_transport
def test_after_its_delay_a_worker_answers_the_newest_round_only(
    client: Client, transport: str
) -> None:
    # in each round, as a short one may be over before the worker hears of it
    trace = TraceDelay([[np.inf, 0.0, 0.0, 0.0]] * 10)
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, count_rows, plan=Everybody(), transport=transport) as objective,
    ):
        with inject(client, trace):
            records = [objective(np.zeros(2)).record for _ in range(3)]
        drain(objective, records[2])
        assert [bool(np.isnan(record.arrived_at[0])) for record in records] == [True, True, False]


@every_transport
@pytest.mark.parametrize(
    "inner", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=["fractional", "cyclic"]
)
def test_a_slow_workers_private_sum_is_used_while_its_coded_one_is_on_its_way(
    client: Client, transport: str, inner: FractionalRepetition
) -> None:
    code, gate = PartialStragglers(inner, 2), f"coded-gate-{transport}-{inner!r}"

    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        if get_worker().address == slow and block.X[0, 0] >= first_coded:
            Event(gate).wait()
        return count_rows(w, block)

    numbered = np.arange(240.0)[:, None]
    with place(numbered, np.arange(240) % 2, code=code) as data:
        slow, first_coded = data.addresses[1], data.block_rows[:8].sum()
        with ClusterObjective(data, gated, transport=transport) as objective:
            seen = objective(np.zeros(1))
            assert seen.value == pytest.approx(240.0, rel=1e-12)
            assert seen.record.used[1]
            assert [answer.message for answer in seen.record.answers if answer.role == 1] == [1]
            assert 1 in (*seen.record.late, *seen.record.not_needed)
            Event(gate, client=client).set()  # for good: it is asked for each block
            drain(objective, seen.record)


@every_transport
def test_a_delay_comes_before_a_rounds_first_message_only(
    client: Client, transport: str, tmp_path: Path
) -> None:
    log = tmp_path / "delays"

    class Logged(StragglerModel):
        def delays(self, round: int, n_workers: int) -> Vector:
            with log.open("a") as file:
                file.write(f"{get_worker().address} {round}\n")
            return np.zeros(n_workers)

    code = PartialStragglers(FractionalRepetition(4, 1), 2)
    with (
        place(X, Y, code=code) as data,
        ClusterObjective(data, count_rows, plan=Everybody(), transport=transport) as objective,
        inject(client, Logged()),
    ):
        for _ in range(3):
            record = objective(np.zeros(2)).record
            drain(objective, record)
    expected = [f"{address} {number}" for number in range(3) for address in data.addresses.values()]
    assert sorted(log.read_text().splitlines()) == sorted(expected)


@every_transport
@pytest.mark.parametrize(
    "code",
    [
        Uncoded(4),
        FractionalRepetition(4, 1),
        CyclicRepetition(4, 1),
        PartialStragglers(FractionalRepetition(4, 1), 2),
        PartialStragglers(CyclicRepetition(4, 1), 2),
    ],
    ids=repr,
)
def test_a_fit_among_slow_workers_is_the_same_fit(
    client: Client, transport: str, code: GradientCode
) -> None:
    with (
        place(X, Y, code=code) as data,
        inject(client, ParetoDelay(1.5, 0.001, n_random=2)),
    ):
        model = CodedLogisticRegression(tol=1e-8, max_iter=500, transport=transport).fit(data)
    found = np.append(model.coef_, model.intercept_)
    expected = in_process_coef(X, Y, code, tol=1e-8)
    if "Cyclic" in repr(code):
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    else:
        assert_array_equal(found, expected)


@every_transport
def test_an_error_in_the_context_ends_every_delay_too(client: Client, transport: str) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, count_rows, plan=Everybody(), transport=transport) as objective,
    ):
        with suppress(ZeroDivisionError), inject(client, NeverAnswers(workers=range(3))):
            record = objective(np.zeros(2)).record
            assert sorted((*record.late, *record.not_needed)) == [0, 1, 2]
            raise ZeroDivisionError
        wait_until_all_answer(objective)


def test_delays_begin_also_where_who_waits_for_them_comes_first() -> None:
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as one:
        begun = one.submit(await_begin, "token", pure=False)
        held = one.submit(hold, pickle.dumps(NeverAnswers()), "token", pure=False)
        begun.result(timeout=25)
        held.release()
        one.submit(await_end, "token", pure=False).result(timeout=25)


@every_transport
def test_ctrl_c_in_a_round_that_never_ends_ends_every_delay(client: Client, transport: str) -> None:
    pid = os.getpid()

    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, count_rows, plan=Everybody(), transport=transport) as objective,
    ):
        last = data.addresses[3]

        class Interrupting(StragglerModel):
            def delays(self, round: int, n_workers: int) -> Vector:
                if get_worker().address == last:
                    os.kill(pid, signal.SIGINT)
                return np.full(n_workers, np.inf)

        with pytest.raises(KeyboardInterrupt), inject(client, Interrupting()):
            objective(np.zeros(2))
        wait_until_all_answer(objective)


@pytest.fixture(params=["before", "after"])
def interrupt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has a method interrupted whenever it is called."""

    def interrupt(where: type, method: str) -> None:
        done = getattr(where, method)

        def interrupted(*args: Any) -> Any:
            if request.param == "after":
                done(*args)
            raise KeyboardInterrupt

        monkeypatch.setattr(where, method, interrupted)

    return interrupt


def run_for_ever(objective: ClusterObjective) -> None:
    while True:
        objective(np.zeros(2))


@pytest.mark.parametrize(
    ("where", "method"),
    [
        (Link, "begin"),
        (Link, "read"),
        (StreamTransport, "begin"),
        (StreamTransport, "poll"),
        (TaskTransport, "begin"),
        (TaskTransport, "poll"),
    ],
)
def test_ctrl_c_anywhere_in_a_round_is_survived(
    client: Client, where: type, method: str, interrupt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = "tasks" if where is TaskTransport else "stream"
    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, count_rows, plan=Everybody(), transport=transport) as objective,
    ):
        interrupt(where, method)
        with pytest.raises(KeyboardInterrupt):
            run_for_ever(objective)
        monkeypatch.undo()
        wait_until_all_answer(objective)


@pytest.mark.parametrize(("where", "method"), [(Link, "connect"), (StreamTransport, "_register")])
def test_ctrl_c_while_connections_are_opened_leaves_none(
    client: Client, where: type, method: str, interrupt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place(X, Y, code=FractionalRepetition(4, 3)) as data:
        interrupt(where, method)
        with pytest.raises(KeyboardInterrupt):
            ClusterObjective(data, count_rows, plan=Everybody(), transport="stream")
        monkeypatch.undo()
        gc.collect()  # an open socket would be an error: a ResourceWarning
        with ClusterObjective(data, count_rows, plan=Everybody(), transport="stream") as objective:
            wait_until_all_answer(objective)


def test_models_can_be_injected_one_upon_the_other(client: Client) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 3)) as data,
        ClusterObjective(data, count_rows) as objective,
        inject(client, NeverAnswers(workers=[0])),
    ):
        with inject(client, NeverAnswers(workers=[1])):
            record = objective(np.zeros(2)).record
            assert np.isnan(record.arrived_at[:2]).all()
        wait_until(lambda: not np.isnan(objective(np.zeros(2)).record.arrived_at[1]))
        assert np.isnan(objective(np.zeros(2)).record.arrived_at[0])


def test_a_model_that_does_not_fit_the_code_is_an_error_of_the_round(client: Client) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, count_rows) as objective,
        inject(client, FixedDelay(0.1, workers=[4])),
        pytest.raises(ValueError, match="names a worker that is none of 0 to 3"),
    ):
        objective(np.zeros(2))


@pytest.mark.parametrize("model", [0.5, None, FixedDelay])
def test_what_is_no_model_is_refused(client: Client, model: Any) -> None:
    with (
        pytest.raises(
            TypeError, match="model must be a StragglerModel, a Throttle, LossyLinks or Lies, got"
        ),
        inject(client, model),
    ):
        raise AssertionError("not reached")


def test_a_worker_killed_meanwhile_does_not_keep_the_others_delayed() -> None:
    with local_cluster(3) as client:
        with (
            place(X, Y, code=FractionalRepetition(3, 2)) as data,
            inject(client, NeverAnswers(workers=[0, 1])),
            ClusterObjective(data, count_rows) as objective,
        ):
            assert objective(np.zeros(2)).value == 400.0
            os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
            wait_until(lambda: 1 in data.lost)
            assert objective(np.zeros(2)).value == 400.0
        wait_until(lambda: not gradcode_keys(client))
        wait_until(lambda: not injections(client))


def test_delays_end_with_their_client(client: Client) -> None:
    """Whoever runs an experiment may be killed; other users' fits must not stay slow."""
    assert client.scheduler is not None
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        other = Client(client.scheduler.address, set_as_default=False)
        injected = inject(other, NeverAnswers(workers=[0]))
        injected.__enter__()
        with ClusterObjective(data, count_rows, plan=Everybody()) as objective:
            assert np.isnan(objective(np.zeros(2)).record.arrived_at[0])
            other.close()
            wait_until_all_answer(objective)
    injected.__exit__(None, None, None)


@every_transport
@pytest.mark.parametrize(
    "inner", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=["fractional", "cyclic"]
)
def test_a_dead_worker_of_a_partial_code_is_replaced(inner: Any, transport: str) -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=PartialStragglers(inner, 2)) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
    ):
        first = objective(np.zeros(3)).value
        pid = pid_of(client, data.addresses[2])
        os.kill(pid, signal.SIGKILL)
        assert [objective(np.zeros(3)).value for _ in range(50)] == [first] * 50
        assert pid_of(client, data.addresses[2]) != pid


@every_transport
def test_a_dead_worker_of_a_partial_code_that_stays_dead_is_named(transport: str) -> None:
    with (
        local_cluster(4) as client,
        place(X, Y, code=PartialStragglers(FractionalRepetition(4, 1), 2)) as data,
        ClusterObjective(data, count_rows, transport=transport) as objective,
        dask.config.set({"gradcode.timeouts.recover": "1s"}),
    ):
        objective(np.zeros(3))
        restart_no_more(client)
        os.kill(pid_of(client, data.addresses[2]), signal.SIGKILL)
        with pytest.raises(
            InsufficientWorkersError,
            match=r"(?s)role 2: tcp://.*tolerates 1 slow worker\(s\), no dead one",
        ):
            [objective(np.zeros(3)) for _ in range(50)]
