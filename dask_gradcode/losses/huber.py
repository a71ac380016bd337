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

    ``H(r)`` is ``r^2`` up to ``epsilon`` and ``2 * epsilon * |r| - epsilon^2`` beyond.

    The loss's own parameter ``t`` is the scale itself. The smaller a scale, the closer its
    derivative is to ``1 - epsilon^2`` wherever there are residuals, so the loss goes on with that
    slope below ``floor``: convex in ``z`` and ``t`` together for every real ``t``, and nowhere flat
    but at its minimum. An optimizer can neither leave the domain nor stop where the scale has
    collapsed. The seam is smooth: ``scale = floor * (1 + log(1 + exp(t / floor)))``.

    Parameters
    ----------
    epsilon : float, default=1.35
        From how many scales on a residual counts linearly, at least 1.
    floor : float, default=2.2e-15
        The smallest scale, positive: far below every scale that matters.

    Raises
    ------
    ValueError
        If ``epsilon`` is not a finite number >= 1, or ``floor`` not a positive one.

    References
    ----------
    .. [1] Huber and Ronchetti, "Robust Statistics", 2nd edition, 2009, Section 7.7 (the scale is
       estimated with the coefficients, by one convex function).

    Examples
    --------
    >>> z = np.array([[1.0, 1.0], [9.0, 1.0]])  # predictions, and the scale's own column
    >>> value, derivative = Huber(epsilon=2.0).pointwise(z, np.zeros(2))
    >>> value.round(9)
    array([ 2., 33.])
    >>> derivative.round(9)
    array([[ 2.,  0.],
           [ 4., -3.]])
    """

    epsilon: float = 1.35
    floor: float = 10 * float(np.finfo(np.float64).eps)
    n_own: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.epsilon, Real) or not 1 <= self.epsilon < np.inf:
            raise ValueError(f"Huber needs a finite epsilon >= 1, got {self.epsilon!r}.")
        if not isinstance(self.floor, Real) or not 0 < self.floor < np.inf:
            raise ValueError(f"Huber needs a finite positive floor, got {self.floor!r}.")

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        residual = np.subtract(z[:, 0], y, dtype=np.float64)
        t = z[:, 1].astype(np.float64)
        if (t == t[:1]).all():  # as they are in a fit: what is the same is computed once
            t = t[:1]
        # how much of the slope is the scale's: the derivative of scale(t)
        scale, inside = self.scale(t), np.exp(-np.logaddexp(0.0, -t / self.floor))
        most = self.epsilon * scale
        clipped = np.clip(residual, -most, most)
        ratio = clipped / scale
        steepest = 1.0 - self.epsilon * self.epsilon
        derivative = np.empty((len(residual), 2))
        derivative[:, 0] = 2.0 * ratio
        derivative[:, 1] = (1.0 - ratio * ratio) * inside + steepest * (1.0 - inside)
        value = scale + ratio * (2.0 * residual - clipped)
        return value + steepest * (t - scale), derivative

    def scale(self, t: Vector) -> Vector:
        """Return the scale that the loss's own parameter stands for.

        Parameters
        ----------
        t : ndarray
            The parameter.

        Returns
        -------
        ndarray of the shape of t
            ``t`` itself far above ``floor``; never below it.
        """
        return self.floor * (1.0 + np.logaddexp(0.0, np.asarray(t) / self.floor))
