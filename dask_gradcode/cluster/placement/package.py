"""Whether scheduler and workers have this package, asked by functions that travel by value."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakSet

from distributed import Client

from dask_gradcode.cluster.placement.arithmetic import TOPIC, describer

__all__ = ["check_scheduler", "is_missing", "missing_error", "reader", "version_here"]

_checked: WeakSet[Client] = WeakSet()


def version_here() -> str | None:
    """Return the version of this package in this process; None for one that is not installed."""
    try:
        return version("dask-gradcode")
    except PackageNotFoundError:
        return None


def check_scheduler(client: Client) -> None:
    """Raise if the scheduler lacks this package, which it reads tasks by; a client asks once.

    Raises
    ------
    ModuleNotFoundError
        If it cannot be imported there.

    Warns
    -----
    UserWarning
        If the scheduler has another version.
    """
    if client in _checked:
        return
    found, there = client.run_on_scheduler(_finder())
    address = client.scheduler_info(n_workers=0)["address"]
    if not found:
        raise missing_error("scheduler", [address])
    _checked.add(client)
    ours = version_here()
    if None not in (ours, there) and ours != there:
        warnings.warn(
            f"dask_gradcode is {there} on the scheduler {address} and {ours} on the client. "
            "Install the same version.",
            UserWarning,
            stacklevel=2,
        )


def _finder() -> Callable[[], tuple[bool, str | None]]:
    """Return a function that is found in no module: it travels by value."""

    def find() -> tuple[bool, str | None]:
        from importlib import import_module, metadata

        try:
            import_module("dask_gradcode")
        except ModuleNotFoundError:
            return False, None
        try:
            return True, metadata.version("dask-gradcode")
        except metadata.PackageNotFoundError:
            return True, None

    return find


def reader() -> Callable[[bytes, str | None], None]:
    """Return a function, by value, that has a worker read what refers to this package.

    It takes the bytes to be read and the client's version: the client warns if there is another.
    The worker then says by which libraries it computes.
    """
    describe = describer()

    def read(references: bytes, ours: str | None) -> None:
        import pickle
        from importlib import metadata

        from distributed import get_worker, warn

        pickle.loads(references)
        worker = get_worker()
        worker.log_event(TOPIC, {"worker": worker.address, "how": describe()})
        try:
            there = metadata.version("dask-gradcode")
        except metadata.PackageNotFoundError:
            return
        if ours not in (None, there):
            warn(
                f"dask_gradcode is {there} on worker {worker.address} and {ours} on the client. "
                "Install the same version."
            )

    return read


def is_missing(error: Any) -> bool:
    """Say whether an error is that of a worker without this package."""
    return isinstance(error, ModuleNotFoundError) and error.name == "dask_gradcode"


def missing_error(who: str, addresses: Sequence[str]) -> ModuleNotFoundError:
    """Return the error for a scheduler or for workers that lack this package."""
    return ModuleNotFoundError(
        f"The scheduler and all workers need dask_gradcode, too, and the {who} "
        f"{', '.join(addresses)} cannot import it. Install version {version_here()} into the "
        "environment in which they run, and start them anew.",
        name="dask_gradcode",
    )
