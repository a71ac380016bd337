"""Slow uplinks of real workers: a bucket of bytes that fills with time."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from numbers import Real

__all__ = ["Bucket", "Throttle"]

_BURST = 0.02  # seconds: bytes of so long may go at once
_SHORTEST, _LONGEST = 1e-4, 0.005  # seconds for which a sender that has to wait sleeps
_LEAST = 4096  # bytes that may go at once, however slow the link


@dataclass(frozen=True)
class Throttle:
    """Makes the uplinks of workers slow: what they send to clients, not what they are sent.

    For :func:`~dask_gradcode.cluster.inject`: each worker sends so many bytes a second, whatever it
    serves. With ``transport="tasks"`` a message is held back for as long as sending it would take.

    Parameters
    ----------
    bytes_per_second : float
        Of each worker.

    Raises
    ------
    ValueError
        If that is no positive number.

    Examples
    --------
    >>> Throttle(bytes_per_second=2e6)
    Throttle(bytes_per_second=2000000.0)
    """

    bytes_per_second: float

    def __post_init__(self) -> None:
        rate = self.bytes_per_second
        is_number = isinstance(rate, Real) and not isinstance(rate, bool)
        if not is_number or not 0 < rate < math.inf:
            raise ValueError(f"Throttle needs bytes_per_second > 0, a finite number, got {rate!r}.")


class Bucket:
    """What may be sent now; several threads may ask.

    Parameters
    ----------
    throttle : Throttle
        How much flows in each second.
    """

    def __init__(self, throttle: Throttle) -> None:
        self._rate = throttle.bytes_per_second
        self._size = max(_LEAST, self._rate * _BURST)
        self._bytes, self._since = self._size, time.perf_counter()
        self._lock, self._over = threading.Lock(), threading.Event()

    def end(self) -> None:
        """Let everything pass from now on; from any thread."""
        self._over.set()

    def wait(self) -> None:
        """Wait for the end."""
        self._over.wait()

    def allowance(self, wanted: int) -> int:
        """Return how many of the wanted bytes may go now; if none, after a nap.

        So a thread that asks again and again takes no processor time worth mentioning.
        """
        if self._over.is_set():
            return wanted
        with self._lock:
            now = time.perf_counter()
            self._bytes = min(self._size, self._bytes + (now - self._since) * self._rate)
            self._since = now
            lacking = min(wanted, self._size / 2) - self._bytes
            allowed = 0 if lacking > 0 else min(wanted, int(self._bytes))
        if not allowed:
            self._over.wait(min(_LONGEST, max(_SHORTEST, lacking / self._rate)))
        return allowed

    def spend(self, n_bytes: int) -> None:
        """Note that so many bytes went."""
        with self._lock:
            self._bytes -= n_bytes
