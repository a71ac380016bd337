"""Everybody is asked, as soon as they have done what they were asked for before."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.carried import Free
from dask_gradcode.rounds.events import Event
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.plans.base import Planner, Policy, ask
from dask_gradcode.rounds.state import State

__all__ = ["LetFinish"]


@dataclass(frozen=True)
class LetFinish(Policy):
    """Ask all but the workers still busy with an older round, and these once they are done.

    It is the plan that goes with :class:`~dask_gradcode.rounds.Remember`; where nothing is
    remembered, everybody is asked at once.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Busy, Remember, Round
    >>> code = Uncoded(2)
    >>> round_ = Round(7, code, Remember(), LetFinish().start(code))
    >>> round_.begin([Busy(role=1)], now=0.0)
    [Ask(role=0, messages=(0,))]
    >>> round_.handle(Free(role=1), now=0.1)
    [Ask(role=1, messages=(1,))]
    """

    def start(self, code: GradientCode) -> Planner:
        return _LetFinish()


class _LetFinish(Planner):
    def begin(self, state: State, now: float) -> list[Order]:
        return ask((role for role in state.ready() if role not in state.carried.busy), state)

    def react(self, event: Event | None, state: State, now: float) -> list[Order]:
        if isinstance(event, Free):
            return ask([event.role], state)
        return super().react(event, state, now)
