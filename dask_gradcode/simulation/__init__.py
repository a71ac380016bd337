"""Rounds on a virtual clock: thousands of workers and rounds in seconds, without a cluster."""

from dask_gradcode.simulation.rounds import SimulatedObjective, simulate

__all__ = ["SimulatedObjective", "simulate"]
