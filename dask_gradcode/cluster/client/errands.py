"""Tasks that any worker can run: none is waited for on a worker that is gone or runs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import Client, Future

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.located import Located
from dask_gradcode.cluster.client.mailbox import Mailbox, Vanished
from dask_gradcode.cluster.client.silence import Silence, told
from dask_gradcode.cluster.client.waiting import LOOK_EVERY, is_late

__all__ = ["Begin", "collect_anywhere"]

Ticket = TypeVar("Ticket", bound=Hashable)
Begin = Callable[[Sequence[str] | None], Future[Any]]


def collect_anywhere(
    client: Client,
    errands: Mapping[Ticket, Begin],
    what: str,
    among: Collection[str],
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> dict[Ticket, tuple[int, Located[Any]]]:
    """Wait for tasks that any worker can run, and for no single worker.

    Dask itself runs again what dies with its worker, as long as any worker runs. What is late, or
    may be on a worker that is frozen or paused, is begun once more elsewhere, and so is what has
    been finished and lost before it was handed over, or what Dask may have left alone; the first
    answer counts.

    Parameters
    ----------
    client : distributed.Client
        The client.
    errands : mapping of ticket to callable
        ``errand(None)`` begins what the caller has prepared; ``errand(workers)`` begins it all once
        more, under keys never used before, on some of the workers or, where none are named, on any.
        The result of the future that it returns is a :class:`Located`; ``str(errand)`` is what
        errors say.
    what : str
        What the tasks do, for the texts of errors.
    among : collection of str
        The workers that were there when what has been prepared was begun.
    tell : callable, optional
        Is told how many have come, of how many, as they come.

    Returns
    -------
    dict
        By ticket which of its attempts, from 0, was first, and its result.

    Raises
    ------
    InsufficientWorkersError
        If nothing has come for ``gradcode.timeouts.recover`` while workers are gone or frozen, or
        all of them are paused.
    TimeoutError
        If nothing has come for ``gradcode.timeouts.round``.
    Exception
        The original error of a task that failed.
    """
    search = _Search(client, errands, what)
    try:
        search.begin(errands, frozenset(among))
        while search.waiting:
            tell(len(search.results), len(errands))
            search.take()
            search.look()
        tell(len(errands), len(errands))
    finally:
        search.close()
    return search.results


@dataclass
class _Attempt:
    """The newest attempt at an errand."""

    number: int = -1
    among: frozenset[str] = frozenset()  # workers that could run it when it began
    avoided: frozenset[str] = frozenset()  # workers that were known to run nothing then
    vanished: str = ""  # why its result is gone

    def is_stuck(self, able: frozenset[str], silent: frozenset[str]) -> bool:
        """Say whether it may be on a worker that runs nothing, or is on none."""
        # A task that may run elsewhere, as the workers named for it are gone, is left alone by Dask
        # for good if no worker could run it just then: none that comes later is asked.
        self.among &= able
        return bool(self.vanished or silent - self.avoided or not self.among)


class _Search(Generic[Ticket]):
    """What is being waited for, and what has been found."""

    def __init__(self, client: Client, errands: Mapping[Ticket, Begin], what: str) -> None:
        self._client, self._errands = client, errands
        self._what, self._silence = what, Silence(what)
        self._liveness, self._mailbox = Liveness.of(client), Mailbox(client)
        self._newest = {ticket: _Attempt() for ticket in errands}
        self._futures: list[Future[Any]] = []
        self._began = self._looked = time.monotonic()
        self._took: list[float] = []
        self.results: dict[Ticket, tuple[int, Located[Any]]] = {}

    @property
    def waiting(self) -> list[Ticket]:
        """What has not been found."""
        return [ticket for ticket in self._errands if ticket not in self.results]

    def begin(
        self,
        tickets: Iterable[Ticket],
        among: frozenset[str],
        silent: frozenset[str] = frozenset(),
    ) -> None:
        """Begin attempts; on those workers, if others are silent."""
        more = {}
        for ticket in tickets:
            last = self._newest[ticket]
            self._newest[ticket] = _Attempt(last.number + 1, among, silent)
            named = sorted(among) if silent else []
            future = self._errands[ticket](None if last.number < 0 else named)
            more[ticket, last.number + 1] = future
        self._futures += more.values()
        self._mailbox.expect(more)

    def take(self) -> None:
        """Take in what has come, after waiting for it for a while."""
        for letter in self._mailbox.take(LOOK_EVERY):
            ticket, number = letter.ticket
            if ticket in self.results:
                continue
            if isinstance(letter.error, Vanished):
                if number == self._newest[ticket].number:
                    self._newest[ticket].vanished = str(letter.error)
            elif letter.error is not None:
                raise told(letter.error, self._what)
            else:
                self.results[ticket] = number, letter.result
                self._took.append(time.monotonic() - self._began)
                self._silence.broken()

    def look(self) -> None:
        """Begin once more what is stuck or late; raise when nothing has come for too long."""
        waiting, now = self.waiting, time.monotonic()
        if not waiting or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        workers = frozenset(self._liveness.addresses())
        reasons = self._liveness.silent(workers)
        silent = frozenset(reasons)
        able = self._liveness.running() - silent
        newest, paused = self._newest, self._liveness.paused(workers)
        if able:  # a paused worker is waited for, unless no other is there
            reasons = {a: why for a, why in reasons.items() if a not in paused}
        lost = {
            str(self._errands[ticket]): f"it has been lost: {newest[ticket].vanished}"
            for ticket in waiting
            if newest[ticket].vanished
        }
        nobody = {} if workers else {"all workers": "they left the cluster"}
        absent = reasons | lost | nobody
        reminded = self._silence.look(absent, lambda: self._listed(waiting), paused)
        if not able:
            return
        if reminded and not any(self._client.processing().values()):  # Dask has left all alone
            self.begin(waiting, able, silent)
            return
        self.begin([t for t in waiting if newest[t].is_stuck(able, silent)], able, silent)
        idle = able & {where.worker for _, where in self.results.values()}
        if idle and is_late(now - self._began, self._took, len(self._errands)):
            busy = workers - idle
            self.begin([t for t in waiting if newest[t].number == 0], idle, silent | busy)

    def _listed(self, tickets: Sequence[Ticket]) -> str:
        named = ", ".join(str(self._errands[ticket]) for ticket in tickets[:5])
        more = f" and {len(tickets) - 5} more" if len(tickets) > 5 else ""
        return f"{named}{more}"

    def close(self) -> None:
        """Let go of all attempts."""
        self._mailbox.close()
        for future in self._futures:
            future.release()
