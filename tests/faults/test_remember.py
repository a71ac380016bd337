"""Sums of older points that stand in, on real workers: what they are, and where fits end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.special import expit

from dask_gradcode import CodedLogisticRegression, CodedRidge, place
from dask_gradcode.cluster import ClusterObjective, Placement, inject
from dask_gradcode.codes import FractionalRepetition, Uncoded
from dask_gradcode.losses import Logistic
from dask_gradcode.optimizers import GradientDescent, Solution
from dask_gradcode.rounds import Remember, RoundLog, Stale
from dask_gradcode.stragglers import FixedDelay
from dask_gradcode.typing import Evaluation, Vector
from helpers import (
    assert_same_model,
    frozen,
    local_cluster,
    logistic_data,
    pid_of,
    reference,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(400, 5)
every_transport = pytest.mark.parametrize("transport", ["stream", "tasks"])


@pytest.fixture(scope="module")
def nursed() -> Iterator[Client]:
    """Four workers that are started again by their nannies."""
    with local_cluster(4) as client:
        yield client


@pytest.fixture
def cluster(nursed: Client) -> Client:
    nursed.wait_for_workers(4, timeout=60)
    return nursed


def ages(log: RoundLog) -> dict[int, int]:
    """How old at the end of a round is what is remembered of each message."""
    told = [*log.news, *(step.event for step in log.steps)]
    return {event.message: event.age for event in told if isinstance(event, Stale)}


def of_rows(rows: slice, at: Vector, w: Vector) -> tuple[float, Vector]:
    """Value and gradient of some rows at a point, the value followed along to another one."""
    margins = X[rows] @ at
    gradient = X[rows].T @ (expit(margins) - Y[rows])
    value = np.logaddexp(0.0, margins).sum() - Y[rows] @ margins
    return float(value + gradient @ (w - at)), gradient


class Checked:
    """Runs rounds, each of which must be the sum that its log tells."""

    def __init__(self, data: Placement, objective: ClusterObjective) -> None:
        self.objective, self.points = objective, list[Vector]()
        ends = np.cumsum(data.block_rows).astype(int).tolist()
        starts = [0, *ends[:-1]]
        self.rows = [
            slice(starts[message.blocks[0]], ends[message.blocks[-1]])
            for message in data.code.messages
        ]

    def __call__(self, w: Vector, *, exactly: bool = False) -> Any:
        seen = self.objective.exactly(w) if exactly else self.objective(w)
        self.points.append(w)
        fresh = {answer.message for answer in seen.record.answers if answer.used}
        value, gradient, old = 0.0, np.zeros(w.size), ages(self.objective.logs[-1])
        for message, rows in enumerate(self.rows):
            at = w if message in fresh else self.points[-1 - old[message]]
            more, slopes = of_rows(rows, at, w)
            value, gradient = value + more, gradient + slopes
        assert_allclose(seen.gradient, gradient, rtol=1e-10, atol=1e-10)
        assert seen.value == pytest.approx(value)
        assert seen.record.exact == (seen.drift is None) == (len(fresh) == len(self.rows))
        return seen


@every_transport
@pytest.mark.parametrize("code", [Uncoded(4), FractionalRepetition(4, 1)], ids=repr)
def test_what_a_frozen_worker_sent_stands_in_until_it_answers_again(
    cluster: Client, code: Any, transport: str
) -> None:
    rng, w = np.random.default_rng(0), np.zeros(5)
    silent = [role for role in range(4) if 1 in code.messages_of[role]]
    with place(X, Y, code=code, client=cluster) as data:
        data.wait(60)
        pids = [pid_of(cluster, data.addresses[role]) for role in silent]
        with ClusterObjective(data, Logistic(), wait=Remember(), transport=transport) as summed:
            check = Checked(data, summed)
            assert check(w).record.exact
            assert check(w + 0.1).record.exact
            with frozen(*pids):
                for age in range(1, 4):
                    w = w + 0.1 * rng.standard_normal(5)
                    seen = check(w)
                    assert (seen.record.age, seen.record.residual) == (age, 1.0)
                    assert seen.record.error >= 1 / len(code.messages) - 1e-12
                    assert set(silent) <= {*seen.record.late, *seen.record.lost}
                    assert seen.record.drift > 0.0
            assert check(w, exactly=True).record.exact
            wait_until(lambda: check(w + 0.01 * rng.standard_normal(5)).record.exact)


@every_transport
def test_an_answer_that_comes_late_takes_the_place_of_an_older_one(
    cluster: Client, transport: str
) -> None:
    w = np.zeros(5)
    with place(X, Y, code=Uncoded(4), client=cluster) as data:
        data.wait(60)
        pid = pid_of(cluster, data.addresses[2])
        with ClusterObjective(data, Logistic(), wait=Remember(), transport=transport) as summed:
            check = Checked(data, summed)
            check(w)
            check(w + 0.1)
            with frozen(pid):
                first = check(w + 0.2)
                assert first.record.age == 1
            # awake, it finishes what that round asked of it, and nobody has asked for more
            wait_until(lambda: summed.drain(0.1) or len(first.record.answers) == 4)
            with frozen(pid):
                assert check(w + 0.3).record.age == 1  # of the point 0.2


@every_transport
@pytest.mark.parametrize("solver", ["gradient-descent", "nesterov"])
def test_a_fit_ends_exactly_at_the_minimum(cluster: Client, solver: str, transport: str) -> None:
    model = CodedLogisticRegression(
        code="uncoded",
        solver=solver,
        wait=Remember(),
        tol=1e-7,
        max_iter=3000,
        transport=transport,
    )
    with inject(cluster, FixedDelay(0.02, workers=[3])):
        model.fit(X, Y)
    assert_same_model(model, reference().fit(X, Y), atol=1e-5)
    records = model.history_.records
    assert records[-1].exact
    assert any(not record.exact for record in records)
    assert all(record.exact or record.age for record in records)
    assert all(record.age <= 16 for record in records)
    assert np.abs(model.history_.columns["drift"]).max() > 0.0


@every_transport
def test_of_columns_that_not_all_workers_see_the_right_ones_stand_in(
    cluster: Client, transport: str
) -> None:
    """Each quarter of the rows has columns of its own, and one that all have."""
    rng, dense = np.random.default_rng(0), np.zeros((400, 13))
    for k in range(4):
        dense[100 * k : 100 * k + 100, [3 * k, 3 * k + 1, 3 * k + 2, 12]] = rng.random((100, 4))
    sparse = CodedRidge(
        code="uncoded", solver="gradient-descent", wait=Remember(), tol=1e-7, max_iter=5000
    )
    y = dense @ rng.standard_normal(13)
    with inject(cluster, FixedDelay(0.02, workers=[0])):
        sparse.set_params(transport=transport).fit(csr_array(dense), y)
    exact = CodedRidge().fit(dense, y)
    assert_allclose(sparse.coef_, exact.coef_, atol=1e-4)
    assert any(not record.exact for record in sparse.history_)
    assert sparse.history_[-1].exact


@every_transport
def test_a_fit_survives_a_worker_that_dies(cluster: Client, transport: str) -> None:
    killed: list[int] = []

    class Killing(GradientDescent):
        def minimize(self, *given: Any, callback: Any, **options: Any) -> Solution:
            def kill(n_iter: int, w: Vector, seen: Evaluation) -> None:
                if n_iter == 5:
                    killed.append(pid_of(cluster, min(cluster.scheduler_info()["workers"])))
                    os.kill(killed[0], signal.SIGKILL)

            return super().minimize(*given, callback=kill, **options)

    model = CodedLogisticRegression(
        code="uncoded",
        solver=Killing(),
        wait=Remember(),
        tol=1e-6,
        max_iter=3000,
        transport=transport,
    )
    model.fit(X, Y)
    assert killed
    assert_same_model(model, reference().fit(X, Y), atol=1e-4)
    assert model.history_[-1].exact


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {},
            r"solver=LBFGS\(.*\) does not take sums of older points.*'gradient-descent'",
        ),
        ({"solver": "newton-cholesky"}, "does not take sums of older points"),
        ({"solver": "gradient-descent", "code": "cyclic"}, "no block in common.*'fractional'"),
        ({"solver": "gradient-descent", "code": "declustered"}, "no block in common"),
    ],
)
def test_what_older_sums_are_of_no_use_for_is_refused(
    cluster: Client, parameters: dict[str, Any], text: str
) -> None:
    model = CodedLogisticRegression(wait=Remember(), **parameters)
    with pytest.raises(ValueError, match=text):
        model.fit(X, Y)


def test_several_points_are_looked_at_exactly(cluster: Client) -> None:
    W = np.random.default_rng(0).standard_normal((3, 5))
    with (
        place(X, Y, code=Uncoded(4), client=cluster) as data,
        ClusterObjective(data, Logistic(), wait=Remember()) as summed,
        inject(cluster, FixedDelay(0.05, workers=[3])),
    ):
        for _ in range(3):
            for seen, w in zip(summed.many(W), W, strict=True):
                assert seen.record.exact
                assert_allclose(seen.gradient, of_rows(slice(None), w, w)[1], atol=1e-9)
        [one] = summed.many(W[:1])
        assert one.drift is None
        assert_array_equal(one.gradient, summed.exactly(W[0]).gradient)
