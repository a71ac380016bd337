"""Whether workers round alike: where they do not, bits depend on who has computed what.

A worker says once, as an event of Dask's, by which libraries, which kernel of BLAS and which
instructions it computes. Where some differ, the log says so: sums are then equal within rounding,
whichever workers are late, and no more bit for bit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client

__all__ = ["TOPIC", "Arithmetic", "describer"]

logger = logging.getLogger("dask_gradcode")

TOPIC = "dask-gradcode-arithmetic"


def describer() -> Callable[[], str]:
    """Return a function, by value, that says how this process computes with numbers."""

    def describe() -> str:
        import numpy
        import scipy
        from threadpoolctl import threadpool_info

        blas = sorted(
            {
                f"{one['internal_api']} {one['version']} ({one.get('architecture', 'unknown')})"
                for one in threadpool_info()
                if one["user_api"] == "blas"
            }
        )
        config: Any = numpy.show_config(mode="dicts")
        simd = config.get("SIMD Extensions", {})
        features = [*simd.get("baseline", ()), *simd.get("found", ())]
        versions = f"numpy {numpy.__version__}, scipy {scipy.__version__}"
        return f"{versions}, {', '.join(blas)}, {' '.join(features)}"

    return describe


class Arithmetic:
    """What a client has heard of how workers compute; get it by ``Arithmetic.of(client)``."""

    def __init__(self, client: Client) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, list[str]] = {}  # workers, by how they compute
        client.subscribe_topic(TOPIC, self._hear)

    @classmethod
    def of(cls, client: Client) -> Arithmetic:
        """Return what a client has heard, and have it listen from now on."""
        if client not in _heard:
            _heard[client] = cls(client)
        return _heard[client]

    def _hear(self, event: tuple[float, dict[str, str]]) -> None:
        _, said = event
        with self._lock:
            is_new = said["how"] not in self._known
            self._known.setdefault(said["how"], []).append(said["worker"])
            if is_new and len(self._known) > 1:
                logger.warning("%s", self._told())

    def _told(self) -> str:
        ways = "\n".join(f"  {how}: {', '.join(who)}" for how, who in self._known.items())
        return (
            "Workers do not all round alike: results are equal within rounding, whoever is late, "
            f"and not bit for bit. They compute with\n{ways}"
        )


_heard: WeakKeyDictionary[Client, Arithmetic] = WeakKeyDictionary()
