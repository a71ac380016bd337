"""Tasks on the shards of roles, some of which may not answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

from distributed import Future

from dask_gradcode.cluster.client.config import large_arguments, seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.placement.placement import Placement

__all__ = ["Asked", "ask"]


class Asked:
    """Tasks that have been begun on the shards of roles, and what has come of them.

    A worker that is gone is not waited for; one that is frozen or paused is waited for
    ``gradcode.timeouts.recover``, and one that only does not answer ``gradcode.timeouts.round``.

    Parameters
    ----------
    data : Placement
        The data.
    function : callable
        ``function(shard, *arguments)``.
    roles : mapping of ticket to int
        The role on whose shard each task runs.
    args : callable
        The arguments by the ticket.

    Attributes
    ----------
    told : dict
        Results by ticket; a text in the place of one says why there is none.
    """

    def __init__(
        self,
        data: Placement,
        function: Callable[..., Any],
        roles: Mapping[Any, int],
        args: Callable[[Any], tuple[Any, ...]],
    ) -> None:
        self._data, self._roles, self._began = data, roles, time.monotonic()
        shards, addresses, uid = data.shards, data.addresses, uuid.uuid4().hex[:12]
        self.told: dict[Hashable, Any] = {
            ticket: "it is not placed" for ticket, role in roles.items() if role not in shards
        }
        self._where: dict[Hashable, str] = {}
        self._mailbox, self._looked_at = Mailbox(data.client), self._began
        with large_arguments():
            self._futures: dict[Hashable, Future[Any]] = {}
            for number, (ticket, role) in enumerate(roles.items()):
                if ticket in self.told:
                    continue
                self._where[ticket] = addresses[role]
                self._futures[ticket] = data.client.submit(
                    function,
                    shards[role],
                    *args(ticket),
                    key=task_key("account", uid, number),
                    workers=[addresses[role]],
                    allow_other_workers=False,
                    pure=False,
                )
        self._mailbox.expect(self._futures)

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def look(self, timeout: float = 0.0) -> bool:
        """Take in what has come, after waiting so many seconds for something; True if all has."""
        if not self._left():
            return True
        for letter in self._mailbox.take(timeout):
            failed = letter.error is not None
            self.told[letter.ticket] = repr(letter.error) if failed else letter.result
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            left = {ticket: self._where[ticket] for ticket in self._left()}
            self.told |= _absent(self._data, left, self.waited)
        return not self._left()

    def _left(self) -> Iterable[Hashable]:
        return self._futures.keys() - self.told.keys()

    def close(self) -> None:
        """Wait for nothing more."""
        self._mailbox.close()
        for future in self._futures.values():
            future.release()


def ask(
    data: Placement,
    function: Callable[..., Any],
    roles: Collection[int],
    args: Callable[[int], tuple[Any, ...]],
    enough: Callable[[Mapping[int, Any], float], bool] = lambda told, waited: False,
) -> dict[int, Any]:
    """Run a task on the shards of roles; a text in the place of a result says why not.

    Parameters
    ----------
    data : Placement
        The data.
    function : callable
        ``function(shard, *args(role))``.
    roles : collection of int
        Which roles.
    args : callable
        What each is given.
    enough : callable, optional
        Of what has come, and of how many seconds have passed: whether to wait no more.
    """
    asked = Asked(data, function, {role: role for role in roles}, args)
    told: dict[Any, Any] = asked.told
    try:
        while not (asked.look(LOOK_EVERY) or enough(told, asked.waited)):
            pass
    finally:
        asked.close()
    return {role: told.get(role, "it has not answered in time") for role in roles}


def _absent(data: Placement, left: Mapping[Hashable, str], waited: float) -> dict[Hashable, str]:
    """Return which tasks will not be answered, of those that have not been, and why."""
    if waited < 2 * LOOK_EVERY:
        return {}
    liveness, where = Liveness.of(data.client), set(left.values())
    gone, frozen = liveness.absent(where)
    if waited > seconds("gradcode.timeouts.recover"):
        gone = {**gone, **frozen, **liveness.paused(where)}
    if waited > seconds("gradcode.timeouts.round"):
        gone = {**dict.fromkeys(where, "it does not answer"), **gone}
    return {ticket: gone[address] for ticket, address in left.items() if address in gone}
