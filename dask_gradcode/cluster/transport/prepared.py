"""Connections to where roles will be, opened while they are served elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable

from dask_gradcode.cluster.transport.connector import Connector
from dask_gradcode.cluster.transport.link import Link

__all__ = ["Prepared"]


class Prepared:
    """Links that are not used yet, one for each role at most.

    Parameters
    ----------
    connector : Connector
        Opens their connections.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._links: dict[int, tuple[str, Link]] = {}  # and the token of what each is to

    def prepare(self, role: int, address: str, token: str, made: Callable[[], Link]) -> bool:
        """Begin to open a connection, if that has not been begun; say whether it is open."""
        known, link = self._links.get(role, (None, None))
        if link is None or known != token:
            self.drop(role)
            link = made()
            self._links[role] = token, link
            self._connector.open(link, address, token)
        return link.sock is not None

    def take(self, role: int, token: str) -> Link | None:
        """Return what has been prepared for a role, open or not, if it is to that."""
        if self._links.get(role, (None,))[0] == token:
            return self._links.pop(role)[1]
        self.drop(role)
        return None

    def connect(self, link: Link, opened: socket.socket | BaseException) -> bool:
        """Take what has become of opening; False if the link is none of these."""
        if self._links.get(link.role, (None, None))[1] is not link:
            return False
        if isinstance(opened, socket.socket):
            link.connect(opened)
        else:
            del self._links[link.role]  # tried again by and by
        return True

    def drop(self, role: int) -> None:
        """Forget what has been prepared for a role."""
        _, link = self._links.pop(role, (None, None))
        if link is not None:
            self._connector.give_up(link)
            if link.sock is not None:
                link.sock.close()

    def close(self) -> None:
        """Forget all."""
        for role in list(self._links):
            self.drop(role)
