"""Whether there are enough workers and rows for a code, after a wait for workers that start."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from distributed import Client

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.placement.homes import spread
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import InsufficientWorkersError

__all__ = ["await_workers", "check_rows", "check_workers", "ready_workers"]

logger = logging.getLogger("dask_gradcode")


def await_workers(client: Client, n_workers: int) -> None:
    """Wait for workers that are only starting, anew after a death or for an adaptive cluster."""
    if len(workers_of(client)) >= n_workers:
        return
    logger.warning("Waiting for workers: %d are needed.", n_workers)
    wanted = client.submit(int, pure=False)  # an adaptive cluster starts none that have no work
    try:
        client.wait_for_workers(n_workers, timeout=max(0.1, seconds("gradcode.timeouts.workers")))
    except TimeoutError:
        pass  # whether it can be done with those that are there is for the caller to say
    finally:
        wanted.release()


def check_workers(client: Client, addresses: Sequence[str], code: GradientCode) -> None:
    """Raise InsufficientWorkersError if a code needs more workers than there are."""
    if code.n_workers > len(addresses):
        raise InsufficientWorkersError(
            f"The code needs {code.n_workers} workers, the cluster at "
            f"{client.scheduler_info()['address']} has {len(addresses)}. Start more workers "
            f"(client.wait_for_workers({code.n_workers}) waits for them), or use a code for fewer."
        )


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
