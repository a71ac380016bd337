"""Which transport a fit has: the stream, where the workers can be reached, otherwise Dask tasks."""

from __future__ import annotations

import itertools
import logging
import os
import resource
import time

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.presence import Presence
from dask_gradcode.cluster.transport import (
    ExchangeTransport,
    StreamTransport,
    TaskTransport,
    Transport,
)
from dask_gradcode.codes import CooperativeRepetition
from dask_gradcode.work import Work

__all__ = ["open_transport"]

logger = logging.getLogger("dask_gradcode")

_fits = itertools.count()

_SPARE = 64
"""Files that are left for all else: Dask's connections, and whatever this process does."""


def open_transport(data: Placement, work: Work, name: str, presence: Presence) -> Transport:
    """Return a transport that is attached to the roles that are placed.

    Parameters
    ----------
    data : Placement
        The data.
    work : Work
        What to compute on each block.
    name : {"auto", "tasks", "stream"}
        ``"auto"`` is the stream where this process reaches the workers over plain TCP.
    presence : Presence
        Attaches it to roles, now and later.

    Raises
    ------
    ValueError
        If the name is unknown, or the stream cannot work here: the code's workers exchange what
        they compute, or workers are not at ``tcp://`` addresses, or this process may not open as
        many files as there are roles.
    ConnectionError
        If it is to be the stream, and no worker can be reached within
        ``gradcode.timeouts.connect``.
    """
    if name not in ("auto", "tasks", "stream"):
        raise ValueError(f"transport must be 'auto', 'tasks' or 'stream', got {name!r}.")
    if data.code.exchanges and name == "stream":
        raise ValueError(
            f"The workers of {type(data.code).__name__} send each other what they compute, which "
            "transport='stream' cannot. Use transport='tasks'."
        )
    columns = None if work.per_column is None else data.columns.of(work.per_column)
    other = [a for a in data.addresses.values() if not a.startswith("tcp://")]
    if name == "stream" and other:
        raise ValueError(
            f"transport='stream' needs workers at tcp:// addresses, got {other[0]}. "
            "Use transport='tasks'."
        )
    is_wanted = name == "stream" or (name == "auto" and not (other or data.code.exchanges))
    lacking = _lacking(data.code.n_workers) if is_wanted else None
    if lacking and name == "stream":
        raise ValueError(f"{lacking}, or use transport='tasks'.")
    if lacking:
        logger.warning("%s; until then messages travel as tasks.", lacking)
    elif is_wanted:
        stream = StreamTransport(data.client, data.code, work, data.serving, columns)
        if _is_usable(stream, data, presence, must_be=name == "stream"):
            return stream
        logger.warning("No worker can be reached from here: messages travel as tasks.")
    fit = f"{data.uid}-{next(_fits)}"
    if isinstance(data.code, CooperativeRepetition):
        tasks: TaskTransport = ExchangeTransport(data.client, fit, data.code, work, columns)
    else:
        tasks = TaskTransport(data.client, fit, data.code, work, columns)
    presence.bind(tasks)
    return tasks


def _lacking(n_roles: int) -> str | None:
    """Return what is to be done for this process to open a connection to each role, if anything."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(os.listdir("/dev/fd")) + n_roles + _SPARE
    if limit == resource.RLIM_INFINITY or needed <= limit:
        return None
    return (
        f"transport='stream' needs a connection to each of {n_roles} roles, and this process may "
        f"have {limit} files open. Allow it {needed} (ulimit -n {needed})"
    )


def _is_usable(
    stream: StreamTransport, data: Placement, presence: Presence, *, must_be: bool
) -> bool:
    """Attach the stream, and say whether a worker is reached; close it if it is not used."""
    began, limit = time.monotonic(), seconds("gradcode.timeouts.connect")
    try:
        presence.bind(stream)
        is_open = stream.wait_until_open(limit)
    except BaseException:  # Ctrl-C, say
        stream.close()
        raise
    if is_open or (must_be and not _is_out_of_reach(stream, data, presence, began)):
        return True
    stream.close()
    if must_be:
        raise ConnectionError(
            f"transport='stream' needs to reach the workers, and none of "
            f"{sorted(set(data.addresses.values()))} could be connected from this process "
            f"within {limit:g} s (dask.config key gradcode.timeouts.connect), although "
            "they send heartbeats. A firewall may be between; use transport='tasks'."
        )
    return False


def _is_out_of_reach(
    stream: StreamTransport, data: Placement, presence: Presence, since: float
) -> bool:
    """Say whether workers that are not connected live: if not, they may only be slow or frozen."""
    if stream.has_news:
        return False  # it takes time, or has failed with an error, which a round will raise
    presence.liveness.addresses()
    return any(presence.liveness.heard(a) > since for a in data.addresses.values())
