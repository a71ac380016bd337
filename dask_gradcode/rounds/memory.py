"""What a fit carries from round to round, under a rule by which older sums stand in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.codes.summing import add_payload, add_payloads, scaled
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds.backlog import Backlog
from dask_gradcode.rounds.carried import Busy, Slow, Stale
from dask_gradcode.rounds.events import Arrived, Event, Failed, Lost, Ready, Relocated, Unplaced
from dask_gradcode.rounds.orders import Ask, Order
from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Matrix, Payload, Vector

__all__ = ["Memory"]


@dataclass(frozen=True)
class _Change:
    """How much two payloads of a message differ, and how far apart their points are."""

    payload: Payload
    n_rounds: int
    distance: float


@dataclass(frozen=True)
class _Entry:
    """The newest payload of a message."""

    round: int
    role: int
    w: Vector
    payload: Payload
    change: _Change | None  # since the one before it; not known of the first

    def change_from(self, old: _Entry) -> _Change | None:
        """Return how much has changed since an older payload, or what is known of that already."""
        distance = float(np.linalg.norm(self.w - old.w))
        if not distance and self.w.size:
            return old.change  # at the same point: nothing new
        difference = add_payloads(self.payload, scaled(-1.0, old.payload))
        return _Change(difference, self.round - old.round, distance)

    def drift(self, round: int, w: Vector, out: Vector) -> None:
        """Add how much more may have changed until a round, at its point.

        As much as before in so many rounds, or over such a distance, whichever is more: steps may
        become longer, and rounds may look at one point after another in one place.
        """
        change = self.change
        assert change is not None
        times = (round - self.round) / change.n_rounds
        if change.distance:
            times = max(times, float(np.linalg.norm(w - self.w)) / change.distance)
        add_payload(out, times, change.payload)


class Memory:
    """Keeps each message's newest payload, and which role works on what; stands in for the missing.

    What it tells a round are events, so that rule, plan and log need know nothing of payloads.

    Parameters
    ----------
    code : GradientCode
        Of messages that have no block in common.
    slow_from : float
        From how many times the usual time on a role is slow.

    Examples
    --------
    Two payloads of message 0 have come when it is missing in round 4, at the point 3:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Round
    >>> memory, statistic = Memory(Uncoded(2), slow_from=1.5), Statistic(n_parameters=1)
    >>> for number, w in (0, 0.0), (2, 1.0):
    ...     _ = memory.begin(number, np.array([w]), statistic, [])
    ...     memory.keep(Arrived(number, 0, 0, np.array([w**2, 2 * w])))
    >>> memory.begin(4, np.array([3.0]), statistic, [])
    [Stale(role=0, message=0, age=2)]
    >>> round_ = Round(4, Uncoded(2), stand_in=memory)
    >>> _ = round_.begin([Stale(role=0, message=0, age=2)], now=0.0)
    >>> memory.complete(np.array([9.0, 6.0]), round_.state.decode(), round_.state)
    array([14.,  8.])
    >>> memory.drift(round_.state)
    array([2., 4.])
    """

    def __init__(self, code: GradientCode, slow_from: float) -> None:
        self._code = code
        self._backlog = Backlog(slow_from)
        self._entries: dict[int, _Entry] = {}
        self._round = -1
        self._points: dict[int, Vector] = {}  # of the rounds to which something is owed, and this
        self._statistic: Statistic | None = None
        self._later: list[tuple[Event, float, bool]] = []

    # ---- what happens

    def begin(
        self,
        round: int,
        w: Vector | Matrix,
        statistic: Statistic | None,
        news: Sequence[Event],
        *,
        exact: bool = False,
    ) -> list[Event]:
        """Begin a round, and return what it is told.

        Parameters
        ----------
        round : int
            Its number.
        w : ndarray of shape (n_parameters,) or (n_points, n_parameters)
            Its point, or points.
        statistic : Statistic, optional
            What payloads contain. None: nothing.
        news : sequence of Event
            Which roles are gone, and which have come back.
        exact : bool, default=False
            Whether nothing shall stand in: then everybody is asked.
        """
        for heard in self._later:
            self.hear(*heard)
        self._later.clear()
        for event in news:
            self._leave(event)
        self._round = round
        self._backlog.begin(round)
        owed = self._backlog.rounds()
        self._points = {k: point for k, point in self._points.items() if k in owed}
        self._statistic = statistic
        if w.ndim == 1 and (statistic is None or statistic.order == 1):
            self._points[round] = w.copy()  # the caller may change it
        if exact:
            return []
        busy, slow = map(Busy, self._backlog.busy()), map(Slow, self._backlog.slow())
        stale = (self._stale(message) for message in sorted(self._entries))
        return [*busy, *slow, *(event for event in stale if event is not None)]

    def ask(self, orders: Iterable[Order], now: float) -> None:
        """Note which roles are asked in this round."""
        for order in orders:
            if isinstance(order, Ask):
                self._backlog.ask(order.role, order.messages, self._round, now)

    def hear_later(self, event: Event, now: float, right: bool) -> None:
        """Note what happens after the end of a round, of which its sum shall know nothing."""
        self._later.append((event, now, right))

    def hear(self, event: Event, now: float, right: bool) -> list[Event]:
        """Note what happens, and return what the round is told of it besides.

        Parameters
        ----------
        event : Event
            What happens.
        now : float
            When, in seconds on any clock.
        right : bool
            Whether what it carries may be right.
        """
        match event:
            case Arrived(number, role, message):
                if right:
                    self.keep(event)
                free = self._backlog.answer(role, message, number, now)
                stale = self._stale(message) if number != self._round else None
                return [told for told in (stale, free) if told is not None]
            case Failed(number, role):
                free = self._backlog.fail(role, number)
                return [] if free is None else [free]
        self._leave(event)
        return []

    def keep(self, answer: Arrived) -> None:
        """Remember an answer, to whatever round, if it is newer than what is remembered."""
        point, old = self._points.get(answer.round), self._entries.get(answer.message)
        if point is None or (old is not None and old.round >= answer.round):
            return
        new = _Entry(answer.round, answer.role, point, answer.payload, None)
        if old is not None:
            new = replace(new, change=new.change_from(old))
        self._entries[answer.message] = new

    def _leave(self, event: Event) -> None:
        if isinstance(event, Lost | Unplaced | Ready | Relocated):
            self._backlog.release(event.role)

    def _stale(self, message: int) -> Stale | None:
        entry = self._entries.get(message)
        if entry is None or entry.change is None:
            return None
        return Stale(entry.role, message, self._round - entry.round)

    # ---- what stands in for the missing

    def complete(self, total: Vector, decoding: Decoding, state: State) -> Vector:
        statistic, w = self._statistic, self._points[self._round]
        assert statistic is not None
        whole = total.copy()
        for message in _missing(state):
            entry = self._entries[message]
            one = np.zeros(total.size)
            add_payload(one, 1.0, entry.payload)
            statistic.value(one)[()] += statistic.gradient(one) @ (w - entry.w)
            whole += one
        return whole

    def drift(self, state: State) -> Vector:
        assert self._statistic is not None
        drift: Vector = np.zeros(self._statistic.size)
        for message in _missing(state):
            self._entries[message].drift(self._round, self._points[self._round], drift)
        return drift


def _missing(state: State) -> list[int]:
    return [message for message in state.carried.ages if not state.arrived[message]]
