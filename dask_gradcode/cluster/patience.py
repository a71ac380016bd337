"""How long a round that cannot be decoded yet waits: for the slow, the frozen and the lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.rounds import Ask, Done, Lost, Round, Stuck, Wait

__all__ = ["Patience"]

logger = logging.getLogger("dask_gradcode")


class Patience:
    """Looks at heartbeats while a round waits, and gives up in the end.

    Slow workers are waited for, and those that may be in a user's block function: it can keep
    Python's lock, and so the heartbeats, for as long as it takes. Workers that are frozen, or lost
    and not yet replaced, are waited for ``gradcode.timeouts.recover``, counted from when the others
    were first not enough.

    Parameters
    ----------
    data : Placement
        The data.
    round_ : Round
        The round.
    may_be_busy_since : float, default=inf
        Since when workers may be in a block function: who did not count as frozen then may only be
        slow.
    by_tasks : bool
        Whether messages are computed by new tasks, which workers that Dask's memory manager has
        paused do not begin: then these count as frozen.
    """

    def __init__(
        self,
        data: Placement,
        round_: Round,
        may_be_busy_since: float = math.inf,
        *,
        by_tasks: bool = False,
    ) -> None:
        self._data, self._round = data, round_
        self._busy_since, self._by_tasks = may_be_busy_since, by_tasks
        self._helpless_since: float | None = None

    def next_look(self, step: Done | Wait | Ask | Stuck, now: float) -> float:
        """Return for how many seconds to wait for an event."""
        if isinstance(step, Stuck):
            return 0.1  # a role may be placed anew at any time
        until = step.until if isinstance(step, Wait) else None
        return LOOK_EVERY if until is None else max(0.0, min(LOOK_EVERY, until - now))

    def is_over(self, now: float) -> bool:
        """Say whether a stuck round has waited long enough for lost workers to be replaced."""
        if self._helpless_since is None:
            self._helpless_since = now
            logger.warning("Round %d waits for %s", self._round.number, self._round.losses)
        return now - self._helpless_since > seconds("gradcode.timeouts.recover")

    def look(self, now: float) -> Sequence[Lost]:
        """Return the losses to assume now, after nothing has come for a while.

        Raises
        ------
        TimeoutError
            If the round has taken longer than ``gradcode.timeouts.round``.
        """
        round_, data = self._round, self._data
        if now - round_.started < 2 * LOOK_EVERY:
            return ()
        time_out = seconds("gradcode.timeouts.round")
        if now - round_.started > time_out:
            waited_for = {role: data.addresses[role] for role in round_.missing_roles()}
            paused = Liveness.of(data.client).paused(set(waited_for.values()))
            raise TimeoutError(
                f"Round {round_.number} is not done after {time_out:.0f} s, although its "
                f"workers live (dask.config key gradcode.timeouts.round). Waiting for {waited_for}."
                + "".join(f"\n  {address}: {why}" for address, why in paused.items())
            )
        roles = [role for role in round_.missing_roles() if role not in round_.losses]
        liveness, where = Liveness.of(data.client), {data.addresses[role] for role in roles}
        gone, frozen = liveness.absent(where)
        if gone:
            return self._losses(roles, gone)
        paused = liveness.paused(where) if self._by_tasks else {}
        if round_.decodable:  # there is a sum already, and none of these will better it
            return self._losses(roles, frozen | paused)
        frozen_then = self._busy_since - liveness.limit
        idle = {a: why for a, why in frozen.items() if liveness.heard(a) < frozen_then}
        losses = self._losses(roles, idle | paused)
        possible = round_.arrived | round_.pending
        for loss in losses:
            held = list(data.code.messages_of[loss.role])
            possible[held] = round_.arrived[held]
        if not losses or data.code.can_decode(possible):
            return ()  # those that live are enough, they are only slow
        if self._helpless_since is None:
            self._helpless_since = now
            logger.warning("Round %d waits for %s", round_.number, [loss.why for loss in losses])
        return losses if self.is_over(now) else ()

    def _losses(self, roles: Sequence[int], absent: Mapping[str, str]) -> list[Lost]:
        where = {role: self._data.addresses[role] for role in roles}
        return [
            Lost(role, f"{address}: {absent[address]}")
            for role, address in where.items()
            if address in absent
        ]
