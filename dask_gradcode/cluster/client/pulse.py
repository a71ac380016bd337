"""How long workers have been silent, measured by the heartbeats of the others."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Pulse"]

STEP = 0.25
"""How much of the limit one look can add to a silence: after a pause of all, none is beyond it."""


class Pulse:
    """The silence of each worker of a cluster, by what the scheduler says of their heartbeats.

    A worker is frozen if others are heard and it is not. When all are silent at once, the machine
    is loaded, the network is lost, or the scheduler has no time: nobody is frozen, and so time does
    not pass here but with the newest heartbeat of all. It is told by one clock, the scheduler's,
    and neither the client's nor the workers' clocks matter.

    Examples
    --------
    >>> pulse = Pulse()
    >>> for now in range(10):
    ...     pulse.look({"awake": now, "stopped": 0}, limit=4.0)
    >>> pulse.silence("awake"), pulse.silence("stopped")
    (0.0, 9.0)
    """

    def __init__(self) -> None:
        self._time = 0.0
        self._newest: float | None = None  # heartbeat of all
        self._last: dict[str, tuple[float, float]] = {}  # the newest heartbeat; our time then

    def look(self, heartbeats: Mapping[str, float], limit: float) -> None:
        """Take in when each worker of the cluster was heard last.

        Parameters
        ----------
        heartbeats : mapping of str to float
            The scheduler's time of each worker's newest heartbeat.
        limit : float
            Seconds of silence after which a worker counts as frozen.
        """
        newest = max(heartbeats.values(), default=None)
        if newest is not None:
            before = newest if self._newest is None else self._newest
            self._time += min(max(newest - before, 0.0), STEP * limit)
            self._newest = max(newest, before)
        self._last = {
            address: known
            if (known := self._last.get(address)) and known[0] == stamp
            else (stamp, self._time)
            for address, stamp in heartbeats.items()
        }

    def silence(self, address: str) -> float:
        """Return for how many seconds others have been heard since a worker was heard last.

        It is counted from the first look at the worker; 0 for one that is not known.
        """
        known = self._last.get(address)
        return 0.0 if known is None else self._time - known[1]
