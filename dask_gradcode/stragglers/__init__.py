"""Straggler models: how late each worker begins each round, and how slow it is then.

They drive the simulator and, through :func:`dask_gradcode.cluster.inject`, real workers. A new
model is one file here, one line below and one line in ``tests/stragglers/test_every_model.py``.
"""

from dask_gradcode.stragglers.base import StragglerModel
from dask_gradcode.stragglers.combined import Combined
from dask_gradcode.stragglers.drawn import RandomDelay, RandomSlowdown
from dask_gradcode.stragglers.exponential import ExponentialDelay, ShiftedExponentialDelay
from dask_gradcode.stragglers.fixed import FixedDelay
from dask_gradcode.stragglers.links import LossyLinks
from dask_gradcode.stragglers.markov import MarkovSlowdown
from dask_gradcode.stragglers.never import NeverAnswers
from dask_gradcode.stragglers.pareto import ParetoDelay
from dask_gradcode.stragglers.slowdown import Slowdown
from dask_gradcode.stragglers.trace import TraceDelay

__all__ = [
    "Combined",
    "ExponentialDelay",
    "FixedDelay",
    "LossyLinks",
    "MarkovSlowdown",
    "NeverAnswers",
    "ParetoDelay",
    "RandomDelay",
    "RandomSlowdown",
    "ShiftedExponentialDelay",
    "Slowdown",
    "StragglerModel",
    "TraceDelay",
]
