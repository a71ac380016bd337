"""What happened in a round, without payloads: enough to run it again without a cluster."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.events import Arrived, Blocks, Event
from dask_gradcode.rounds.minutes import Checks, Minutes
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.patience import Patience
from dask_gradcode.rounds.plans import Planner
from dask_gradcode.rounds.rules import WaitRule
from dask_gradcode.typing import Vector

__all__ = ["Logbook", "RoundLog", "Step"]

REMEMBERED = 64
"""Rounds of which everything is kept."""


# of an answer its round, role and message, and which blocks are in it
_What = tuple[int, int, int, Blocks] | Event | None
_Entry = tuple[float, _What, Sequence[Doubt], Sequence[Order]]  # noted where every step counts


class Step(NamedTuple):
    """One event of a round and what was made of it."""

    now: float
    event: Event | None
    doubts: Sequence[Doubt]  # about the payload, which is not kept
    orders: Sequence[Order]

    def __str__(self) -> str:
        match self.event:
            case None:
                return self.after("time went by")
            case Arrived(number, role, message, _, blocks):
                only = "" if blocks is None else f", blocks={blocks}"
                return self.after(f"Arrived(round={number}, role={role}, message={message}{only})")
            case other:
                return self.after(str(other))

    def after(self, what: str) -> str:
        """Return in lines what happened, in these words, and what was made of it."""
        found = [f"doubted: {doubt.what}" for doubt in self.doubts]
        return "\n            -> ".join([what, *found, *map(str, self.orders)])


class RoundLog:
    """What happened in a round, without payloads; ``print`` tells it line by line.

    Parameters
    ----------
    number : int
        The round's number.
    code : GradientCode
        How the sum is coded.
    wait : WaitRule
        When it had enough.
    planner : Planner
        As it was before the round began.
    patience : Patience
        How long it waited.

    Attributes
    ----------
    news : sequence of Event
        What had changed when the round began: which roles were absent, which had come back.
    minutes : Minutes, Checks or None
        What was found of sums that were believed once enough workers agreed on them.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Round
    >>> round_ = Round(0, FractionalRepetition(2, 1))
    >>> _ = round_.begin([], now=5.0)
    >>> _ = round_.handle(Arrived(0, 1, 0, np.array([3.0, 0.5])), now=5.1)
    >>> print(round_.log)
    Round 0 of FractionalRepetition(n_workers=2, n_stragglers=1)
       0.0000 s the round begins
                -> Ask(role=0, messages=(0,))
                -> Ask(role=1, messages=(0,))
       0.1000 s Arrived(round=0, role=1, message=0)
    >>> Round.replay(round_.log).outcome
    Done()
    """

    def __init__(
        self, number: int, code: GradientCode, wait: WaitRule, planner: Planner, patience: Patience
    ) -> None:
        self.number, self.code, self.wait = number, code, wait
        self.planner, self.patience = planner, patience
        self.news: Sequence[Event] = ()
        self.minutes: Minutes | Checks | None = None
        self._entries: list[_Entry] = []

    @property
    def steps(self) -> list[Step]:
        """What happened, in order; the first is the beginning."""
        return [
            Step(now, _retold(what), doubts, orders) for now, what, doubts, orders in self._entries
        ]

    def begin(self, news: Sequence[Event], now: float, orders: Sequence[Order]) -> None:
        """Note how the round begins."""
        self.news = tuple(news)
        self._entries = [(now, None, (), orders)]

    def note(
        self, now: float, event: Event | None, doubts: Sequence[Doubt], orders: Sequence[Order]
    ) -> None:
        """Add a step, without what an answer carried."""
        what: _What = event
        if isinstance(event, Arrived):
            what = event.round, event.role, event.message, event.blocks
        # tuples of numbers are nothing to Python's garbage collector, which would look at each
        # answer of each round that is kept, again and again
        self._entries.append((now, what, doubts or (), orders or ()))

    def retell(
        self,
        begin: Callable[[Sequence[Event], float], object],
        handle: Callable[[Event | None, float], object],
    ) -> None:
        """Tell a round again what happened, payloads left out; ValueError if nothing has."""
        if not self._entries:
            raise ValueError(f"Round {self.number} was interrupted before it began.")
        first, *others = self.steps
        begin(self.news, first.now)
        for step in others:
            handle(step.event, step.now)

    def __str__(self) -> str:
        lines = [f"Round {self.number} of {self.code!r}"]
        lines += [f"{'':12}{event}" for event in self.news]
        for number, step in enumerate(steps := self.steps):
            what = str(step) if number else step.after("the round begins")
            lines.append(f"{step.now - steps[0].now:9.4f} s {what}")
        return "\n".join(lines)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file, by pickle: what is read in may be as large as a code."""
        Path(path).write_bytes(pickle.dumps(self))

    @staticmethod
    def load(path: str | PathLike[str]) -> RoundLog:
        """Read it from a file of your own; like every pickle, a stranger's may run code."""
        log = pickle.loads(Path(path).read_bytes())
        if not isinstance(log, RoundLog):
            raise TypeError(f"{path} holds a {type(log).__name__}, not a RoundLog.")
        return log


class Logbook(Sequence[RoundLog]):
    """The logs of the last 64 rounds, and of all that ended in an error or a new doubt.

    In the order of their rounds, running and interrupted ones included.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> history = simulate(Uncoded(1), FixedDelay(3.0), n_rounds=100)
    >>> type(history.logs).__name__, len(history.logs), history.logs[-1].number
    ('Logbook', 64, 99)
    """

    def __init__(self) -> None:
        self._logs: dict[int, RoundLog] = {}
        self._recent: deque[int] = deque()
        self._kept: set[int] = set()
        self._doubts: set[Doubt] = set()

    def add(self, log: RoundLog) -> None:
        """Add the log of a round that begins."""
        self._logs[log.number] = log
        self._recent.append(log.number)
        if len(self._recent) > REMEMBERED:
            oldest = self._recent.popleft()
            if oldest not in self._kept:
                del self._logs[oldest]

    def keep(self, number: int, doubts: Collection[Doubt] | None = None) -> None:
        """Keep the log of a round that is still here: it ended in an error, or in doubts."""
        is_news = doubts is None or not self._doubts.issuperset(doubts)
        if is_news and number in self._logs:
            self._doubts.update(doubts or ())
            self._kept.add(number)

    def __len__(self) -> int:
        return len(self._logs)

    @overload
    def __getitem__(self, index: int) -> RoundLog: ...

    @overload
    def __getitem__(self, index: slice) -> list[RoundLog]: ...

    def __getitem__(self, index: int | slice) -> RoundLog | list[RoundLog]:
        return list(self._logs.values())[index]


def _retold(what: _What) -> Event | None:
    if isinstance(what, tuple):
        number, role, message, blocks = what
        return Arrived(number, role, message, _NOTHING, blocks)
    return what


_NOTHING: Vector = np.zeros(0)
