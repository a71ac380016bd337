from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from distributed import Client

from dask_gradcode.cluster.client.session import workers_of

pytestmark = pytest.mark.cluster


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
