"""Rounds: what the client decides while messages arrive. No Dask, no clock, no threads.

An :class:`Engine` drives each :class:`Round` through a *port*: to a cluster, to a virtual clock, or
to this process.
"""

from dask_gradcode.rounds.answer import Answer
from dask_gradcode.rounds.carried import Busy, Free, Slow, Stale
from dask_gradcode.rounds.engine import Engine
from dask_gradcode.rounds.events import (
    Absent,
    Announced,
    Arrived,
    Event,
    Failed,
    Heard,
    Lost,
    News,
    Ready,
    Relocated,
    Silent,
    Unplaced,
    Yielded,
)
from dask_gradcode.rounds.journal import TakenBackError
from dask_gradcode.rounds.log import Logbook, RoundLog
from dask_gradcode.rounds.orders import Announce, Ask, Drop, Order, Yield
from dask_gradcode.rounds.outcomes import Contradicted, Done, Outcome, Overdue, Stuck
from dask_gradcode.rounds.patience import Patience
from dask_gradcode.rounds.plans import (
    Balancing,
    Confirming,
    Everybody,
    Hedging,
    LetFinish,
    Planner,
    Policy,
)
from dask_gradcode.rounds.port import Port
from dask_gradcode.rounds.record import (
    InsufficientWorkersError,
    RoundRecord,
    TooMuchLostError,
    WrongSumsError,
)
from dask_gradcode.rounds.remember import Remember
from dask_gradcode.rounds.round import Round
from dask_gradcode.rounds.rules import Deadline, Fastest, UntilExact, WaitRule
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.verdicts import Discovery, Expelled, Undecided

__all__ = [
    "Absent",
    "Announce",
    "Announced",
    "Answer",
    "Arrived",
    "Ask",
    "Balancing",
    "Busy",
    "Confirming",
    "Contradicted",
    "Deadline",
    "Discovery",
    "Done",
    "Drop",
    "Engine",
    "Event",
    "Everybody",
    "Expelled",
    "Failed",
    "Fastest",
    "Free",
    "Heard",
    "Hedging",
    "InsufficientWorkersError",
    "LetFinish",
    "Logbook",
    "Lost",
    "News",
    "Order",
    "Outcome",
    "Overdue",
    "Patience",
    "Planner",
    "Policy",
    "Port",
    "Ready",
    "Relocated",
    "Remember",
    "Round",
    "RoundLog",
    "RoundRecord",
    "Silent",
    "Slow",
    "Stale",
    "State",
    "Stuck",
    "TakenBackError",
    "TooMuchLostError",
    "Undecided",
    "Unplaced",
    "UntilExact",
    "WaitRule",
    "WrongSumsError",
    "Yield",
    "Yielded",
]
