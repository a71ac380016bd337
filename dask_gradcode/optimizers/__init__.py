"""Optimizers: what chooses the points at which rounds are run."""

from dask_gradcode.optimizers.base import Callback, Memory, Optimizer, Solution
from dask_gradcode.optimizers.gradient_descent import GradientDescent
from dask_gradcode.optimizers.in_step import in_step
from dask_gradcode.optimizers.lbfgs import LBFGS
from dask_gradcode.optimizers.nesterov import Nesterov
from dask_gradcode.optimizers.newton import NewtonCholesky
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY

__all__ = [
    "L1",
    "LBFGS",
    "NO_PENALTY",
    "Callback",
    "GradientDescent",
    "Memory",
    "Nesterov",
    "NewtonCholesky",
    "Optimizer",
    "Solution",
    "in_step",
]
