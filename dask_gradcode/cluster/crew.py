"""The transport of one fit, attached to whatever roles are placed now."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Hashable

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.transport import StreamTransport, TaskTransport, Transport
from dask_gradcode.losses import Loss
from dask_gradcode.messages import Work
from dask_gradcode.rounds import Lost, Ready

__all__ = ["Crew"]

logger = logging.getLogger("dask_gradcode")

_fits = itertools.count()

_PATIENCE = 1.0
"""Seconds after a connection's end in which the scheduler would tell of a death: until then a role
is not attached again to where it was."""


class Crew:
    """Opens a transport and keeps it attached to the roles that are placed.

    Parameters
    ----------
    data : Placement
        The data.
    work : Loss or callable
        What to compute on each block.
    name : {"auto", "tasks", "stream"}
        ``"auto"`` is the stream where this process reaches the workers over plain TCP.

    Attributes
    ----------
    transport : Transport
        The transport.

    Raises
    ------
    ValueError
        If the name is unknown, or the stream cannot work here.
    ConnectionError
        If it is to be the stream, and no worker can be reached within
        ``gradcode.timeouts.connect``.
    """

    def __init__(self, data: Placement, work: Work, name: str) -> None:
        self._data, self._work, self._name = data, work, name
        self._attached: dict[int, Hashable] = {}  # the key of the shard, by role
        self._left: dict[int, tuple[Hashable, float]] = {}  # with which key, when
        self._version = -1
        self._awaited: set[int] = set()  # not placed yet, when last looked at
        self.transport = self._open(name, work)
        self.renew()

    def reopen(self) -> None:
        """Open a new transport in place of one that is in an unknown state."""
        self.transport.close()
        self._attached.clear()
        self._left.clear()
        self._version = -1
        self.transport = self._open(self._name, self._work)
        self.renew()

    def renew(self) -> list[Lost | Ready]:
        """Attach roles that have been placed, detach those that are lost; say which those are."""
        roles = self._data.roles
        roles.tend()
        if self._version == roles.version:
            return []
        self._version = roles.version
        shards, addresses, lost = roles.shards, roles.addresses, roles.lost
        news: list[Lost | Ready] = []
        for role, key in list(self._attached.items()):
            if role not in shards or shards[role].key != key:
                del self._attached[role]
                self.transport.detach(role)  # which is then silent about it
                news.append(Lost(role, lost.get(role, "it has been placed elsewhere")))
        for role in shards.keys() - self._attached.keys():
            key = shards[role].key
            left, when = self._left.get(role, (None, 0.0))
            if left == key and time.monotonic() < when + _PATIENCE:
                self._version = -1
                continue
            self.transport.attach(role, shards[role], addresses[role])
            self._attached[role] = key
            news.append(Ready(role, again=role not in self._awaited))
        self._awaited = set(roles.unplaced)
        return news

    def left(self, role: int) -> None:
        """Note that the transport has lost a role; it is attached again if it stays placed."""
        if role in self._attached:  # else it has been noted already
            self._left[role] = self._attached.pop(role), time.monotonic()
            self._version = -1

    @property
    def roles(self) -> list[int]:
        """The roles that are attached, ascending."""
        return sorted(self._attached)

    def _open(self, name: str, work: Work) -> Transport:
        if name not in ("auto", "tasks", "stream"):
            raise ValueError(f"transport must be 'auto', 'tasks' or 'stream', got {name!r}.")
        data = self._data
        columns = data.columns.of(work) if isinstance(work, Loss) else None
        other = [a for a in data.addresses.values() if not a.startswith("tcp://")]
        if name == "stream" and other:
            raise ValueError(
                f"transport='stream' needs workers at tcp:// addresses, got {other[0]}. "
                "Use transport='tasks'."
            )
        if name == "stream" or (name == "auto" and not other):
            self.transport = stream = StreamTransport(
                data.client, data.code, work, data.serving, columns
            )
            began, limit = time.monotonic(), seconds("gradcode.timeouts.connect")
            try:
                self.renew()
                is_open = stream.wait_until_open(limit)
            except BaseException:  # Ctrl-C, say
                stream.close()
                raise
            if is_open:
                return stream
            if name == "stream" and not self._out_of_reach(stream, began):
                return stream
            stream.close()
            if name == "stream":
                raise ConnectionError(
                    f"transport='stream' needs to reach the workers, and none of "
                    f"{sorted(set(data.addresses.values()))} could be connected from this process "
                    f"within {limit:g} s (dask.config key gradcode.timeouts.connect), although "
                    "they send heartbeats. A firewall may be between; use transport='tasks'."
                )
            self._attached.clear()
            self._version = -1
            logger.warning("No worker can be reached from here: messages travel as tasks.")
        fit = f"{data.uid}-{next(_fits)}"
        return TaskTransport(data.client, fit, data.code, work, columns)

    def _out_of_reach(self, stream: StreamTransport, since: float) -> bool:
        """Say whether workers that are not connected live: else they may only be slow or frozen."""
        if stream.has_news:
            return False  # it takes time, or has failed with an error, which a round will raise
        liveness = Liveness.of(self._data.client)
        liveness.addresses()
        return any(liveness.heard(address) > since for address in self._data.addresses.values())
