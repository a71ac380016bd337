"""Tasks on the shards of roles, whoever may not answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from distributed import Future

from dask_gradcode.cluster.client.config import large_arguments, seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.placement.placement import Placement

__all__ = ["ask"]


def ask(
    data: Placement,
    function: Callable[..., Any],
    roles: Collection[int],
    args: Callable[[int], tuple[Any, ...]],
    enough: Callable[[Mapping[int, Any], float], bool] = lambda told, waited: False,
) -> dict[int, Any]:
    """Run a task on the shards of roles; a text in the place of a result says why not.

    Whoever is gone is not waited for, whoever is frozen or paused for
    ``gradcode.timeouts.recover``, and whoever only does not answer for ``gradcode.timeouts.round``.

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
    shards, addresses, uid = data.shards, data.addresses, uuid.uuid4().hex[:12]
    told: dict[int, Any] = {role: "it is not placed" for role in roles if role not in shards}
    mailbox, began = Mailbox(data.client), time.monotonic()
    with large_arguments():
        futures: dict[int, Future[Any]] = {
            role: data.client.submit(
                function,
                shards[role],
                *args(role),
                key=task_key("account", uid, role),
                workers=[addresses[role]],
                allow_other_workers=False,
                pure=False,
            )
            for role in roles
            if role in shards
        }
    mailbox.expect(futures)
    try:
        while futures.keys() - told.keys():
            for letter in mailbox.take(LOOK_EVERY):
                failed = letter.error is not None
                told[letter.ticket] = repr(letter.error) if failed else letter.result
            waited = time.monotonic() - began
            left = {role: addresses[role] for role in futures.keys() - told.keys()}
            told |= _absent(data, left, waited)
            if enough(told, waited):
                break
    finally:
        mailbox.close()
        for future in futures.values():
            future.release()
    return {role: told.get(role, "it has not answered in time") for role in roles}


def _absent(data: Placement, left: Mapping[int, str], waited: float) -> dict[int, str]:
    """Return which of those who have not answered will not."""
    if waited < 2 * LOOK_EVERY:
        return {}
    liveness, where = Liveness.of(data.client), set(left.values())
    gone, frozen = liveness.absent(where)
    if waited > seconds("gradcode.timeouts.recover"):
        gone = {**gone, **frozen, **liveness.paused(where)}
    if waited > seconds("gradcode.timeouts.round"):
        gone = {**dict.fromkeys(where, "it does not answer"), **gone}
    return {role: gone[address] for role, address in left.items() if address in gone}
