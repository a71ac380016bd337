"""Which workers will leave the cluster: announced by users, or on their way by Dask's word."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["TOPIC", "Departures", "is_on_its_way"]

logger = logging.getLogger("dask_gradcode")

TOPIC = "gradcode-drain"
"""Under which topic of Dask's events departures are announced, to all clients at once."""


class Departures:
    """Keeps what has been announced of workers that are still there.

    Parameters
    ----------
    now : callable, optional
        The clock. None: the monotonic one.

    Examples
    --------
    >>> departures = Departures(now=lambda: 0.0)
    >>> departures.announce({"workers": ["tcp://10.0.0.7:4000"], "seconds": 120.0})
    >>> departures.among({"tcp://10.0.0.7:4000": {"status": "running"}})
    {'tcp://10.0.0.7:4000': 'it leaves within 120 s'}
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or (lambda: time.monotonic())
        self._announced: dict[str, tuple[float, float]] = {}  # when, seconds

    def announce(self, notice: Any) -> None:
        """Take in a notice; a later one for the same worker replaces it."""
        when, seconds = self._now(), float(notice["seconds"])
        # at once for all threads, which may be reading
        self._announced = {
            **self._announced,
            **dict.fromkeys(notice["workers"], (when, seconds)),
        }

    def among(self, workers: Mapping[str, Any]) -> dict[str, str]:
        """Return which of the workers will leave, and why.

        A worker that is there after twice the time for which it was announced has stayed.
        """
        found = {a: "it is being retired" for a, w in workers.items() if is_on_its_way(w)}
        for address, (when, seconds) in self._announced.items():
            if address in workers and self._now() <= when + 2 * seconds:
                found.setdefault(address, f"it leaves within {seconds:.0f} s")
        return found


def is_on_its_way(worker: Mapping[str, Any]) -> bool:
    """Say whether Dask is retiring or closing a worker, which then begins no task."""
    return worker.get("status") in ("closing_gracefully", "closing")
