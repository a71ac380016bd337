"""Where blocks are kept, in a worker's memory or on its disk, and whether there is room."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence

from dask.utils import format_bytes, parse_timedelta
from distributed import Client

from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.client.survey import survey
from dask_gradcode.cluster.data.disk import DiskFacts, look_at_disk
from dask_gradcode.cluster.placement.casting import roles_each
from dask_gradcode.cluster.placement.homes import hosts_of
from dask_gradcode.codes import GradientCode

__all__ = [
    "STORAGES",
    "best_storage",
    "check_storage",
    "choose_storage",
    "disks_of",
    "memory_limit",
    "on_disk",
    "why_no_room",
]

logger = logging.getLogger("dask_gradcode")

STORAGES = ("auto", "memory", "disk")

_SHARE = 0.5  # of a worker's memory that blocks may take: passes, chunks and Dask need the rest


def check_storage(storage: str, keep: str | float | None = None) -> None:
    """Raise ValueError for what is no kind of storage, or no time for which files can be kept."""
    if storage not in STORAGES:
        raise ValueError(
            f"storage must be one of {', '.join(map(repr, STORAGES))}, got {storage!r}."
        )
    if keep is None:
        return
    try:
        seconds = float(parse_timedelta(keep))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        seconds = -1.0
    if not 0.0 < seconds < float("inf"):
        raise ValueError(
            f"keep must be a positive time, in seconds or as a text like '1 hour', got {keep!r}."
        )
    if storage == "memory":
        raise ValueError("keep is for blocks on disk: use storage='disk', or leave keep out.")


def choose_storage(
    storage: str, client: Client, addresses: Sequence[str], code: GradientCode, nbytes: int | None
) -> str:
    """Return where blocks are kept, after a look at whether there is room.

    Parameters
    ----------
    storage : {"auto", "memory", "disk"}
        What is wanted.
    client : distributed.Client
        The client.
    addresses : sequence of str
        The workers, those of the code's roles first.
    code : GradientCode
        Says how much of the data each will hold.
    nbytes : int or None
        Bytes of the data; None: they are not known yet.

    Returns
    -------
    {"auto", "memory", "disk"}
        Where; as is wanted if the bytes are not known.

    Raises
    ------
    OSError
        For ``"disk"``, if a worker cannot write there, or not as much.

    Warns
    -----
    UserWarning
        If blocks would fill more than half of a worker's memory limit and are not kept on disk, or
        if the disk is none, or another machine's.
    """
    if nbytes is None:
        return storage
    used = addresses[: code.n_workers]
    each, limit = roles_each(code, len(used)), memory_limit(client, used)
    held, written = int(each * code.load * nbytes), on_disk(code, nbytes, each)
    is_much = _is_much(held, limit)
    why = "Use more workers, fewer n_stragglers, or storage='disk'."
    if storage == "disk" or (storage == "auto" and is_much):
        disks, hosts = disks_of(client, used), hosts_of(client)
        why = why_no_room(disks, hosts, written)
        if storage == "disk" and why:
            raise OSError(f"storage='disk': {why}")
        if storage == "auto":
            storage, why = best_storage(disks, hosts, held, written, limit)
        if storage == "disk":
            _warn_of(disks.values())
        why = f"They cannot be kept on disk: {why}"
    if storage == "disk":
        logger.info("Blocks are kept on disk: %s of each worker.", format_bytes(held))
        return storage
    if is_much:
        _warn(
            f"Each worker will hold {each * code.load:.0%} of the data, {format_bytes(held)}, of "
            f"its memory limit of {format_bytes(limit)}. {why}"
        )
    return "memory"


def best_storage(
    disks: Mapping[str, DiskFacts],
    hosts: Mapping[str, str],
    held: int,
    written: int,
    limit: int,
) -> tuple[str, str]:
    """Return where blocks are best kept, and why not on disk if they cannot be.

    Parameters
    ----------
    disks : mapping of str to DiskFacts
        By worker.
    hosts : mapping of str to str
        The host of each worker.
    held, written : int
        Bytes that a worker will hold, and would write to its disk.
    limit : int
        The least memory limit of a worker; 0 if there is none.
    """
    why = why_no_room(disks, hosts, written)
    in_memory = [disk.where for disk in disks.values() if disk.is_memory]
    if not why and in_memory:
        why = f"{in_memory[0]}, where workers keep their files, is no disk but memory."
    is_much = _is_much(held, limit)
    return ("disk" if is_much and not why else "memory"), why


def on_disk(code: GradientCode, nbytes: int, each: int = 1) -> int:
    """Return the bytes that a worker with so many roles writes at most: blocks, waiting chunks."""
    return int(each * (code.load * nbytes + nbytes / code.n_workers))


def _is_much(held: int, limit: int) -> bool:
    return bool(limit) and held > _SHARE * limit


def memory_limit(client: Client, addresses: Sequence[str]) -> int:
    """Return the least memory limit of some workers; 0 if they have none."""
    workers = workers_of(client)
    limits = [workers[address]["memory_limit"] for address in addresses if address in workers]
    return min((int(limit) for limit in limits if limit), default=0)


def disks_of(client: Client, addresses: Sequence[str]) -> dict[str, DiskFacts]:
    """Return what is known of the disks of some workers; those that do not answer are left out."""
    return survey(client, addresses, look_at_disk)


def why_no_room(disks: Mapping[str, DiskFacts], hosts: Mapping[str, str], nbytes: int) -> str:
    """Say which disk has no room for what its workers would write; empty if all have.

    Parameters
    ----------
    disks : mapping of str to DiskFacts
        By worker.
    hosts : mapping of str to str
        The host of each worker: workers of one host share its disks.
    nbytes : int
        That each worker writes.
    """
    for address, disk in disks.items():
        if disk.problem:
            return f"worker {address} cannot write to {disk.where}: {disk.problem}."
        device = hosts.get(address), disk.device
        shared = [a for a in disks if (hosts.get(a), disks[a].device) == device]
        if nbytes * len(shared) > disk.free:
            return (
                f"{', '.join(shared)} would write {format_bytes(nbytes * len(shared))} to "
                f"{disk.where}, where {format_bytes(disk.free)} are free. Make room there, start "
                "workers with another local_directory, or use more workers or fewer n_stragglers."
            )
    return ""


def _warn_of(disks: Collection[DiskFacts]) -> None:
    """Warn of directories that are on no disk of their worker's own."""
    for disk in [disk for disk in disks if disk.is_memory][:1]:
        _warn(f"Rows will be written to {disk.where}, which is no disk but memory.", above=1)
    for disk in [disk for disk in disks if disk.is_remote][:1]:
        _warn(
            f"Rows will be written to {disk.where}, which is on a network disk ({disk.kind}): each "
            "round reads all of them through the network. Start workers with a directory on a disk "
            "of their own (dask worker --local-directory, LocalCluster(local_directory=...), or "
            "temporary-directory in Dask's configuration).",
            above=1,
        )


def _warn(text: str, above: int = 0) -> None:
    """Warn the caller of ``place``, which is three calls up from here, or so many more above."""
    warnings.warn(text, UserWarning, stacklevel=5 + above)
