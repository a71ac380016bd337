"""Which workers have the results of tasks, as the scheduler told last."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from distributed import Client

__all__ = ["Whereabouts"]


class Whereabouts:
    """Asks the scheduler who has what, and never waits for its answer.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    """

    def __init__(self, client: Client) -> None:
        assert client.loop is not None  # a running client has one
        self._client, self._loop = client, client.loop
        self._asked = -math.inf
        self._known: Mapping[Any, Collection[str]] = {}

    def recently(self, keys: Collection[Any], max_age: float) -> Mapping[Any, Collection[str]]:
        """Return by key the workers that have a result, none if it is not computed.

        Keys that the scheduler has not been asked about are left out. If its last answer is older
        than ``max_age`` seconds, it is asked about these keys meanwhile.
        """
        now = time.monotonic()
        if now - self._asked > max_age:
            self._asked = now
            self._loop.add_callback(self._ask, list(keys))
        return self._known

    async def _ask(self, keys: list[Any]) -> None:
        with suppress(OSError, AttributeError):  # no scheduler any more
            scheduler: Any = self._client.scheduler
            self._known = await scheduler.who_has(keys=keys)
