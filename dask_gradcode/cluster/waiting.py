"""Waiting for tasks with a bound: nothing hangs on a worker that is gone or frozen."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from distributed import Client, Future

from dask_gradcode.cluster.config import seconds
from dask_gradcode.cluster.liveness import Liveness
from dask_gradcode.cluster.mailbox import Mailbox
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["LOOK_EVERY", "collect"]

Ticket = TypeVar("Ticket", bound=Hashable)

LOOK_EVERY = 0.5
"""Seconds between two looks at heartbeats while something is waited for."""


def collect(
    client: Client,
    futures: Mapping[Ticket, Future[Any]],
    what: str,
    *,
    pinned: Mapping[Ticket, str] | None = None,
) -> dict[Ticket, Any]:
    """Wait for tasks and return their results.

    Parameters
    ----------
    client : distributed.Client
        The client.
    futures : mapping of ticket to Future
        What to wait for. They are released at the end.
    what : str
        What the tasks do, for the texts of errors.
    pinned : mapping of ticket to str, optional
        The one worker on which each task can run. None: Dask may run them anywhere.

    Returns
    -------
    dict
        The result of each task by its ticket.

    Raises
    ------
    InsufficientWorkersError
        If a worker to which a task is pinned is gone, or if nothing has come for
        ``gradcode.timeouts.recover`` while workers are frozen.
    Exception
        The original error of a task that failed.
    """
    mailbox, results = Mailbox(client), dict.fromkeys(futures, None)
    waiting, heard = set(futures), time.monotonic()
    mailbox.expect(futures)
    try:
        while waiting:
            for letter in mailbox.take(LOOK_EVERY):
                if letter.error is not None:
                    raise letter.error
                results[letter.ticket] = letter.result
                waiting.discard(letter.ticket)
                heard = time.monotonic()
            if waiting and time.monotonic() - heard > 2 * LOOK_EVERY:
                _look(client, waiting, what, pinned, time.monotonic() - heard)
    finally:
        mailbox.close()
        for future in futures.values():
            future.release()
    return results


def _look(
    client: Client,
    waiting: set[Ticket],
    what: str,
    pinned: Mapping[Ticket, str] | None,
    waited: float,
) -> None:
    if pinned is None:
        addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    else:
        addresses = [pinned[ticket] for ticket in waiting]
    gone, frozen = Liveness.of(client).absent(addresses)
    # Where Dask may choose, it runs a dead worker's tasks elsewhere; a frozen one's it does not.
    if gone or not addresses or (frozen and waited > seconds("gradcode.timeouts.recover")):
        absent = "\n".join(f"  {address}: {why}" for address, why in (gone | frozen).items())
        raise InsufficientWorkersError(
            f"{what} cannot go on without the workers that are missing:\n"
            f"{absent or '  all of them'}\n"
            "Use the workers that are left, or restart those."
        )
