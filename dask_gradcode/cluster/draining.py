"""The hook for workers that will leave: their roles go elsewhere while they still serve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dask.utils import parse_timedelta
from distributed import Client, Worker

from dask_gradcode.cluster.client.departures import TOPIC
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.session import check_client, workers_of

__all__ = ["drain"]


def drain(
    client: Client | Worker, workers: str | Iterable[str], seconds: float | str = 120.0
) -> None:
    """Announce that workers will leave, as by a spot notice, so that rounds do not miss them.

    All placements of all clients of the cluster hear of it. Their roles on these workers are copied
    to others, at first to workers without a role, while rounds go on; each fit goes over to the
    copies between two rounds. It returns at once: ``data.wait()`` returns when nothing of a
    placement is left there. The workers themselves are not stopped.

    Parameters
    ----------
    client : distributed.Client or distributed.Worker
        A synchronous client of the cluster; or, in a plugin of Dask's, a worker of it.
    workers : str or iterable of str
        Addresses of the workers, or their names.
    seconds : float or str, default=120
        In how many seconds they are expected to leave, or a text such as ``"2 minutes"``. Workers
        that are still there after twice that time count as staying.

    Raises
    ------
    ValueError
        If there is no such worker, or the time is not positive and finite. With a worker in place
        of a client addresses are taken as they are.
    TypeError
        If the client is asynchronous, or no client.

    See Also
    --------
    distributed.Client.retire_workers : Closes workers. Workers that were drained are empty then.

    Examples
    --------
    >>> import numpy as np
    >>> from distributed import Client
    >>> from dask_gradcode import place
    >>> from dask_gradcode.cluster import drain
    >>> X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> with Client(processes=False, n_workers=3, dashboard_address=":0") as client:
    ...     with place(X, y, n_workers=2, n_stragglers=1, client=client) as data:
    ...         data.wait()
    ...         notified = data.addresses[0]
    ...         drain(client, [notified], seconds="2 minutes")
    ...         data.wait()
    ...         notified in data.addresses.values(), data.lost
    (False, {})
    """
    within = _in_seconds(seconds)
    named = [workers] if isinstance(workers, str) else list(workers)
    notice = {"workers": named, "seconds": within}
    if not isinstance(client, Worker):
        if not isinstance(client, Client):
            raise TypeError(f"client must be a distributed.Client or Worker, got {client!r}.")
        check_client(client)
        notice["workers"] = _addresses(workers_of(client), named)
        Liveness.of(client).announce(notice)  # at once, for the next wait
    client.log_event(TOPIC, notice)


def _in_seconds(seconds: float | str) -> float:
    try:
        found = float(parse_timedelta(seconds) if isinstance(seconds, str) else seconds)
    except (KeyError, ValueError, TypeError):
        found = math.nan
    if not 0.0 < found < math.inf:
        raise ValueError(
            f"seconds must be positive and finite, or a text such as '2 minutes', got {seconds!r}."
        )
    return found


def _addresses(known: dict[str, Any], named: list[str]) -> list[str]:
    """Return the addresses of workers, some of which may be given by their names."""
    by_name = {str(worker.get("name")): address for address, worker in known.items()}
    unknown = [name for name in named if name not in known and str(name) not in by_name]
    if unknown:
        raise ValueError(
            f"There are no such workers: {unknown}. Those of the cluster are {sorted(known)}; "
            "addresses are taken, and names."
        )
    return [name if name in known else by_name[str(name)] for name in named]
