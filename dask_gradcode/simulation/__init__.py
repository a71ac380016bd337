"""Rounds on a virtual clock: thousands of workers and rounds in seconds, without a cluster."""

from dask_gradcode.simulation.candidates import Candidate, Choice
from dask_gradcode.simulation.choice import choose
from dask_gradcode.simulation.exchange import ExchangeObjective
from dask_gradcode.simulation.links import blocks_recovered, transmissions_needed
from dask_gradcode.simulation.objective import SimulatedObjective, simulate
from dask_gradcode.simulation.recorded import recorded

__all__ = [
    "Candidate",
    "Choice",
    "ExchangeObjective",
    "SimulatedObjective",
    "blocks_recovered",
    "choose",
    "recorded",
    "simulate",
    "transmissions_needed",
]
