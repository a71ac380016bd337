"""Everybody sends again, as long as too much is lost on the way."""

from __future__ import annotations

from dask_gradcode.rounds.events import Event
from dask_gradcode.rounds.orders import Ask, Order
from dask_gradcode.rounds.plans.base import Planner, ask
from dask_gradcode.rounds.state import State

__all__ = ["Repeating"]


class Repeating(Planner):
    """Asks everybody for its first message, and once all have come or are lost, for the next.

    Examples
    --------
    The second of two uploads is lost:

    >>> import numpy as np
    >>> from dask_gradcode.codes import CooperativeRepetition
    >>> from dask_gradcode.rounds import Absent, Arrived, Round
    >>> round_ = Round(0, CooperativeRepetition(2, 0), planner=Repeating())
    >>> round_.begin([], now=0.0)
    [Ask(role=0, messages=(0,)), Ask(role=1, messages=(1,))]
    >>> round_.handle(Arrived(0, 0, 0, np.zeros(2)), now=0.1)
    []
    >>> round_.handle(Absent(0, 1, 1), now=0.1)
    [Ask(role=0, messages=(2,)), Ask(role=1, messages=(3,))]
    """

    def begin(self, state: State, now: float) -> list[Order]:
        return ask(state.ready(), state)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        orders, ready = super().react(event, state, now), state.ready()
        if orders or any(state.owed(role) for role in ready):
            return orders
        return [Ask(role, (message,)) for role in ready for message in _next(role, state)]


def _next(role: int, state: State) -> list[int]:
    """Return the next message that a role has not been asked for; none, if there is none."""
    asked = state.asked.get(role, set())
    left = (m for m in state.code.messages_of[role] if state.pending[m] and m not in asked)
    return [message for message, _ in zip(left, range(1), strict=False)]
