"""Straggler models: how late each worker begins each round.

They drive the simulator and, through :func:`dask_gradcode.cluster.inject`, real workers. A new
model is one file here, one line below and one line in ``tests/stragglers/test_every_model.py``.
"""

from dask_gradcode.stragglers.base import RandomDelay, StragglerModel
from dask_gradcode.stragglers.exponential import ExponentialDelay, ShiftedExponentialDelay
from dask_gradcode.stragglers.fixed import FixedDelay
from dask_gradcode.stragglers.never import NeverAnswers
from dask_gradcode.stragglers.pareto import ParetoDelay
from dask_gradcode.stragglers.trace import TraceDelay

__all__ = [
    "ExponentialDelay",
    "FixedDelay",
    "NeverAnswers",
    "ParetoDelay",
    "RandomDelay",
    "ShiftedExponentialDelay",
    "StragglerModel",
    "TraceDelay",
]
