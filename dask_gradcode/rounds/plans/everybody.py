"""Everybody is asked at once."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.plans.base import Planner, Policy, ask
from dask_gradcode.rounds.plans.helping import Helping
from dask_gradcode.rounds.plans.repeating import Repeating
from dask_gradcode.rounds.plans.slicing import Slicing
from dask_gradcode.rounds.state import State

__all__ = ["Everybody"]


@dataclass(frozen=True)
class Everybody(Policy):
    """Ask everybody at once, for all that the code gives them: what the paper does.

    Where workers share the sending, others are asked for the slices of late ones: that costs them
    no computing.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Lost, Round
    >>> code = FractionalRepetition(2, 1)
    >>> Round(0, code, planner=Everybody().start(code)).begin([Lost(0, "it is dead")], now=0.0)
    [Ask(role=1, messages=(0,))]
    """

    def start(self, code: GradientCode) -> Planner:
        if code.exchanges:
            return Repeating()
        if code.shares_sending:
            return Slicing(code)
        return Helping(code, hurry=False) if code.divides else _AskAll()


class _AskAll(Planner):
    def begin(self, state: State, now: float) -> list[Order]:
        return ask(state.ready(), state)
