"""One round: what the client decides while messages arrive. No Dask, no clock, no threads.

A transport on a cluster, the simulator's virtual clock and the in-process objective all feed a
:class:`Round` the same events and do what it answers.
"""

from dask_gradcode.rounds.answers import Ask, Done, Stuck, Wait
from dask_gradcode.rounds.events import Arrived, Event, Failed, Lost, Ready, Unplaced
from dask_gradcode.rounds.record import InsufficientWorkersError, RoundRecord
from dask_gradcode.rounds.round import Round
from dask_gradcode.rounds.rules import Deadline, Fastest, UntilExact, WaitRule

__all__ = [
    "Arrived",
    "Ask",
    "Deadline",
    "Done",
    "Event",
    "Failed",
    "Fastest",
    "InsufficientWorkersError",
    "Lost",
    "Ready",
    "Round",
    "RoundRecord",
    "Stuck",
    "Unplaced",
    "UntilExact",
    "Wait",
    "WaitRule",
]
