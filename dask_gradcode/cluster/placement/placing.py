"""What placing data says while it goes on: how far it has come, and how long the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dask_gradcode.verbose import bar, check_verbose, say

__all__ = ["WORKERS_THERE", "Placing", "Tell", "telling"]

_LINE_EVERY = 1.0  # seconds, however many chunks there are

WORKERS_THERE = "workers there"
"""The stage in which it is waited for workers that are missing, if any are."""

Tell = Callable[[str, int, int], None]
"""Is told the stage, how much of it is done, and how much there is in all."""


@dataclass(frozen=True)
class Placing:
    """How far placing data has come.

    Parameters
    ----------
    stage : {"workers there", "chunks checked", "pieces written", "roles placed"}
        What is counted. If the cluster has too few workers, they are waited for. Chunks are
        computed and checked first; then they go to the roles' workers, which write pieces of them
        to their disks if that is where blocks are kept.
    done, total : int
        How many of how many.
    seconds : float
        Since placing began.
    left : float or None
        Seconds that the rest of this stage will take if it goes on as it went so far; None before
        any of it is done, and for workers, as nobody knows when they come.

    Examples
    --------
    >>> print(Placing("chunks checked", 12, 40, 3.0, 7.0))
    12 of 40 chunks checked, 3.000 s, about 0:00:07 left
    """

    stage: str
    done: int
    total: int
    seconds: float
    left: float | None

    def __str__(self) -> str:
        return f"{self.done} of {self.total} {self.stage}, {self.seconds:.3f} s{self.rest}"

    @property
    def rest(self) -> str:
        """How long the rest of the stage will take, in words; empty if there is none."""
        if self.left is None or self.done == self.total:
            return ""
        return f", about {timedelta(seconds=round(self.left))} left"


@contextmanager
def telling(
    verbose: Any,
    callback: Callable[[Placing], object] | None,
    name: str,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Tell]:
    """Lend what is to be told of each step, and says what ``verbose`` and ``callback`` ask for.

    Parameters
    ----------
    verbose : bool, int or "bar"
        True or a positive int prints a line, one a second at most; ``"bar"`` draws a bar.
    callback : callable or None
        Is called with a :class:`Placing` after each step.
    name : str
        What places: the estimator, or ``"place"``.
    now : callable
        The clock.
    """
    check_verbose(verbose)
    listeners = [] if callback is None else [callback]
    if verbose == "bar":
        with bar("chunks checked", 1) as drawn:

            def draw(placing: Placing) -> None:
                line, changed = placing.rest.removeprefix(", "), {"total": placing.total}
                drawn.draw(placing.done, line, description=placing.stage, **changed)

            yield _Stages([draw, *listeners], now)
            drawn.fill()
    else:
        yield _Stages(([_Lines(name)] if verbose else []) + listeners, now)


class _Lines:
    """Prints a line now and then, and one at the end of each stage."""

    def __init__(self, name: str) -> None:
        self._name, self._told = name, 0.0

    def __call__(self, placing: Placing) -> None:
        if placing.done == placing.total or placing.seconds - self._told >= _LINE_EVERY:
            self._told = placing.seconds
            say(self._name, str(placing))


class _Stages:
    """Tells listeners what is new."""

    def __init__(
        self, listeners: list[Callable[[Placing], object]], now: Callable[[], float]
    ) -> None:
        self._listeners, self._now = listeners, now
        self._began = self._since = now()
        self._newest: tuple[str, int, int] = "", 0, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        waits = stage == WORKERS_THERE and done < total
        if ((stage, done, total) == self._newest and not waits) or not self._listeners:
            return
        now = self._now()
        if stage != self._newest[0]:
            self._since = now
        self._newest = stage, done, total
        left = (now - self._since) / done * (total - done) if done and not waits else None
        placing = Placing(stage, done, total, now - self._began, left)
        for listener in self._listeners:
            listener(placing)
