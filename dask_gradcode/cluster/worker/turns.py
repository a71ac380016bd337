"""Rounds come first: what is computed again for an audit gives way to them, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Turns", "turns"]

_MOST = 2
"""Messages of rounds for which an audit waits."""

_TIMES_LONGER = 4.0
"""Than the longest message so far: who computes for so long may be stuck, or have a long delay."""

_AT_LEAST = 1.0  # seconds, before anything is known of that


class Turns:
    """Knows when a process computes messages of rounds.

    Parameters
    ----------
    clock : callable, optional
        Seconds.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.round():
    ...     turns.is_busy
    True
    >>> turns.gives_way()()  # at once, as nothing is computed
    False
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._changed = clock, threading.Condition()
        self._begun: dict[int, float] = {}  # when, by number
        self._n_begun = self._n_ended = 0
        self._longest = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a message is computed that may be about to end."""
        return self._left() > 0.0

    @contextmanager
    def round(self) -> Iterator[None]:
        """Compute a message of a round."""
        with self._changed:
            number = self._n_begun = self._n_begun + 1
            self._begun[number] = self._clock()
        try:
            yield
        finally:
            with self._changed:
                took = self._clock() - self._begun.pop(number)
                self._longest = max(self._longest, took)
                self._n_ended += 1
                self._changed.notify_all()

    def gives_way(self) -> Callable[[], bool]:
        """Return what a work asks from time to time whether to stop: never, but it may wait."""
        last = self._n_ended + _MOST

        def wait() -> bool:
            with self._changed:
                while self._n_ended < last and (left := self._left()) > 0.0:
                    self._changed.wait(left)
            return False

        return wait

    def _left(self) -> float:
        """Return for how many seconds to wait at most for what is computed now."""
        limit = max(_TIMES_LONGER * self._longest, _AT_LEAST)
        if not self._begun:
            return 0.0
        return max(self._begun.values()) + limit - self._clock()


turns = Turns()
"""Those of this process."""
