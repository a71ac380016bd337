"""How long nothing has come of what is waited for: said in the log, and bounded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from distributed.scheduler import KilledWorker

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["REMIND_EVERY", "Silence", "missing", "told"]

logger = logging.getLogger("dask_gradcode")

REMIND_EVERY = 20.0
"""Seconds after which the log says what is waited for, and says it again."""


class Silence:
    """The time since something has come, while several things are waited for.

    Parameters
    ----------
    what : str
        What is being done, for the log and for the texts of errors.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._heard = self._told = time.monotonic()
        self._helpless_since: float | None = None

    def broken(self) -> None:
        """Note that something has come."""
        self._heard = self._told = time.monotonic()

    def look(
        self,
        absent: Mapping[str, str],
        waits_for: Callable[[], str],
        paused: Mapping[str, str] | None = None,
    ) -> bool:
        """Say in the log what is waited for if that has not been said for a while, or give up.

        Parameters
        ----------
        absent : mapping of str to str
            What cannot be done without, and why it is not there. Empty: all is only slow.
        waits_for : callable
            Says what is waited for.
        paused : mapping of str to str, optional
            Workers that are paused, for the texts of errors.

        Returns
        -------
        bool
            Whether it has been said.

        Raises
        ------
        InsufficientWorkersError
            If something has been absent all the time, and nothing has come, for
            ``gradcode.timeouts.recover``.
        TimeoutError
            If nothing has come for ``gradcode.timeouts.round``.
        """
        now = time.monotonic()
        waited = now - self._heard
        if waited > seconds("gradcode.timeouts.round"):
            raise TimeoutError(
                f"{self._what}: workers live but have not answered for {waited:.0f} s (dask.config "
                f"key gradcode.timeouts.round). Waiting for {waits_for()}."
                + "".join(f"\n  {address}: {why}" for address, why in (paused or {}).items())
            )
        if not absent:
            self._helpless_since = None
        elif self._helpless_since is None:
            self._helpless_since = now
        elif now - max(self._heard, self._helpless_since) > seconds("gradcode.timeouts.recover"):
            raise missing(self._what, absent)
        if now - self._told <= REMIND_EVERY:
            return False
        self._told = now
        without = f" Without: {dict(absent)}." if absent else ""
        text = "%s: nothing has come for %.0f s. Waiting for %s.%s"
        logger.warning(text, self._what, waited, waits_for(), without)
        return True


def missing(what: str, absent: Mapping[str, str]) -> InsufficientWorkersError:
    """Return the error that names the workers without which something cannot go on."""
    listed = "\n".join(f"  {address}: {why}" for address, why in absent.items())
    return InsufficientWorkersError(
        f"{what} cannot go on without the workers that are missing:\n{listed or '  all of them'}\n"
        "Use the workers that are left, or restart those."
    )


def told(error: BaseException, what: str) -> BaseException:
    """Return the error to raise for one that has ended a task: what Dask gives up is told anew."""
    if not isinstance(error, KilledWorker):
        return error
    limit = getattr(error.last_worker, "memory_limit", 0)
    memory = f" (limit {limit / 2**20:,.0f} MiB)" if limit else ""
    found = InsufficientWorkersError(
        f"{what} cannot go on: {error.allowed_failures + 1} workers in a row have died while they "
        f"worked on the task {error.task!r}. Often their memory is too small{memory}: use smaller "
        "chunks, or workers with more memory. The logs of the workers say more."
    )
    found.__cause__ = error
    return found
