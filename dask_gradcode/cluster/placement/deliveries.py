"""How roles come to workers: the tasks that bring them there, and what has come of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.mailbox import Letter, Mailbox
from dask_gradcode.cluster.client.waiting import LOOK_EVERY
from dask_gradcode.cluster.client.whereabouts import Whereabouts
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.shard import look_at

__all__ = ["Deliveries"]


class Deliveries:
    """Begins the tasks that bring roles to workers; each ends in a letter.

    A letter's ticket is the role and the epoch. Its result is what a look at the shard has found,
    or None where there was none.

    Parameters
    ----------
    client : distributed.Client
        The client, which counts the restarts of its cluster.
    uid : str
        Distinguishes the keys of this placement from all others.
    builder : Builder
        Builds shards.
    mailbox : Mailbox
        Waits for them.
    whereabouts : Whereabouts
        Which workers have the results of tasks.

    Attributes
    ----------
    uid : str
        As given.
    storage : {"memory", "disk"}
        Where workers keep what is brought to them.
    """

    def __init__(
        self,
        client: Client,
        uid: str,
        builder: Builder,
        mailbox: Mailbox,
        whereabouts: Whereabouts,
    ) -> None:
        self.uid, self.storage = uid, builder.storage
        self._client, self._builder = client, builder
        self._mailbox, self._whereabouts = mailbox, whereabouts
        self._generation = client.generation

    @property
    def are_gone(self) -> bool:
        """Whether the cluster has been restarted, and all that was brought or begun is gone."""
        return self._client.generation != self._generation

    def know(self, able: Collection[str], silent: Collection[str]) -> None:
        """Take note of the workers that run tasks now, and of those that are silent."""
        self._builder.know(able, silent)

    def begin(
        self,
        role: int,
        address: str,
        epoch: int,
        holders: Mapping[int, tuple[Future[Any], str]] | None,
        look: bool,
    ) -> tuple[Future[Any], ...]:
        """Begin to bring a role to a worker; return its shard, and the look at it if there is one.

        Parameters
        ----------
        role, address, epoch
            The role, its new worker, and a number that is given once.
        holders : mapping of int to tuple of Future and str, or None
            For each block the shard of a role that has it, and that role's worker; None: from the
            source.
        look : bool
            Whether to look at the shard.
        """
        if holders is not None:
            shard = self._builder.from_replicas(role, address, epoch, holders)
        else:
            shard = self._builder.from_source(role, address, epoch)
        if not look:
            self._mailbox.expect({(role, epoch): shard}, fetch=False)
            return (shard,)
        key = task_key("look", self.uid, role, epoch)
        found = self._client.submit(look_at, shard, key=key, workers=[address], pure=False)
        self._mailbox.expect({(role, epoch): found})
        return shard, found

    def take(self, timeout: float) -> list[Letter]:
        """Return the letters that have come, after waiting for the first."""
        return self._mailbox.take(timeout)

    def go_around(self, roles: Collection[int]) -> tuple[set[int], dict[int, tuple[str, str]]]:
        """Begin chunks anew that roles wait for and that silent or lost workers may have.

        Returns
        -------
        anew : set of int
            Which of the roles must be brought anew.
        stuck : dict of int to tuple of str and str
            By role a silent worker, and what it alone has.
        """
        keys = self._builder.keys_of(roles)
        if not keys:
            return set(), {}
        return self._builder.go_around(roles, self._whereabouts.recently(keys, LOOK_EVERY))

    def doubt(self) -> None:
        """Have begun anew what is waited for: no worker does anything."""
        self._builder.doubt()

    def let_go(self) -> None:
        """Let go of the source's chunks, from which no role is being built."""
        self._builder.release()

    def close(self) -> None:
        """Expect nothing more."""
        self._mailbox.close()
