"""Workers that send each other what they compute: real processes, links that lose some of it."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse
from distributed import Client
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from dask_gradcode import CodedRidge, place
from dask_gradcode.cluster import ClusterObjective, LossyLinks, inject
from dask_gradcode.codes import CooperativeRepetition
from dask_gradcode.losses import Squared
from dask_gradcode.rounds import TooMuchLostError
from dask_gradcode.simulation import transmissions_needed
from helpers import gradcode_keys, local_cluster, pid_of, wait_until

pytestmark = pytest.mark.cluster

CODE = CooperativeRepetition(4, 2)
RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(42, 3)), RNG.normal(size=42), np.array([1.0, -0.5, 2.0])
GRADIENT = X.T @ (X @ W - Y)


@pytest.mark.parametrize("code", [CODE, CooperativeRepetition(4, 3, complete_only=True)], ids=repr)
def test_the_sum_is_exact_and_each_worker_holds_a_block_of_its_own(
    client: Client, code: CooperativeRepetition
) -> None:
    with place(X, Y, code=code, client=client) as data:
        assert [data.code.blocks_of(role) for role in range(4)] == [(0,), (1,), (2,), (3,)]
        with ClusterObjective(data, Squared()) as objective:
            assert objective.transport == "tasks"
            for _ in range(3):
                seen = objective(W)
                assert seen.record.exact
                assert_allclose(seen.gradient, GRADIENT)
            both = objective.many([W, 2 * W])
            assert_allclose(both[1].gradient, X.T @ (2 * X @ W - Y))
            assert_allclose(objective.second_order(W).hessian, X.T @ X)


def test_sparse_blocks_of_other_columns_add_up(client: Client) -> None:
    sparse = scipy.sparse.block_diag([RNG.normal(size=(5, 4)) for _ in range(4)], format="csr")
    y, w = RNG.normal(size=20), RNG.normal(size=16)
    with (
        place(sparse, y, code=CODE, client=client) as data,
        ClusterObjective(data, Squared()) as objective,
    ):
        assert_allclose(objective(w).gradient, sparse.T @ (sparse @ w - y))


def test_rounds_go_as_they_are_drawn_and_nobody_waits_for_what_is_lost(client: Client) -> None:
    code, links, n_rounds = CooperativeRepetition(4, 2, 1), LossyLinks(0.3, seed=2), 12
    needed = transmissions_needed(code, links, n_rounds).tolist()
    assert 0 < sum(needed) < n_rounds  # some rounds lose too much, others do not
    with place(X, Y, code=code, client=client) as data:
        with inject(client, links), ClusterObjective(data, Squared()) as objective:
            for number in range(n_rounds):
                if needed[number]:
                    assert_allclose(objective(W).gradient, GRADIENT)
                    continue
                with pytest.raises(TooMuchLostError, match="No worker is missing"):
                    objective(W)
        with ClusterObjective(data, Squared()) as objective:  # links lose nothing any more
            for _ in range(n_rounds):
                assert objective(W).record.absent == ()


def test_a_fit_over_lossy_links_finds_scikit_learns_coefficients(client: Client) -> None:
    code = CooperativeRepetition(4, 2, n_transmissions=12)
    with inject(client, LossyLinks(0.4)):
        model = CodedRidge(alpha=0.5, code=code, client=client).fit(X, Y)
    assert_allclose(model.coef_, Ridge(alpha=0.5).fit(X, Y).coef_, atol=1e-6)


def test_a_block_function_that_raises_says_which_block(client: Client) -> None:
    def fails(w: np.ndarray, block: object) -> tuple[float, np.ndarray]:
        raise ZeroDivisionError("of mine")

    with (
        place(X, Y, code=CODE, client=client) as data,
        ClusterObjective(data, fails) as objective,
        pytest.raises(ZeroDivisionError, match="of mine") as caught,
    ):
        objective(W)
    assert any("while computing block" in note for note in caught.value.__notes__)


def test_the_stream_is_refused(client: Client) -> None:
    with (
        place(X, Y, code=CODE, client=client) as data,
        pytest.raises(ValueError, match="Use transport='tasks'"),
    ):
        ClusterObjective(data, Squared(), transport="stream")


def test_nothing_is_left_on_the_workers(client: Client) -> None:
    with place(X, Y, code=CODE, client=client) as data:
        before = set(gradcode_keys(client))
        with ClusterObjective(data, Squared()) as objective:
            objective(W)
        wait_until(lambda: set(gradcode_keys(client)) <= before)


def test_a_killed_worker_is_waited_for_until_another_has_its_block() -> None:
    with local_cluster(5) as client, place(X, Y, code=CODE, client=client) as data:
        data.wait(60)
        with ClusterObjective(data, Squared()) as objective:
            objective(W)
            os.kill(pid_of(client, data.addresses[1]), signal.SIGKILL)
            for _ in range(3):
                seen = objective(W)
                assert seen.record.exact
                assert_allclose(seen.gradient, GRADIENT)


def test_messages_that_wait_for_the_block_of_a_killed_worker_come_without_it() -> None:
    with local_cluster(5) as client, place(X, Y, code=CODE, client=client) as data:
        data.wait(60)
        with ClusterObjective(data, Squared()) as objective:
            objective(W)
            pid, seen = pid_of(client, data.addresses[1]), []
            os.kill(pid, signal.SIGSTOP)  # it does not compute its block any more
            running = threading.Thread(target=lambda: seen.append(objective(W)))
            running.start()
            asked = [CODE.messages[m] for role in range(CODE.n_workers) for m in CODE.first(role)]
            n_waiting = sum(1 in message.blocks for message in asked)  # the others may be done
            keys = lambda: sum("exchange" in key for key in gradcode_keys(client))  # noqa: E731
            wait_until(lambda: keys() >= n_waiting)
            os.kill(pid, signal.SIGKILL)
            running.join(100)
    assert seen[0].record.exact
    assert_allclose(seen[0].gradient, GRADIENT)
    log = str(objective.logs[-1])
    assert "Lost(role=1" in log
    assert "blocks=" in log  # of those that went on without it
