"""Which role is asked for what, and when: pure decisions, the same on a cluster and simulated."""

from dask_gradcode.rounds.plans.balancing import Balancing
from dask_gradcode.rounds.plans.base import Planner, Policy
from dask_gradcode.rounds.plans.confirming import Confirming
from dask_gradcode.rounds.plans.everybody import Everybody
from dask_gradcode.rounds.plans.hedging import Hedging
from dask_gradcode.rounds.plans.let_finish import LetFinish

__all__ = ["Balancing", "Confirming", "Everybody", "Hedging", "LetFinish", "Planner", "Policy"]
