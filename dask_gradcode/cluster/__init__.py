"""Rounds on a Dask cluster: placed data, transports, and the objective that a fit minimises.

Names are loaded when they are first used: a worker loads what it computes with, not the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_gradcode.deferred import deferred

if TYPE_CHECKING:
    from dask_gradcode.cluster.draining import drain
    from dask_gradcode.cluster.faults import inject
    from dask_gradcode.cluster.objective import ClusterObjective
    from dask_gradcode.cluster.placement.estimate import Estimate, estimate
    from dask_gradcode.cluster.placement.place import place
    from dask_gradcode.cluster.placement.placement import Placement
    from dask_gradcode.cluster.placement.placing import Placing
    from dask_gradcode.cluster.worker.lies import Lies
    from dask_gradcode.cluster.worker.throttle import Throttle
    from dask_gradcode.stragglers import LossyLinks

__all__ = [
    "ClusterObjective",
    "Estimate",
    "Lies",
    "LossyLinks",
    "Placement",
    "Placing",
    "Throttle",
    "drain",
    "estimate",
    "inject",
    "place",
]

__getattr__, __dir__ = deferred(
    __name__,
    {
        "ClusterObjective": "dask_gradcode.cluster.objective",
        "Estimate": "dask_gradcode.cluster.placement.estimate",
        "Lies": "dask_gradcode.cluster.worker.lies",
        "LossyLinks": "dask_gradcode.stragglers",
        "Placement": "dask_gradcode.cluster.placement.placement",
        "Placing": "dask_gradcode.cluster.placement.placing",
        "Throttle": "dask_gradcode.cluster.worker.throttle",
        "drain": "dask_gradcode.cluster.draining",
        "estimate": "dask_gradcode.cluster.placement.estimate",
        "inject": "dask_gradcode.cluster.faults",
        "place": "dask_gradcode.cluster.placement.place",
    },
)
