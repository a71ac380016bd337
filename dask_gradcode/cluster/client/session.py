"""Which client a fit uses: the given one, the current one, or one that the fit owns."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster, get_worker, rejoin, secede
from distributed.core import Status
from distributed.deploy.cluster import Cluster

from dask_gradcode.cluster.client.forks import forked_error, inherited_client, is_inherited
from dask_gradcode.cluster.client.guard import check_guard
from dask_gradcode.cluster.client.persisted import address_of, check_persisted

__all__ = ["check_client", "current_client", "session", "why_no_client", "workers_of"]

logger = logging.getLogger("dask_gradcode")


def current_client() -> Client | None:
    """Return Dask's current client, or None.

    In a task there is none, though Dask may have made one for the worker: a fit by way of it would
    wait for the very worker that runs the task. A task that has seceded passes one. There is none
    in a forked process either, until it has made its own.
    """
    if _worker_of_this_task() is not None or inherited_client() is not None:
        return None
    try:
        return Client.current()
    except ValueError:
        return None


def why_no_client() -> str:
    """Say in words why there is no current client."""
    if _worker_of_this_task() is not None:
        return "a task of Dask has no client of its own"
    inherited = inherited_client()
    if inherited is not None:
        return (
            "this process was forked, and the client of its parent process (of "
            f"{address_of(inherited)}) does not work here"
        )
    closed = [c for c in Client._instances if c.status == "closed" and c._set_as_default]
    if closed:
        newest = max(closed, key=_made_at)
        return f"there is no Dask client: the default client {newest.id} is closed"
    return "there is no Dask client"


def _made_at(client: Client) -> int:
    """Return when a client was made, which its name's UUID tells."""
    return uuid.UUID(client.id[-36:]).time


def check_client(client: Any) -> None:
    """Raise unless ``client`` is something that ``session`` can use.

    Raises
    ------
    TypeError
        If it is neither a synchronous Client or cluster, nor an address, nor None.
    RuntimeError
        If it is closed, or the client of the process from which this one was forked.
    """
    if client is None or isinstance(client, str):
        return
    if not isinstance(client, Client | Cluster):
        raise TypeError(
            "client must be a distributed.Client, a Dask cluster, a scheduler address or None. "
            f"Got {client!r} of type {type(client).__name__}."
        )
    if client.asynchronous:
        raise TypeError(
            "Training needs a synchronous Client, got an asynchronous one. "
            "Use Client(address) without asynchronous=True, in a thread of its own if need be."
        )
    if isinstance(client, Cluster):
        if client.status is not Status.running:
            raise RuntimeError(
                f"The cluster {client.name} is {client.status.name}. Start a new one."
            )
        return
    if is_inherited(client):
        raise forked_error(client)
    if client.status not in ("running", "connecting"):
        scheduler = getattr(client.scheduler, "address", None)
        where = "" if scheduler is None else f" (scheduler {scheduler})"
        raise RuntimeError(
            f"The Dask client is {client.status}{where}. Create a new Client, or pass client=None."
        )


@contextmanager
def session(
    client: Client | Cluster | str | None, data: Mapping[str, Any] | None = None
) -> Iterator[Client]:
    """Lend a client: a given or current one stays open afterwards, one made here is closed.

    In a Dask task with a client of its own the task leaves its worker's thread meanwhile, as what
    it waits for may have to run there.

    Parameters
    ----------
    client : distributed.Client, Dask cluster, str or None
        A client, a cluster or a scheduler's address, to which one is made, or None for the current
        client and, where there is none, one of a ``LocalCluster``.
    data : mapping of str to dask collection or anything else, optional
        What the client is to use, by the name that errors give it.

    Raises
    ------
    RuntimeError
        Inside a Dask task or a forked process that has not made a client for itself; if persisted
        data has been dropped.
    ValueError
        If persisted data lies on another cluster.
    """
    client = current_client() if client is None else client
    check_client(client)
    if not isinstance(client, Client):
        _check_not_in_a_task()
    if isinstance(client, Client):
        check_persisted(client, data or {})
        with _thread_left_to_others():
            yield client
    elif client is not None:
        with Client(client, set_as_default=False) as connected:
            check_persisted(connected, data or {})
            yield connected
    else:
        inherited = inherited_client()
        if inherited is not None:
            raise forked_error(inherited)
        check_guard()
        check_persisted(None, data or {})
        logger.info("There is no Dask client: starting a LocalCluster.")
        with (
            LocalCluster(threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as local,
        ):
            yield local


@contextmanager
def _thread_left_to_others() -> Iterator[None]:
    """Let other tasks have the thread of this one, if this is a task that has not seen to that."""
    left = None
    if _worker_of_this_task() is not None:
        try:
            secede()
            left = threading.current_thread()
        except (KeyError, AttributeError):  # it has, as by worker_client; or it has no such thread
            pass
    try:
        yield
    finally:
        if left is threading.current_thread():  # placed data may be closed elsewhere
            rejoin()


def _worker_of_this_task() -> str | None:
    try:
        return str(get_worker().address)
    except ValueError:
        return None


def _check_not_in_a_task() -> None:
    address = _worker_of_this_task()
    if address is not None:
        raise RuntimeError(
            "A coded fit in a Dask task would wait for the worker that runs the task "
            f"({address}). Use 'with distributed.worker_client() as client:' in the task and pass "
            "client=client, fit data in memory, or fit outside of tasks."
        )


def workers_of(client: Client) -> dict[str, Any]:
    """Return what the scheduler says about each worker, by address.

    ``Client.scheduler_info`` may return an empty answer instead: between its question and its
    reading of the answer, the client's own periodic question can put another one there, which
    names no worker.

    Raises
    ------
    ConnectionError
        If the scheduler cannot be reached, after Dask's own ``distributed.comm.timeouts.connect``.
    """
    scheduler: Any = client.scheduler
    try:
        workers: dict[str, Any] = client.sync(scheduler.identity, n_workers=-1)["workers"]
    except OSError as error:  # Dask's own errors of connections are OSErrors, time-outs too
        raise ConnectionError(
            f"The scheduler {scheduler.address} cannot be reached: {error!r}. It may be dead; its "
            "workers end with it. Start a new cluster."
        ) from error
    return workers
