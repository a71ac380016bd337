"""Clients that a forked process has from its parent: they look alive, and never answer."""

from __future__ import annotations

import os
import uuid
from typing import Any, NoReturn

from distributed import Client

__all__ = ["forked_error", "inherited_client", "is_inherited", "refuse_to_wait"]


def is_inherited(client: Client) -> bool:
    """Say whether a client was made by the process from which this one was forked.

    The thread that runs its loop has stayed there: a wait for the client here would last for
    ever. Dask puts the number of the process into the client's name.
    """
    try:
        return uuid.UUID(client.id[-36:]).clock_seq != os.getpid() % 2**14
    except ValueError:  # another name, of another version
        return False


def inherited_client() -> Client | None:
    """Return the client that Dask would use here, if it is the parent process's; else None."""
    try:
        client = Client.current()
    except ValueError:
        return None
    return client if is_inherited(client) else None


def refuse_to_wait(client: Client) -> None:
    """Have an inherited client raise where Dask computes by it, instead of waiting for ever.

    Nobody else's work is touched: what this process has is a copy that never answers.
    """

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise forked_error(client)

    vars(client).update(get=refuse, compute=refuse, persist=refuse)


def forked_error(client: Client) -> RuntimeError:
    """Return the error for work that needs a client where there is only an inherited one."""
    address = getattr(client.scheduler, "address", "its scheduler")
    return RuntimeError(
        f"This process (pid {os.getpid()}) was forked from the one whose Dask client is connected "
        f"to {address}; that client does not work here. Make one of its own, as by "
        f"Client({address!r}), or start processes by spawn or forkserver. Data in memory can be "
        "fitted without a client."
    )
