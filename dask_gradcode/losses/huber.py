"""The loss of Huber regression, whose scale is fitted with the model."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Huber"]


@dataclass(frozen=True)
class Huber(Loss):
    """``scale + H((z - y) / scale) * scale`` with a fitted scale.

    ``H(r)`` is ``r^2`` up to ``epsilon`` and ``2 * epsilon * |r| - epsilon^2`` beyond. The scale
    must be positive, so the loss's own parameter is a number ``t`` of any sign and the scale is
    ``1 + t`` above 1 and ``exp(t)`` below: smooth, and nothing overflows.

    Parameters
    ----------
    epsilon : float, default=1.35
        From how many scales on a residual counts linearly, at least 1.

    Raises
    ------
    ValueError
        If ``epsilon`` is not a finite number >= 1.

    References
    ----------
    .. [1] Huber and Ronchetti, "Robust Statistics", 2nd edition, 2009, Section 7.7 (the scale is
       estimated with the coefficients, by one convex function).

    Examples
    --------
    >>> z = np.array([[1.0, 0.0], [9.0, 0.0]])  # predictions, and the scale's own column: 1
    >>> value, derivative = Huber(epsilon=2.0).pointwise(z, np.zeros(2))
    >>> value
    array([ 2., 33.])
    >>> derivative
    array([[ 2.,  0.],
           [ 4., -3.]])
    """

    epsilon: float = 1.35
    n_own: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.epsilon, Real) or not 1 <= self.epsilon < np.inf:
            raise ValueError(f"Huber needs a finite epsilon >= 1, got {self.epsilon!r}.")

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        residual = np.subtract(z[:, 0], y, dtype=np.float64)
        scale, slope = self.scale(z[:, 1])
        clipped = np.clip(residual, -self.epsilon * scale, self.epsilon * scale)
        ratio = clipped / scale
        derivative = np.empty((len(residual), 2))
        derivative[:, 0] = 2.0 * ratio
        derivative[:, 1] = (1.0 - ratio * ratio) * slope
        return scale + ratio * (2.0 * residual - clipped), derivative

    @staticmethod
    def scale(t: Vector) -> tuple[Vector, Vector]:
        """Return the scales that the loss's own parameter stands for, and their derivatives.

        Parameters
        ----------
        t : ndarray of shape (n_rows,)
            The parameter.

        Returns
        -------
        scale : ndarray of shape (n_rows,)
            ``1 + t`` for positive ``t``, else ``exp(t)``.
        derivative : ndarray of shape (n_rows,)
            With respect to ``t``.
        """
        small = np.exp(np.clip(t, -200.0, 0.0), dtype=np.float64)  # a scale of 0 divides nothing
        return small + np.maximum(t, 0.0), small
