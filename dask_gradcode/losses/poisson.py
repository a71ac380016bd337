"""The loss of Poisson regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Poisson"]

STEEP = 200.0
"""Where ``exp(z)`` goes on along its tangent: no data has a mean of 1e86, but a trial step may."""


@dataclass(frozen=True)
class Poisson(Loss):
    """Half the Poisson deviance, ``exp(z) - y + y (log(y) - z)``, for counts or rates ``y >= 0``.

    References
    ----------
    .. [1] McCullagh and Nelder, "Generalized Linear Models", 2nd edition, 1989, Section 2.3.

    Examples
    --------
    >>> value, derivative = Poisson().pointwise(np.log([2.0, 2.0]), np.array([2.0, 0.0]))
    >>> value.round(3), derivative.round(3)
    (array([0., 2.]), array([0., 2.]))
    """

    has_curvature: ClassVar[bool] = True

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        from scipy.special import xlogy  # a quarter of a megabyte that other losses do not need

        y = np.asarray(y, dtype=np.float64)
        z = np.asarray(z, dtype=np.float64)
        slope = np.exp(np.minimum(z, STEEP))
        mean = slope * (1.0 + np.maximum(z - STEEP, 0.0))
        value = mean - y + (xlogy(y, y) - y * z)
        # never negative but for the rounding of this difference
        return np.maximum(value, 0.0), slope - y

    def curvature(self, z: Vector, y: Vector) -> Vector:
        curvature: Vector = np.exp(np.minimum(z, STEEP, dtype=np.float64))
        return curvature
