"""Results of Dask tasks in order of arrival, where no frozen worker delays another's result."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, as_completed

__all__ = ["Letter", "Mailbox", "Vanished"]


class Vanished(ConnectionError):
    """A task's result has gone with its worker; no error that a task has raised."""


@dataclass(frozen=True, eq=False)
class Letter:
    """What became of one task: its result, or the error that stands for it."""

    ticket: Hashable
    result: Any = None
    error: BaseException | None = None


class Mailbox:
    """Waits for futures and fetches each result by a request of its own.

    ``as_completed(with_results=True)`` fetches finished results in batches, and one worker frozen
    between finishing and handing over holds up its whole batch; ``Client.gather`` has five slots,
    which five such workers fill. Here every fetch is started at once and none is waited for.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client. All methods but ``put`` are for one caller's thread.
    """

    def __init__(self, client: Client) -> None:
        assert client.loop is not None  # a running client has one
        self._client, self._loop = client, client.loop
        self._letters: SimpleQueue[Any] = SimpleQueue()
        # by key: the ticket, the future, whether to fetch its result
        self._expected: dict[Any, tuple[Hashable, Future[Any], bool]] = {}
        self._fetching: dict[Any, asyncio.Task[None]] = {}  # by key; lives on the client's loop

    def expect(self, futures: Mapping[Any, Future[Any]], *, fetch: bool = True) -> None:
        """Wait for more futures.

        Parameters
        ----------
        futures : mapping of ticket to Future
            Each becomes a :class:`Letter` with its ticket. The mailbox owns the futures.
        fetch : bool, default=True
            Whether the letter holds the result; if not, it only says that there is one.
        """
        for ticket, future in futures.items():
            self._expected[future.key] = ticket, future, fetch
        self._loop.add_callback(self._watch, list(futures.values()))

    def take(self, timeout: float | None) -> list[Any]:
        """Return what has come, after waiting for at least one letter or ``timeout`` seconds."""
        letters: list[Any] = []
        with suppress(Empty):
            if timeout != 0:
                letters.append(self._letters.get(timeout=timeout))
            while True:
                letters.append(self._letters.get_nowait())
        return letters

    def put(self, letter: Any) -> None:
        """Put something in the box, from any thread."""
        self._letters.put(letter)

    def drop(self, future: Future[Any]) -> None:
        """Forget a future: its task is cancelled, its result released, its letter never comes."""
        self._expected.pop(future.key, None)
        future.release()
        self._loop.add_callback(self._stop_fetching, future.key)

    def close(self) -> None:
        """Forget all futures."""
        for _, future, _ in list(self._expected.values()):
            self.drop(future)

    # ---- on the client's event loop

    async def _watch(self, futures: list[Future[Any]]) -> None:
        async for future in as_completed(futures, loop=self._loop):
            if future.key in self._expected:
                fetch = self._expected[future.key][2]
                task = asyncio.create_task(self._deliver(future, fetch))
                self._fetching[future.key] = task

    async def _deliver(self, future: Future[Any], fetch: bool) -> None:
        result, error = None, None
        try:
            if future.status == "finished":
                result = await self._fetch(future) if fetch else None
            elif future.status == "error":
                error = await future.exception()
            else:
                error = Vanished(f"The scheduler gave up the task {future.key!r}.")
        except OSError as failure:  # of a connection, on the way
            error = failure if isinstance(failure, Vanished) else Vanished(str(failure))
        finally:
            self._fetching.pop(future.key, None)
        ticket, *_ = self._expected.pop(future.key, (None,))
        if ticket is not None:
            self._letters.put(Letter(ticket, result, error))

    async def _fetch(self, future: Future[Any]) -> Any:
        # Client.gather would queue behind its five slots; the scheduler has no such limit.
        scheduler: Any = self._client.scheduler
        reply = await scheduler.gather(keys=[future.key])
        if reply["status"] != "OK":
            raise Vanished(f"The result of {future.key!r} is gone from the cluster.")
        return reply["data"][future.key]

    def _stop_fetching(self, key: Any) -> None:
        task = self._fetching.pop(key, None)
        if task is not None:
            task.cancel()
