"""Data that a client has persisted: on which cluster it lies, and whether it is still there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dask.base import is_dask_collection
from distributed import Client
from distributed.client import futures_of
from distributed.deploy.cluster import Cluster

from dask_gradcode.cluster.client.forks import is_inherited

__all__ = ["address_of", "check_persisted", "is_reached_by", "owners_of"]


def owners_of(data: Mapping[str, Any]) -> dict[str, Client]:
    """Return the client that has persisted each array, as far as one has.

    Parameters
    ----------
    data : mapping of str to dask collection or anything else
        By the name that errors give it.

    Returns
    -------
    dict
        By the name of each array that depends on persisted chunks.

    Raises
    ------
    RuntimeError
        If persisted chunks have been dropped.
    """
    owners = {}
    for name, array in data.items():
        for owner, status in _chunks_of(array):
            if status == "cancelled" or owner.status == "closed":
                raise RuntimeError(
                    f"{name} was persisted by {owner.id}, and its chunks are gone: the client or "
                    "its cluster was restarted or closed, or they were cancelled. Persist it "
                    "anew, or pass data that can be read again."
                )
            owners[name] = owner
    return owners


def is_reached_by(client: Client | None, owner: Client) -> bool:
    """Say whether a client is connected to the scheduler that has what another client persisted."""
    if client is None or client is owner:
        return client is not None
    if address_of(client) == address_of(owner):
        return True
    if is_inherited(owner) or owner.asynchronous:  # it cannot be asked here
        return False
    with suppress(OSError):  # one scheduler can have several addresses
        return bool(_scheduler_id(client) == _scheduler_id(owner))
    return False


def check_persisted(client: Client | None, data: Mapping[str, Any]) -> None:
    """Raise unless a client can use what has been persisted of some data.

    Parameters
    ----------
    client : distributed.Client or None
        The client that is to use it; None: there is none.
    data : mapping of str to dask collection or anything else
        By the name that errors give it.

    Raises
    ------
    ValueError
        If it lies on another cluster.
    RuntimeError
        If it has been dropped.
    """
    for name, owner in owners_of(data).items():
        if is_reached_by(client, owner):
            continue
        where = f"on {address_of(client)}" if client is not None else "without a client"
        raise ValueError(
            f"{name} was persisted by another client and lies on the cluster of "
            f"{address_of(owner)}; here it would be used {where}. Pass client= the client that "
            "persisted it or make that the current one ('with client.as_current():'), or pass "
            "data that has not been persisted."
        )


def address_of(client: Client | Cluster | str) -> str:
    """Return the address of the scheduler of a client or a cluster, or that is given itself."""
    if isinstance(client, str):
        return client
    if isinstance(client, Cluster):
        return str(client.scheduler_address)
    return str(getattr(client.scheduler, "address", "no scheduler"))


def _chunks_of(array: Any) -> Iterator[tuple[Client, str]]:
    """Yield the client and the status of each persisted chunk; chunks of one kind once."""
    if not is_dask_collection(array):
        return
    chunks = [future for future in futures_of(array) if future.client is not None]
    yield from dict.fromkeys((future.client, future.status) for future in chunks)


def _scheduler_id(client: Client) -> Any:
    return client.scheduler_info(n_workers=0)["id"]
