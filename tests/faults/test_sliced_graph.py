"""Half of each message, nearly exact: on real workers, against sums made in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, random_array
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import ClusterObjective, inject
from dask_gradcode.codes import GradientCode, SlicedDesign, SlicedGraph
from dask_gradcode.losses import Logistic
from dask_gradcode.optimizers import GradientDescent
from dask_gradcode.payloads import slice_of
from dask_gradcode.rounds import Deadline, Fastest
from dask_gradcode.stragglers import NeverAnswers
from dask_gradcode.typing import Matrix, Rows, Vector
from dask_gradcode.work import Block, as_work, compute_payload
from helpers import (
    assert_same_model,
    frozen,
    local_cluster,
    logistic_data,
    pid_of,
    reference,
    restart_no_more,
)

pytestmark = pytest.mark.cluster

GRAPH, DESIGN = SlicedGraph(6, 4, 2), SlicedDesign(6, (0, 1, 3), seed=1)
X, Y = logistic_data(600, 5)
# each worker has other columns than the others
SPARSE = csr_array(random_array((600, 900), density=0.002, rng=np.random.default_rng(0)))
every_transport = pytest.mark.parametrize("transport", ["tasks", "stream"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with local_cluster(6) as client:
        yield client


def sums_of_blocks(code: GradientCode, rows: Rows, block_rows: Vector, w: Vector) -> Matrix:
    """The value and gradient of each block."""
    borders = np.cumsum([0, *block_rows.astype(int)]).tolist()
    work = as_work(Logistic())
    blocks = {
        i: Block(rows[start:stop], Y[start:stop] * 1.0)
        for i, (start, stop) in enumerate(pairwise(borders))
    }
    found = []
    for i, block in blocks.items():
        one = type(code.messages[0])((i,), (1.0,))
        payload = compute_payload(code, one, {i: block}, work, w)
        assert payload is not None
        found.append(payload)
    return np.array(found)


@every_transport
@pytest.mark.parametrize("rows", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("code", [GRAPH, DESIGN], ids=repr)
@pytest.mark.parametrize("late", [[], [4], [0, 3]], ids=str)
def test_what_comes_is_combined_by_least_squares_and_scaled_up(
    cluster: Client, code: GradientCode, rows: Rows, late: list[int], transport: str
) -> None:
    w = np.random.default_rng(1).normal(size=rows.shape[1])
    wait = Fastest(6 - len(late))
    with (
        place(rows, Y, code=code, client=cluster) as data,
        inject(cluster, NeverAnswers(workers=late)),
        ClusterObjective(data, Logistic(), wait=wait, transport=transport) as objective,
    ):
        data.wait(timeout=60)
        seen = objective(w)
        blocks = sums_of_blocks(code, rows, data.block_rows, w)
    alive = [worker for worker in range(6) if worker not in late]
    B = code.encoding_matrix[alive]  # of each message first the blocks' first slices
    k, size = code.n_blocks, blocks.shape[1]
    target = np.repeat(np.eye(2), k, axis=0)
    weights = np.linalg.lstsq(B.T, target, rcond=1e-10)[0]
    missed = B.T @ weights - target
    total, length = np.zeros(2 * -(-size // 2)), -(-size // 2)
    slices = np.zeros((2, k, length))
    for t in range(2):
        piece = blocks[:, slice_of(size, t, 2)]
        slices[t, :, : piece.shape[1]] = piece
    messages = B @ slices.reshape(2 * k, length)
    for t in range(2):
        place_ = slice_of(size, t, 2)
        total[place_] = (weights[:, t] @ messages)[: place_.stop - place_.start]
    covered = 0.5 * sum((B.T @ weights)[t * k : (t + 1) * k, t] for t in range(2))
    scale = data.block_rows.sum() / (covered @ data.block_rows) if late or code == DESIGN else 1.0
    assert_allclose(seen.value, scale * total[0], rtol=1e-10)
    assert_allclose(seen.gradient, scale * total[1:size], atol=1e-9)
    assert_allclose(seen.record.error, (missed**2).sum() / (2 * k), atol=1e-12)
    assert seen.record.exact == (code == GRAPH and not late)


def test_a_fit_on_a_graph_of_which_nobody_is_late_is_that_of_scikit_learn(cluster: Client) -> None:
    model = CodedLogisticRegression(code=GRAPH, client=cluster, tol=1e-6).fit(X, Y)
    assert_same_model(model, reference().fit(X, Y), atol=1e-4)


def test_a_fit_of_sums_that_are_never_exact_descends(cluster: Client) -> None:
    solver = GradientDescent(step=1.0)
    model = CodedLogisticRegression(
        code=DESIGN, client=cluster, solver=solver, wait=Deadline(5.0), max_iter=30, tol=0.0
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    assert model.score(X, Y) > 0.7
    assert not any(record.exact for record in model.history_)


@every_transport
def test_dead_and_frozen_workers_are_counted_as_missing(transport: str) -> None:
    w = np.zeros(X.shape[1])
    with local_cluster(6) as client:
        restart_no_more(client)
        with (
            place(X, Y, code=DESIGN, client=client) as data,
            ClusterObjective(data, Logistic(), wait=Fastest(4), transport=transport) as objective,
        ):
            data.wait(timeout=60)
            with frozen(*(pid_of(client, data.addresses[role]) for role in (1, 2))):
                seen = objective(w)
            left = DESIGN.decode(DESIGN.available([0, 3, 4, 5]))
            assert seen.record.error == pytest.approx(left.error)
            os.kill(pid_of(client, data.addresses[5]), signal.SIGKILL)
            for _ in range(3):
                seen = objective(w)
                assert np.isfinite(seen.gradient).all()
                assert 0.0 < seen.record.error < 1.0


def test_a_rule_that_waits_for_an_exact_sum_refuses_a_design(cluster: Client) -> None:
    with pytest.raises(ValueError, match="SlicedDesign never is"):
        CodedLogisticRegression(code=DESIGN, client=cluster).fit(X, Y)
