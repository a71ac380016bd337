from __future__ import annotations

import asyncio
import threading
from typing import Any

import dask.array as da
import pytest
from distributed import Client

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster.client.session import workers_of
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(60, 3)


def test_all_workers_are_named_while_the_client_asks_for_none(client: Client) -> None:
    """The client itself asks now and then for an answer without workers, and keeps that."""
    over = threading.Event()

    async def ask(client: Any) -> None:
        while not over.is_set():
            await client._update_scheduler_info()
            await asyncio.sleep(0)

    assert client.loop is not None
    client.loop.add_callback(ask, client)
    try:
        assert {len(workers_of(client)) for _ in range(300)} == {4}
    finally:
        over.set()


def test_a_cluster_is_taken_as_a_client(client: Client) -> None:
    """Its scheduler goes on without the client that is made for a fit or a placement."""
    cluster, lazy = client.cluster, da.from_array(X, chunks=30)
    with place(X, Y, client=cluster) as data:
        assert data.client is not client
        assert set(data.addresses.values()) <= set(workers_of(client))
    model = CodedLogisticRegression(client=cluster).fit(lazy, Y)
    assert model.code_ == data.code
    assert model.score(lazy, Y) == model.score(X, Y)
    assert client.submit(int).result() == 0
