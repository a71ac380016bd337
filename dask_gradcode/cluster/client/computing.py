"""By which client Dask computes what a model is asked for: one that reaches the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dask.config
from distributed import Client, get_client
from distributed.deploy.cluster import Cluster

from dask_gradcode.cluster.client.forks import (
    forked_error,
    inherited_client,
    is_inherited,
    refuse_to_wait,
)
from dask_gradcode.cluster.client.persisted import (
    address_of,
    check_persisted,
    is_reached_by,
    owners_of,
)

__all__ = ["computing", "say_where_it_lies"]


@contextmanager
def computing(client: Client | Cluster | str | None, **data: Any) -> Iterator[None]:
    """Let Dask compute by the first client that reaches the data: the given or the current one.

    Without a client Dask computes in this process, as in one that was forked from a client's.

    Parameters
    ----------
    client : distributed.Client, Dask cluster, str or None
        A client, a cluster such as a ``LocalCluster``, a scheduler's address, or None.
    **data
        What is to be computed, by the name that errors give it.

    Raises
    ------
    ValueError, RuntimeError
        If data is persisted on another cluster, or was persisted and has been dropped.
    """
    owners, dasks = owners_of(data), _dasks_client()
    with ExitStack() as stack:
        found = [] if dasks is None else [dasks]
        if isinstance(client, Client):
            found[:0] = [client] if _is_usable(client) else []
        elif client is not None and (dasks is None or address_of(dasks) != address_of(client)):
            found.insert(0, stack.enter_context(Client(client, set_as_default=False)))
        able = [one for one in found if all(is_reached_by(one, o) for o in owners.values())]
        if able:
            stack.enter_context(able[0].as_current())
        else:
            check_persisted(found[0] if found else None, data)
            if inherited_client() is not None:
                stack.enter_context(dask.config.set(scheduler="threads"))
        yield


def say_where_it_lies(X: Any, client: Client | Cluster | str | None) -> None:
    """Warn, or raise, for lazy work on persisted data that Dask's current client does not reach.

    Parameters
    ----------
    X : dask collection
        What the work depends on.
    client : distributed.Client, Dask cluster, str or None
        The client of a fitted model, its cluster or its scheduler's address: it raises where that
        does not reach the data either.
    """
    owners, inherited = owners_of({"X": X}), inherited_client()
    by_client = dask.config.get("scheduler", None) in (None, "dask.distributed")
    if inherited is not None and by_client:
        if owners:
            raise forked_error(inherited)
        refuse_to_wait(inherited)
        warnings.warn(
            f"{forked_error(inherited)} Compute the prediction by compute(scheduler='threads').",
            UserWarning,
            stacklevel=5,
        )
    for owner in owners.values():
        dasks = _dasks_client()
        if is_reached_by(dasks, owner):
            continue
        mine = None if client is None else address_of(client)
        if mine != address_of(owner):
            check_persisted(dasks, {"X": X})
        now = "there is no current client" if dasks is None else f"that of {address_of(dasks)} is"
        warnings.warn(
            f"X is persisted on the cluster of {mine}, but the current client is not its: {now}. "
            "Compute the prediction as client.compute(prediction), or in "
            "'with client.as_current():'.",
            UserWarning,
            stacklevel=5,
        )


def _dasks_client() -> Client | None:
    """Return the client by which Dask computes here, in a task too."""
    if inherited_client() is not None:
        return None
    try:
        return get_client()
    except ValueError:
        return None


def _is_usable(client: Client) -> bool:
    return not is_inherited(client) and client.status == "running" and not client.asynchronous
