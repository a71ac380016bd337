"""Whether there are enough workers and rows for a code, after a wait for workers that start."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress

from distributed import Client

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.placement.casting import MOST, cast, n_dispensable
from dask_gradcode.cluster.placement.homes import spread
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.placement.placing import WORKERS_THERE, Tell
from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["await_workers", "check_rows", "check_workers", "ready_workers", "warn_of_few"]

logger = logging.getLogger("dask_gradcode")

_TELL_EVERY = 1.0  # seconds


def await_workers(
    client: Client, code: str | GradientCode, n_workers: int | None, tell: Tell
) -> None:
    """Wait for workers that are only starting, anew after a death or for an adaptive cluster.

    Whether the workers that are there in the end will do is for the caller to say.
    """
    n_workers = code.n_workers if isinstance(code, GradientCode) else n_workers or 1
    n_there = len(workers_of(client))
    if n_there >= n_workers:
        return
    logger.warning("Waiting for workers: %d are needed.", n_workers)
    wanted = client.submit(int, pure=False)  # an adaptive cluster starts none that have no work
    end = time.monotonic() + max(0.1, seconds("gradcode.timeouts.workers"))
    try:
        while n_there < n_workers and (left := end - time.monotonic()) > 0.0:
            tell(WORKERS_THERE, n_there, n_workers)
            with suppress(TimeoutError):
                client.wait_for_workers(n_workers, timeout=min(_TELL_EVERY, left))
            n_there = len(workers_of(client))
    finally:
        wanted.release()
    tell(WORKERS_THERE, n_there, n_workers)


def check_workers(client: Client, addresses: Sequence[str], code: GradientCode) -> None:
    """Raise InsufficientWorkersError if there are too few workers for a code's roles.

    Where a few are missing, others play two roles each, as long as any worker may still be silent.
    """
    n, here = code.n_workers, len(addresses)
    if n <= here:
        return
    where = f"the cluster at {client.scheduler_info()['address']} has {here}"
    wait = f"Start more workers (client.wait_for_workers({n}) waits for them)"
    if n > MOST * here:
        raise InsufficientWorkersError(
            f"The code needs {n} workers, or half of them with two roles each; {where}. {wait}, or "
            "use a code for fewer."
        )
    if code.n_stragglers and not n_dispensable(code, cast(code, addresses, workers_of(client))):
        raise InsufficientWorkersError(
            f"The code needs {n} workers, {where}. If some played two roles each, no sum could be "
            f"decoded without one of these: {code!r} tolerates {code.tolerance}. {wait}, or use "
            f"n_workers={here}, or more n_stragglers."
        )


def warn_of_few(code: GradientCode, seats: Sequence[str]) -> None:
    """Warn the caller of ``place``, which is two calls up from here, that workers share roles."""
    n_here = len(set(seats))
    if n_here == code.n_workers:
        return
    n_silent = n_dispensable(code, seats)
    text = (
        f"There are {n_here} workers for the {code.n_workers} roles of {code!r}: "
        f"{code.n_workers - n_here} worker(s) play two roles, and rounds may take twice as long. "
        f"{n_silent or 'No'} worker(s) may be silent, whoever they are. Workers that join take "
        "roles over."
    )
    logger.warning(text)
    warnings.warn(text, stacklevel=4)


def check_rows(n_rows: float, code: GradientCode) -> None:
    """Raise ValueError if there are fewer rows than blocks; NaN stands for unknown."""
    if n_rows < code.n_blocks:
        raise ValueError(
            f"{code!r} cuts the data into {code.n_blocks} blocks, but it has only {int(n_rows)} "
            "rows. Use a code for fewer workers; data this small needs no cluster."
        )


def ready_workers(client: Client, imports: Imports) -> tuple[list[str], list[str]]:
    """Return the workers, those that can read tasks first, and those that are starting yet."""
    addresses = spread(client)
    if not addresses:
        raise InsufficientWorkersError(
            f"The cluster at {client.scheduler_info()['address']} has no workers. Start some "
            "(client.wait_for_workers(n) waits for them)."
        )
    imports.wait(addresses, "Placing data")
    starting = [address for address in addresses if imports.before(address) is not None]
    return sorted(addresses, key=starting.count), starting
