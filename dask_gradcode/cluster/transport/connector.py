"""Connections to desks, opened on the client's event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable
from typing import Any

from distributed import Client
from distributed.core import clean_exception
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.worker.desk import HANDLER, detach, install
from dask_gradcode.cluster.worker.serving import Serving

__all__ = ["Connector"]


class Connector:
    """Opens connections through Dask's own, with its authentication.

    It tries again as long as a worker cannot be reached or its desk is not open yet: of a worker
    that is gone there is word elsewhere. An error on the worker ends it.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    serving : Serving
        The placement's tasks.
    tell : callable
        Called on the event loop with a ticket and its socket, or the error that stands for it.

    Attributes
    ----------
    reached : set of str
        The addresses at which a worker has answered.
    """

    def __init__(
        self,
        client: Client,
        serving: Serving,
        tell: Callable[[Any, socket.socket | BaseException], None],
    ) -> None:
        assert client.loop is not None
        self._client, self._loop, self._serving, self._tell = client, client.loop, serving, tell
        self.reached: set[str] = set()
        self._openings: dict[Hashable, asyncio.Task[None]] = {}  # lives on the event loop

    def open(self, ticket: Hashable, address: str, token: str) -> None:
        """Begin to open a connection to the desk that a worker knows by a token."""
        self._loop.add_callback(self._start, ticket, address, token)

    def give_up(self, ticket: Hashable) -> None:
        """Open it no longer."""
        self._loop.add_callback(self._cancel, ticket)

    def close(self) -> None:
        """Give up all; from then on nobody is told anything."""
        if self._client.status == "running":
            self._client.sync(self._give_up_all)

    # ---- on the client's event loop

    def _start(self, ticket: Hashable, address: str, token: str) -> None:
        self._openings[ticket] = opening = asyncio.create_task(self._open(ticket, address, token))
        opening.add_done_callback(lambda _: self._openings.pop(ticket, None))

    def _cancel(self, ticket: Hashable) -> None:
        if ticket in self._openings:
            self._openings[ticket].cancel()

    async def _give_up_all(self) -> None:
        openings = list(self._openings.values())
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)

    async def _open(self, ticket: Hashable, address: str, token: str) -> None:
        found: socket.socket | BaseException | None = None
        pause = 0.01
        while found is None:
            try:
                found = await self._try(address, token)
            except OSError:
                pass  # gone, in which case there is word; or frozen, or not yet there
            except Exception as error:
                if self._client.status != "running":
                    return
                found = error
            if found is None:
                await asyncio.sleep(pause)
                pause = min(0.5, 1.5 * pause)
        self._tell(ticket, found)

    async def _try(self, address: str, token: str) -> socket.socket | BaseException | None:
        """Return a socket, or the worker's error, or None if it may be open later."""
        rpc: Any = self._client.rpc
        comm = await rpc.connect(address)
        self.reached.add(address)
        try:
            await comm.write({"op": "run", "function": dumps(install)})
            installed = _error_in(await comm.read())
            if installed is not None:
                return installed
            await comm.write({"op": HANDLER, "token": token})
            reply = await comm.read()
            if reply == "OK":
                return detach(comm)  # at once: the event loop must not read what comes next
            if reply == "later":
                return await self._serving.error(token)
            return _error_in(reply) or RuntimeError(f"It answered {reply!r} where it was to serve.")
        except BaseException:
            comm.abort()
            raise
        finally:
            rpc.reuse(address, comm)


def _error_in(reply: Any) -> BaseException | None:
    if isinstance(reply, dict) and str(reply.get("status")).endswith("error"):
        return clean_exception(**reply)[1]
    return None
