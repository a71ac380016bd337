"""What every plan is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.events import Event, Ready
from dask_gradcode.rounds.orders import Ask, Order
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.state import State

__all__ = ["Planner", "Policy", "ask", "asking"]

_CONTAINERS = deque, list, dict, set


class Planner:
    """A policy at work, for the rounds of one fit; this one asks nobody by itself.

    Attributes
    ----------
    look_at : float or None
        When it wants ``react`` to be called at the latest, in seconds on the round's clock.

    Examples
    --------
    :class:`Policy` has one that asks somebody. A role that comes back is asked by this one, too:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Lost, Patience, Ready, Round
    >>> round_ = Round(0, Uncoded(2), planner=Planner(), patience=Patience(recover=60.0))
    >>> round_.begin([Lost(1, "it is dead")], now=0.0)
    []
    >>> round_.handle(Ready(1), now=0.1)
    [Ask(role=1, messages=(1,))]
    """

    look_at: float | None = None

    def copy(self) -> Planner:
        """Return a planner that decides as this one would and learns apart: for a round's log."""
        other = object.__new__(type(self))
        for name, value in vars(self).items():
            other.__dict__[name] = value.copy() if isinstance(value, _CONTAINERS) else value
        return other

    def begin(self, state: State, now: float) -> list[Order]:
        """Return which roles are asked first in a round that begins now."""
        return []

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        """Return which role is asked next: one that is back, for all that is missing of it.

        Parameters
        ----------
        event : Event or None
            What has happened; None if only time went by.
        state : State
            What is known, the event included.
        now : float
            Seconds on the round's clock.

        Returns
        -------
        list of Order
            What to do.
        """
        if isinstance(event, Ready):
            return ask([event.role], state)
        return []

    def end(self, record: RoundRecord) -> None:
        """Learn from a round."""


class Policy(ABC):
    """Which role is asked for what, and when: a frozen value that starts a planner for each fit.

    Examples
    --------
    A policy of one's own is two small classes. This one asks the last role first:

    >>> class Backwards(Policy):
    ...     def start(self, code):
    ...         return BackwardsPlanner()
    >>> class BackwardsPlanner(Planner):
    ...     def begin(self, state, now):
    ...         return ask(reversed(state.ready()), state)
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Round
    >>> Round(0, Uncoded(2), planner=Backwards().start(Uncoded(2))).begin([], now=0.0)
    [Ask(role=1, messages=(1,)), Ask(role=0, messages=(0,))]
    """

    @abstractmethod
    def start(self, code: GradientCode) -> Planner:
        """Return a planner for the rounds of one fit."""


def ask(roles: Iterable[int], state: State) -> list[Order]:
    """Return the orders that ask roles, one after the other, for all that they could send."""
    return [asking(role, messages) for role in roles if (messages := state.unasked(role))]


asking = lru_cache(maxsize=1 << 14)(Ask)
"""Returns the order of a role and messages: one object if it is the same in each round."""
