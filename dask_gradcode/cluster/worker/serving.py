"""The tasks that keep a desk open on each worker, as the client sees them."""

from __future__ import annotations

import itertools
from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.worker.desk import serve

__all__ = ["Serving"]


class Serving:
    """The long tasks that serve the shards of one placement: one per role, begun when first used.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    uid : str
        Distinguishes the keys of this placement's tasks from all others.
    """

    def __init__(self, client: Client, uid: str) -> None:
        self._client, self._uid = client, uid
        self._tasks: dict[str, Future[Any]] = {}
        self._numbers = itertools.count()  # keys are never used twice

    def token(self, role: int, shard: Future[Any], address: str) -> str:
        """Return the token by which a role's worker knows the shard to serve.

        A task that has ended with an error is begun anew.
        """
        key: Any = shard.key  # (name, role, epoch)
        token = f"{self._uid}-{role}-{key[-1]}"
        if token not in self._tasks or self._tasks[token].status == "error":
            self._tasks[token] = self._client.submit(
                serve,
                shard,
                token,
                key=task_key("serve", self._uid, *key[1:], next(self._numbers)),
                workers=[address],
                allow_other_workers=False,
                pure=False,
            )
        return token

    async def error(self, token: str) -> BaseException | None:
        """Return the error with which a token's task has ended; on the client's event loop."""
        task = self._tasks.get(token)
        if task is None or task.status != "error":
            return None
        error: BaseException = await task.exception()
        return error

    def release(self, role: int | None = None, epoch: int | None = None) -> None:
        """End the task of a role's shard, by the epoch in the shard's key, or end all."""
        mine = list(self._tasks) if role is None else [f"{self._uid}-{role}-{epoch}"]
        for token in mine:
            if token in self._tasks:
                self._tasks.pop(token).release()
