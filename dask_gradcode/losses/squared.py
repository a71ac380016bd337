"""The loss of linear regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Squared"]


@dataclass(frozen=True)
class Squared(Loss):
    """``(z - y)^2 / 2``.

    Examples
    --------
    >>> Squared().pointwise(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (array([0., 2.]), array([0., 2.]))
    """

    has_curvature: ClassVar[bool] = True

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        residual = np.subtract(z, y, dtype=np.float64)
        return 0.5 * residual * residual, residual

    def curvature(self, z: Vector, y: Vector) -> Vector:
        return np.ones(z.shape)
