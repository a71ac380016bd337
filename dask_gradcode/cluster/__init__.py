"""Rounds on a Dask cluster: placed data, transports, and the objective that a fit minimises."""

from dask_gradcode.cluster.faults import inject
from dask_gradcode.cluster.objective import ClusterObjective
from dask_gradcode.cluster.placement.place import place
from dask_gradcode.cluster.placement.placement import Placement

__all__ = ["ClusterObjective", "Placement", "inject", "place"]
