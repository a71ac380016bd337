"""Whole fits while workers are frozen, killed, or raise: on real processes, with real signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, get_worker
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV

from dask_gradcode import (
    CodedLasso,
    CodedLogisticRegression,
    CodedLogisticRegressionCV,
    CodedRidge,
    CodedRidgeCV,
    InsufficientWorkersError,
    place,
)
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, GradientCode, Uncoded
from dask_gradcode.losses import Squared
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.optimizers import LBFGS, NewtonCholesky
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Folds, as_work, of_order
from helpers import (
    Interfering,
    count_rows,
    frozen,
    gradcode_keys,
    in_process_coef,
    local_cluster,
    logistic_data,
    pid_of,
    restart_no_more,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(4000, 8)


@pytest.fixture
def cluster() -> Iterator[Client]:
    with local_cluster(4) as client:
        yield client


def fit(data: Placement, act: Callable[[], Any] = lambda: None) -> CodedLogisticRegression:
    model = CodedLogisticRegression(solver=Interfering(act=act), tol=1e-8, max_iter=500)
    return model.fit(data)


def kill(client: Client, data: Placement, *roles: int) -> Callable[[], None]:
    """Return a function that kills the workers of some roles, and waits until that is known."""
    pids = [pid_of(client, data.addresses[role]) for role in roles]

    def act() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: data.lost.keys() >= set(roles))

    return act


@pytest.mark.parametrize("role", range(4))
def test_fractional_coefficients_have_the_same_bits_whoever_is_frozen(
    client: Client, role: int
) -> None:
    code = FractionalRepetition(4, 1)
    with place(X, Y, code=code) as data:
        with frozen(pid_of(client, data.addresses[role])):
            during = fit(data)
        after = fit(data)
    assert all(0 < record.used.sum() <= 2 for record in during.history_)
    assert not any(np.isfinite(record.arrived_at[role]) for record in during.history_)
    expected = in_process_coef(X, Y, code, tol=1e-8)
    for model in (during, after):
        found = np.append(model.coef_, model.intercept_)
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_newtons_coefficients_have_the_same_bits_whoever_is_frozen(
    client: Client, transport: str
) -> None:
    code = FractionalRepetition(4, 1)
    model = CodedLogisticRegression(solver="newton-cholesky", tol=1e-8, transport=transport)
    rows = X + 1e4 * (np.arange(8) % 2)  # of some columns Hessians are about their means
    expected = in_process_coef(rows, Y, code, tol=1e-8, solver=NewtonCholesky())
    with place(rows, Y, code=code) as data:
        for role in (1, 2):
            with frozen(pid_of(client, data.addresses[role])):
                model.fit(data)
            assert not any(np.isfinite(record.arrived_at[role]) for record in model.history_)
            assert np.append(model.coef_, model.intercept_).tobytes() == expected.tobytes()
    assert len(model.history_) == model.n_iter_[0] + 1  # full steps: a round each, and the start


def test_least_squares_of_one_round_have_the_same_bits_whoever_is_frozen(client: Client) -> None:
    rows, found, sparse = X + 1e8 * (np.arange(8) % 2), set(), set()
    with place(rows, Y, code=FractionalRepetition(4, 1)) as data:
        found.add(CodedRidge().fit(data).coef_.tobytes())
        sparse.add(CodedLasso(0.01).fit(data).coef_.tobytes())
        for role in (1, 2):
            with frozen(pid_of(client, data.addresses[role])):
                model = CodedRidge().fit(data)
                sparse.add(CodedLasso(0.01).fit(data).coef_.tobytes())
            (record,) = model.history_
            assert not np.isfinite(record.arrived_at[role])
            found.add(model.coef_.tobytes())
    assert len(found) == len(sparse) == 1
    assert_allclose(model.coef_, Ridge(solver="svd").fit(rows, Y).coef_, rtol=1e-6)


def test_cross_validation_has_the_same_bits_whoever_is_frozen(client: Client) -> None:
    rows, found = X + 1e8 * (np.arange(8) % 2), set()
    with place(rows, Y, code=FractionalRepetition(4, 1)) as data:
        for role in (1, 2):
            with frozen(pid_of(client, data.addresses[role])):
                model = CodedRidgeCV(scoring="r2").fit(data)
            assert [np.isfinite(record.arrived_at[role]) for record in model.history_] == [0, 0]
            found.add((model.alpha_, model.best_score_, model.coef_.tobytes()))
    assert len(found) == 1
    theirs = RidgeCV(scoring="r2").fit(X, Y)
    assert (model.alpha_, model.best_score_) == pytest.approx((theirs.alpha_, theirs.best_score_))
    assert_allclose(model.coef_, theirs.coef_, rtol=1e-6)


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_fits_in_step_have_the_same_bits_though_a_worker_freezes(
    client: Client, transport: str
) -> None:
    pid = pid_of(client, min(client.scheduler_info()["workers"]))
    freezing = Interfering(round=3, act=lambda: os.kill(pid, signal.SIGSTOP))
    found = []
    for solver in (LBFGS(), freezing):
        model = CodedLogisticRegressionCV(
            Cs=[0.1, 1.0],
            cv=3,
            scoring="neg_log_loss",
            solver=solver,
            code=FractionalRepetition(4, 1),
            transport=transport,
        )
        try:
            model.fit(X, Y)
        finally:
            os.kill(pid, signal.SIGCONT)
        found.append((model.coefs_paths_.tobytes(), model.scores_.tobytes(), model.coef_.tobytes()))
    assert found[0] == found[1]
    assert np.isnan(model.history_.arrivals[4:]).all(axis=0).any()  # who has frozen
    theirs = LogisticRegression(C=model.C_).fit(X, Y)
    assert_allclose(model.coef_, theirs.coef_, atol=1e-3)


def test_sums_of_folds_have_the_same_bits_whoever_is_frozen(client: Client) -> None:
    rows = np.column_stack([X, np.arange(len(X)) % 3])
    work, w, found = Folds(of_order(as_work(Squared()), 2), 3), np.ones(10), set()
    with place(rows, Y, code=FractionalRepetition(4, 1)) as data:
        for role in (1, 2):
            with frozen(pid_of(client, data.addresses[role])), ClusterObjective(data, work) as sums:
                found.add(sums(w).gradient.tobytes())
    assert len(found) == 1
    here = InProcessObjective(Uncoded(1), {0: Block(rows, Y.astype(float))}, work)
    assert_allclose(np.frombuffer(found.pop()), here(w).gradient, rtol=1e-9)


@pytest.mark.parametrize("role", range(4))
def test_cyclic_coefficients_agree_to_rounding_whoever_is_frozen(client: Client, role: int) -> None:
    code = CyclicRepetition(4, 2)
    with place(X, Y, code=code) as data, frozen(pid_of(client, data.addresses[role])):
        model = fit(data)
    found = np.append(model.coef_, model.intercept_)
    assert_allclose(found, in_process_coef(X, Y, code, tol=1e-8), rtol=1e-6)


@pytest.mark.parametrize("code", [FractionalRepetition(4, 1), CyclicRepetition(4, 1)], ids=repr)
def test_a_worker_killed_in_mid_fit_changes_nothing(cluster: Client, code: GradientCode) -> None:
    restart_no_more(cluster)
    with place(X, Y, code=code) as data:
        model = fit(data, kill(cluster, data, 2))
        assert data.lost.keys() == {2}
        assert data.addresses[2] in data.lost[2]
    lost = [record.lost for record in model.history_]
    assert lost[:3] == [()] * 3
    assert set(lost[3:]) == {(2,)}
    found = np.append(model.coef_, model.intercept_)
    assert_allclose(found, in_process_coef(X, Y, code, tol=1e-8), rtol=1e-6)
    wait_until(lambda: not gradcode_keys(cluster))


def test_too_many_deaths_name_who_is_missing_and_leave_nothing(cluster: Client) -> None:
    restart_no_more(cluster)
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        dead = dict(data.addresses)
        with (
            dask.config.set({"gradcode.timeouts.recover": "1s"}),
            pytest.raises(InsufficientWorkersError) as caught,
        ):
            fit(data, kill(cluster, data, 0, 1))
        text = str(caught.value)
        for role in (0, 1):
            assert f"role {role}: {dead[role]}: it left the cluster" in text
        assert "tolerates 1 silent worker(s), whoever they are" in text
    wait_until(lambda: not gradcode_keys(cluster))


def test_deaths_beyond_s_are_survived_where_the_code_happens_to_allow_it(cluster: Client) -> None:
    restart_no_more(cluster)
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        model = fit(data, kill(cluster, data, 0, 3))  # of different groups
    expected = in_process_coef(X, Y, FractionalRepetition(4, 1), tol=1e-8)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)


def test_a_worker_lost_before_the_fit_is_an_erasure_from_its_first_round(cluster: Client) -> None:
    restart_no_more(cluster)
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        kill(cluster, data, 1)()
        model = fit(data)
    assert {record.lost for record in model.history_} == {(1,)}


def test_too_many_frozen_workers_are_a_bounded_wait_and_may_come_back(client: Client) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        wait_until(
            lambda: data.roles.tend() or not data.lost
        )  # placement waits for none that is late
        pids = [pid_of(client, data.addresses[role]) for role in (2, 3)]
        with (
            dask.config.set({"gradcode.timeouts.recover": "1s"}),
            frozen(*pids),
            pytest.raises(InsufficientWorkersError) as caught,
        ):
            fit(data)
        for role in (2, 3):
            assert f"role {role}: {data.addresses[role]}: it has sent no heartbeat" in str(
                caught.value
            )
        assert fit(data).n_iter_[0] > 3  # the same placement, awake again
    wait_until(lambda: not gradcode_keys(client))


def test_enough_frozen_workers_that_wake_in_time_are_waited_for(client: Client) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        pids = [pid_of(client, data.addresses[role]) for role in (0, 1)]

        class WakeWhenMissed(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "waits for" in record.getMessage():
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)

        handler = WakeWhenMissed()
        logging.getLogger("dask_gradcode").addHandler(handler)
        try:
            with frozen(*pids):
                model = fit(data)
        finally:
            logging.getLogger("dask_gradcode").removeHandler(handler)
    expected = in_process_coef(X, Y, FractionalRepetition(4, 1), tol=1e-8)
    assert_array_equal(np.append(model.coef_, model.intercept_), expected)


def test_a_worker_that_wakes_is_used_again(client: Client) -> None:
    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, count_rows) as objective,
    ):
        with frozen(pid_of(client, data.addresses[0])):
            assert {objective(np.zeros(1)).value for _ in range(10)} == {4000.0}
        wait_until(lambda: np.isfinite(objective(np.zeros(1)).record.arrived_at[0]))


# ---------------------------------------------------------------- errors and interrupts


@pytest.mark.parametrize("transport", ["tasks", "stream"])
@pytest.mark.parametrize("error", [ZeroDivisionError, ConnectionError])
def test_an_error_on_every_replica_is_raised_as_it_was(
    client: Client, error: type[Exception], transport: str
) -> None:
    def broken(w: Vector, block: Block) -> tuple[float, Vector]:
        if block.X[0, 0] == X[0, 0]:
            raise error("a bug of the user's")
        return count_rows(w, block)

    with (
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, broken, transport=transport) as objective,
    ):
        with pytest.raises(error, match="a bug of the user's") as caught:
            objective(np.zeros(1))
        first, second = caught.value.__notes__
        assert first == "while computing block 0"
        assert second.startswith("raised on worker tcp://")
    wait_until(lambda: not gradcode_keys(client))


def test_an_error_on_one_replica_is_an_erasure(client: Client) -> None:
    with place(X, Y, code=FractionalRepetition(4, 1)) as data:
        faulty = data.addresses[3]

        def work(w: Vector, block: Block) -> tuple[float, Vector]:
            if get_worker().address == faulty:
                raise MemoryError
            return count_rows(w, block)

        with ClusterObjective(data, work) as objective:
            assert {objective(np.zeros(1)).value for _ in range(5)} == {4000.0}


def test_an_interrupt_leaves_nothing_on_the_workers(client: Client) -> None:
    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event("started").set()
        Event("gate").wait()
        return count_rows(w, block)

    def interrupt() -> None:
        Event("started", client=client).wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def run() -> None:
        with (
            place(X, Y, code=FractionalRepetition(4, 1)) as data,
            ClusterObjective(data, gated) as objective,
        ):
            objective(np.zeros(1))

    presser = threading.Thread(target=interrupt)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        run()
    presser.join()
    Event("gate", client=client).set()
    wait_until(lambda: not gradcode_keys(client))
    wait_until(lambda: not any(client.run(lambda dask_worker: len(dask_worker.data)).values()))


def test_living_workers_that_do_not_answer_are_a_bounded_wait(client: Client) -> None:
    def gated(w: Vector, block: Block) -> tuple[float, Vector]:
        Event("never-opened").wait()
        return count_rows(w, block)

    with (
        dask.config.set({"gradcode.timeouts.round": "1s"}),
        place(X, Y, code=FractionalRepetition(4, 1)) as data,
        ClusterObjective(data, gated) as objective,
        pytest.raises(TimeoutError, match=r"gradcode\.timeouts\.round") as caught,
    ):
        objective(np.zeros(1))
    assert all(address in str(caught.value) for address in data.addresses.values())
    Event("never-opened", client=client).set()
    wait_until(lambda: not gradcode_keys(client))
