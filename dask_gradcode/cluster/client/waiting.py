"""Waiting for tasks with a bound: nothing hangs on a worker that is gone or frozen."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

from distributed import Client, Future

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.client.silence import missing

__all__ = ["LOOK_EVERY", "collect", "is_late"]

Ticket = TypeVar("Ticket", bound=Hashable)

LOOK_EVERY = 0.5
"""Seconds between two looks at heartbeats while something is waited for."""


def collect(
    client: Client,
    futures: Mapping[Ticket, Future[Any]],
    what: str,
    *,
    pinned: Mapping[Ticket, str],
) -> dict[Ticket, Any]:
    """Wait for tasks that can each run on one worker only, and return their results.

    Parameters
    ----------
    client : distributed.Client
        The client.
    futures : mapping of ticket to Future
        What to wait for. They are released at the end.
    what : str
        What the tasks do, for the texts of errors.
    pinned : mapping of ticket to str
        The worker on which each task runs.

    Returns
    -------
    dict
        The result of each task by its ticket.

    Raises
    ------
    InsufficientWorkersError
        If a worker is gone, or if nothing has come for ``gradcode.timeouts.recover`` while workers
        are frozen or paused.
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
            waited = time.monotonic() - heard
            if waiting and waited > 2 * LOOK_EVERY:
                where = {pinned[ticket] for ticket in waiting}
                gone, frozen = Liveness.of(client).absent(where)
                frozen |= Liveness.of(client).paused(where)
                if gone or (frozen and waited > seconds("gradcode.timeouts.recover")):
                    raise missing(what, gone | frozen)
    finally:
        mailbox.close()
        for future in futures.values():
            future.release()
    return results


def is_late(waited: float, took: Sequence[float], n_all: int) -> bool:
    """Say whether what has not come after ``waited`` seconds is late, by the time others took.

    Late is three times their median, and two seconds at least, once half of all have come.
    """
    return 2 * len(took) >= n_all and waited > max(2.0, 3.0 * median(took))
