"""Waiting for roles: until enough are placed for rounds to begin, or until all are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from distributed import Client

from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Vanished
from dask_gradcode.cluster.client.silence import REMIND_EVERY, Silence, told
from dask_gradcode.cluster.client.waiting import LOOK_EVERY, is_late
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["await_roles", "place_roles"]

logger = logging.getLogger("dask_gradcode")


def place_roles(
    client: Client,
    code: GradientCode,
    roles: Roles,
    addresses: Sequence[str],
    tell: Callable[[], object],
) -> None:
    """Place all roles; return once they are placed, or enough to decode and the rest is late.

    Parameters
    ----------
    client : distributed.Client
        The client.
    code : GradientCode
        Says which roles are enough.
    roles : Roles
        Which workers play them.
    addresses : sequence of str
        The worker of each role.
    tell : callable
        Says how far it has come; called now and then.

    Raises
    ------
    InsufficientWorkersError
        If the roles that are placed and those on the way to living workers have not been enough,
        and nothing has come, for ``gradcode.timeouts.recover``.
    RuntimeError
        If the cluster has been restarted meanwhile.
    TimeoutError
        If nothing has come for ``gradcode.timeouts.round``.
    Exception
        The error of a task that builds a shard.
    """
    silence, took = Silence("Placing data"), list[float]()
    began = looked = time.monotonic()
    roles.begin(addresses)
    while roles.lost:
        tell()
        n_lost = len(roles.lost)
        for letter in roles.take(LOOK_EVERY):
            if letter.error is not None and not isinstance(letter.error, Vanished):
                raise told(letter.error, "Placing data")
        roles.check_restart()
        now = time.monotonic()
        if len(roles.lost) < n_lost:
            silence.broken()
            took += [now - began] * (n_lost - len(roles.lost))
        late = is_late(now - began, took, len(addresses))
        if roles.lost and now - looked > LOOK_EVERY:
            looked = now
            late = _look(client, code, roles, silence) or late
        if roles.lost and late and _can_decode(code, roles.shards):
            logger.warning("Rounds begin without %s, who may join later", roles.lost)
            return
    tell()


def await_roles(
    roles: Roles, code: GradientCode, end: float | None, check: Callable[[], object]
) -> None:
    """Wait until all roles are placed, and none on a worker that will leave.

    Parameters
    ----------
    roles : Roles
        Which workers play them.
    code : GradientCode
        The code.
    end : float or None
        The monotonic time at which to give up.
    check : callable
        Raises if it makes no sense to wait on.

    Raises
    ------
    TimeoutError
        If some are not placed by then.
    InsufficientWorkersError
        If one is given up, as placing it has failed too often.
    """
    began = reminded = time.monotonic()
    while True:
        check()
        roles.tend()
        missing = {**roles.lost, **roles.leaving}
        if not missing:
            return
        now = time.monotonic()
        placed = f"{len(roles.shards)} of {code.n_workers} roles are placed"
        listed = "\n".join(f"  role {role}: {why}" for role, why in sorted(missing.items()))
        if roles.given_up:
            raise InsufficientWorkersError(f"{placed}, and some are given up:\n{listed}")
        if end is not None and now >= end:
            raise TimeoutError(
                f"{placed} after {now - began:.0f} s. Missing, or about to leave:\n{listed}\n"
                "Start more workers, or go on: rounds need only enough of them to decode."
            )
        if now - reminded > REMIND_EVERY:
            reminded = now
            logger.warning("%s. Waiting for:\n%s", placed, listed)
        roles.take(0.1 if end is None else max(0.0, min(0.1, end - now)))


def _look(client: Client, code: GradientCode, roles: Roles, silence: Silence) -> bool:
    """Begin anew what is stuck; say whether all that is missing is on its way to nobody."""
    liveness = Liveness.of(client)
    liveness.addresses()
    roles.tend()
    hopeless = roles.hopeless()
    rest = roles.addresses.keys() - hopeless.keys()
    absent = {} if _can_decode(code, rest) else dict(hopeless.values())
    paused = liveness.paused(roles.addresses.values())
    reminded = silence.look(absent, lambda: ", ".join(f"role {r}" for r in roles.lost), paused)
    if reminded and not any(client.processing().values()):  # Dask has left all alone
        roles.doubt()
    return len(hopeless) == len(roles.lost)


def _can_decode(code: GradientCode, roles: Collection[int]) -> bool:
    return code.can_decode(code.available(roles))
