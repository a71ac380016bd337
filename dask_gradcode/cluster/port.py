"""The port of rounds to a cluster: the one place that knows which roles are there.

What is known of a worker comes from three sides: its connection may end (the transport says so), it
may leave the cluster or be given another role (the placement's roles say so), and its heartbeats
may stop (the scheduler says how old they are). Here they become a few events, and a round need not
know where they came from:

``Lost``
    The role is not there: its worker is gone, or has been replaced, or its connection has ended.
``Unplaced``
    The role has never been there: its blocks are still on their way.
``Ready``
    The role is there, or there again, on whatever worker.
``Relocated``
    Between two rounds it has gone over to another worker, and was not missed.
``Silent``
    Its worker may never answer: it sends no heartbeats, or begins no tasks. Whether to wait for it
    is the round's to say. Of a worker that was alive when a user's function may have begun there,
    nothing follows from its silence: the function may keep Python's lock, and is only slow.
``Heard``
    It is silent no more.

How a role comes to be there is told in ``presence``.

A round that was interrupted leaves the transport in an unknown state; the next one opens another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.opening import open_transport
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.presence import Presence
from dask_gradcode.cluster.transport import Transport
from dask_gradcode.rounds import (
    Announce,
    Ask,
    Contradicted,
    Drop,
    Event,
    InsufficientWorkersError,
    Lost,
    News,
    Order,
    Overdue,
    Patience,
    Round,
    TooMuchLostError,
    WrongSumsError,
    Yield,
)
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Work

__all__ = ["ClusterPort"]


class ClusterPort:
    """Takes orders to a transport, and tells rounds of answers and of roles that come and go.

    Parameters
    ----------
    data : Placement
        The data.
    presence : Presence
        Knows who is there, and keeps the transport attached.
    opened : callable
        Returns a new transport, to which the presence is bound.
    now : callable
        The clock.

    Attributes
    ----------
    transport : Transport
        The transport.
    """

    def __init__(
        self,
        data: Placement,
        presence: Presence,
        opened: Callable[[], Transport],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data, self._presence, self._opened, self._now = data, presence, opened, now
        self._asked: dict[int, float] = {}  # when, in this round
        self._interrupted = False
        self.transport = opened()

    @classmethod
    def to(cls, data: Placement, work: Work, transport: str) -> ClusterPort:
        """Return a port to the workers that hold some data.

        Parameters
        ----------
        data : Placement
            The data.
        work : Work
            What to compute on each block.
        transport : {"auto", "tasks", "stream"}
            How messages travel.

        Raises
        ------
        ValueError, ConnectionError
            As for :func:`~dask_gradcode.cluster.opening.open_transport`.
        """
        # A user's code need not let other threads run: its worker may be silent, though alive.
        since = time.monotonic() if work.is_foreign else math.inf
        presence = Presence(data.code.n_workers, data.roles, Liveness.of(data.client), since)
        return cls(data, presence, lambda: open_transport(data, work, transport, presence))

    def interrupted(self) -> None:
        """Note that nothing is known of the transport's state."""
        self._interrupted = True

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self.transport.close()
        self._presence.unbind()

    def _reopen_if_interrupted(self) -> None:
        """Open a new transport in place of one that is in an unknown state."""
        if self._interrupted:
            self.transport.close()
            self.transport = self._opened()
            self._interrupted = False

    # ---- for the engine

    def now(self) -> float:
        return self._now()

    def patience(self) -> Patience:
        return Patience(seconds("gradcode.timeouts.recover"), seconds("gradcode.timeouts.round"))

    def begin(self, round: int, w: Vector | Matrix, order: int) -> Sequence[News]:
        self._reopen_if_interrupted()
        news = self._presence.begin()
        self._asked.clear()
        self.transport.begin(round, w, order)
        return news

    def send(self, orders: Sequence[Order]) -> None:
        now = self._now()
        for order in orders:
            match order:
                case Ask(role, messages):
                    self._asked.setdefault(role, now)
                    self.transport.ask(role, messages)
                case Announce(role, messages):
                    self._asked.setdefault(role, now)
                    self.transport.announce(role, messages)
                case Yield(role):
                    self.transport.yield_(role)
                case Drop(role, messages):
                    self.transport.drop(role, messages)

    def reached(self) -> Mapping[int, float]:
        withheld = self.transport.withheld()
        return {role: when for role, when in self._asked.items() if role not in withheld}

    def events(self, until: float | None) -> Sequence[Event]:
        self._reopen_if_interrupted()
        now = self._now()
        if now >= self._presence.look_at and (news := self._look(now)):
            return news
        look = self._presence.look_at
        events = self.transport.poll(max(0.0, min(look, look if until is None else until) - now))
        for event in events:
            if isinstance(event, Lost):
                self._presence.leave(event.role)
        return events

    def _look(self, now: float) -> list[Event]:
        news = self._presence.look(now)
        self._data.check_open()  # what has been cancelled is waited for in vain
        return news

    def explain(self, round: Round) -> BaseException:
        data, state = self._data, round.state
        data.check_open()
        if isinstance(round.outcome, Overdue):
            where = {role: data.addresses[role] for role in round.outcome.missing}
            paused = self._presence.liveness.paused(set(where.values()))
            return TimeoutError(
                f"Round {round.number} is not done, and nothing has come for "
                f"{round.outcome.seconds:.0f} s, although its workers live (dask.config key "
                f"gradcode.timeouts.round). Waiting for {where}."
                + "".join(f"\n  {address}: {why}" for address, why in paused.items())
            )
        if isinstance(round.outcome, Contradicted):
            who = [f"role {role} on {data.addresses[role]}" for role in round.outcome.roles]
            return WrongSumsError.of(round.number, data.code, who)
        if (state.absent or state.parts) and not (state.errors or state.lost):
            return TooMuchLostError.of(round.number, state)
        for role, error in state.errors.items():
            error.add_note(f"raised on worker {data.addresses[role]} (role {role})")
            return error
        missing = "\n".join(f"  role {role}: {state.lost[role]}" for role in sorted(state.lost))
        return InsufficientWorkersError(
            f"The sum cannot be decoded without the workers that are missing:\n{missing}\n"
            f"The code is {data.code!r}.\n"
            f"It tolerates {data.code.tolerance}. Place the data anew on the workers that are "
            "left, or use a code with more n_stragglers."
        )
