"""The HTML card of a placement says who plays which role, with how much data, and who is lost."""

from __future__ import annotations

import os
import signal
from xml.etree import ElementTree

import numpy as np
import pytest
from distributed import Client

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import FractionalRepetition
from helpers import count_rows, local_cluster, logistic_data, pid_of, wait_until

pytestmark = pytest.mark.cluster

X, Y = logistic_data(97, 3)
PAIRS = FractionalRepetition(4, 1)


def await_all(data: Placement) -> None:
    """Wait for all roles: placing ends once enough of them are placed and the rest is late."""
    data.wait(timeout=30)


def roles(data: Placement) -> dict[str, tuple[str, ...]]:
    """Read the rows of the card's table of roles, strictly, by role."""
    card = ElementTree.fromstring(data._repr_html_())
    body = next(card.iter("tbody"))
    rows = [tuple("".join(cell.itertext()) for cell in row) for row in body]
    return {row[0]: row[1:] for row in rows}


def text(data: Placement) -> str:
    return "".join(ElementTree.fromstring(data._repr_html_()).itertext())


def test_each_role_has_its_worker_blocks_rows_and_bytes(client: Client) -> None:
    with place(X, Y, code=PAIRS, client=client) as data:
        await_all(data)
        found = roles(data)
        assert [*found] == ["0", "1", "2", "3"]
        for role in range(4):
            blocks = list(PAIRS.blocks_of(role))
            n_rows = int(data.block_rows[blocks].sum())
            shard = data.shards[role].result()
            assert data.roles.nbytes[role] == shard.nbytes >= n_rows * 4 * 8
            worker, held, rows, nbytes, state = found[str(role)]
            assert worker == data.addresses[role]
            assert held == ", ".join(map(str, blocks))
            assert int(rows) == n_rows
            assert nbytes == f"{shard.nbytes / 1024:.2f} kiB"
            assert state == "placed"
        assert "4 of 4 roles placed" in text(data)
        assert "97 samples x 3 features" in text(data)
        assert "on 4 worker(s), 1 host(s)" in text(data)
    assert "closed" in text(data)


def test_a_lost_role_comes_first_with_why_and_a_recovered_one_says_so() -> None:
    with local_cluster(4) as client, place(X, Y, code=PAIRS, client=client) as data:
        await_all(data)
        address = data.addresses[2]
        os.kill(pid_of(client, address), signal.SIGKILL)
        wait_until(lambda: data.lost)
        found = roles(data)
        assert [*found] == ["2", "0", "1", "3"]
        assert found["2"][-1] == "not placed: it left the cluster"
        assert "3 of 4 roles placed" in text(data)
        assert "on 3 worker(s)" in text(data)
        with ClusterObjective(data, count_rows, transport="tasks") as objective:

            def placed_anew() -> bool:
                objective(np.zeros(1))
                return not data.lost

            wait_until(placed_anew, 60.0)
        found = roles(data)
        assert found["2"][-1] == "recovered"
        assert found["2"][0] != address
        assert {found[role][-1] for role in "013"} == {"placed"}


def test_what_an_address_says_is_escaped(client: Client) -> None:
    with place(X, Y, code=PAIRS, client=client) as data:
        await_all(data)
        seat = data.roles._seats[0]
        seat.address, address = "tcp://<script>:1", seat.address
        assert "<script>" not in data._repr_html_()
        assert roles(data)["0"][0] == "tcp://<script>:1"
        seat.address = address
