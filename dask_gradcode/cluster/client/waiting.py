"""Waiting for tasks with a bound: nothing hangs on a worker that is gone or frozen."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Generic, TypeVar

from distributed import Client, Future, get_worker

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Mailbox, Vanished
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["LOOK_EVERY", "Located", "collect", "collect_anywhere", "is_late", "located"]

Ticket = TypeVar("Ticket", bound=Hashable)
Value = TypeVar("Value")

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


def missing(what: str, absent: Mapping[str, str]) -> InsufficientWorkersError:
    """Return the error that names the workers without which something cannot go on."""
    listed = "\n".join(f"  {address}: {why}" for address, why in absent.items())
    return InsufficientWorkersError(
        f"{what} cannot go on without the workers that are missing:\n{listed or '  all of them'}\n"
        "Use the workers that are left, or restart those."
    )


@dataclass(frozen=True)
class Located(Generic[Value]):
    """A result, and the worker that computed it."""

    worker: str
    value: Value


def located(function: Callable[..., Value], *arguments: Any) -> Located[Value]:
    """Call a function on a worker and say which that is."""
    return Located(get_worker().address, function(*arguments))


def is_late(waited: float, took: Sequence[float], n_all: int) -> bool:
    """Say whether what has not come after ``waited`` seconds is late, by the time others took.

    Late is three times their median, and two seconds at least, once half of all have come.
    """
    return 2 * len(took) >= n_all and waited > max(2.0, 3.0 * median(took))


def collect_anywhere(
    client: Client,
    errands: Mapping[Ticket, Callable[[Sequence[str] | None], Future[Any]]],
    what: str,
) -> dict[Ticket, tuple[int, Located[Any]]]:
    """Wait for tasks that any worker can run, and for no single worker.

    What is late, or on a frozen worker, is begun once more elsewhere, and so is what has gone with
    its worker; the first answer counts.

    Parameters
    ----------
    client : distributed.Client
        The client.
    errands : mapping of ticket to callable
        ``errand(workers)`` begins a task on some of the workers, or anywhere for None, and returns
        its future, the result of which is a :class:`Located`; ``str(errand)`` is what errors say.
    what : str
        What the tasks do, for the texts of errors.

    Returns
    -------
    dict
        By ticket which of its attempts, from 0, was first, and its result.

    Raises
    ------
    InsufficientWorkersError
        If nothing has come for ``gradcode.timeouts.recover`` while workers are gone or frozen, or
        all of them are paused.
    Exception
        The original error of a task that failed.
    """
    mailbox, liveness = Mailbox(client), Liveness.of(client)
    results: dict[Ticket, tuple[int, Located[Any]]] = {}
    futures = {(ticket, 0): errand(None) for ticket, errand in errands.items()}
    newest = dict.fromkeys(errands, 0)  # attempt
    bound: dict[Ticket, frozenset[str]] = {}  # the workers that may run it, if not all
    vanished: dict[Ticket, str] = {}  # went with its worker
    began = heard = looked = time.monotonic()
    took: list[float] = []
    mailbox.expect(futures)

    def again(tickets: Iterable[Ticket], workers: frozenset[str]) -> None:
        more = {}
        for ticket in tickets:
            newest[ticket] += 1
            bound[ticket] = workers
            vanished.pop(ticket, None)
            more[ticket, newest[ticket]] = errands[ticket](list(workers))
        futures.update(more)
        mailbox.expect(more)

    try:
        while len(results) < len(errands):
            for letter in mailbox.take(LOOK_EVERY):
                ticket, attempt = letter.ticket
                if ticket in results:
                    continue
                if isinstance(letter.error, Vanished):
                    if attempt == newest[ticket]:
                        vanished[ticket] = str(letter.error)
                    continue
                if letter.error is not None:
                    raise letter.error
                results[ticket] = attempt, letter.result
                heard = time.monotonic()
                took.append(heard - began)
            now = time.monotonic()
            if len(results) < len(errands) and now - looked > LOOK_EVERY:
                looked = now
                waiting = [ticket for ticket in errands if ticket not in results]
                addresses = frozenset(liveness.addresses())
                _, frozen = liveness.judge(addresses)
                awake = addresses - set(frozen)
                paused = liveness.paused(awake)
                if len(paused) == len(awake):  # else the others begin what these do not
                    frozen |= paused
                awake -= set(paused)
                gone = {str(errands[t]): f"it has been lost: {why}" for t, why in vanished.items()}
                absent = frozen | gone
                if now - heard > seconds("gradcode.timeouts.round"):
                    raise TimeoutError(
                        f"{what}: workers live but have not answered for {now - heard:.0f} s "
                        f"(dask.config key gradcode.timeouts.round). Waiting for {waiting}."
                        + "".join(f"\n  {address}: {why}" for address, why in paused.items())
                    )
                helpless = absent or not addresses
                if helpless and now - heard > seconds("gradcode.timeouts.recover"):
                    raise missing(what, absent)
                if awake:
                    lost = [t for t in waiting if t in vanished or bound.get(t, addresses) - awake]
                    again(lost, awake)
                idle = awake & {where.worker for _, where in results.values()}
                if idle and is_late(now - began, took, len(errands)):
                    again([ticket for ticket in waiting if newest[ticket] == 0], idle)
    finally:
        mailbox.close()
        for future in futures.values():
            future.release()
    return results
