"""The loss of logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Logistic"]


@dataclass(frozen=True)
class Logistic(Loss):
    """``log(1 + exp(-m))``, where the margin ``m`` is ``z`` for the positive class, else ``-z``.

    Parameters
    ----------
    positive : float, default=1.0
        The label of the positive class; every other label is of the negative class.
    class_weight : tuple of two floats, default=(1.0, 1.0)
        What the loss of the negative and of the positive class is multiplied by.

    Raises
    ------
    ValueError
        If ``positive`` is not finite, or ``class_weight`` is not two finite numbers >= 0.

    References
    ----------
    .. [1] Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition,
       2009, Section 4.4.1.

    Examples
    --------
    >>> value, derivative = Logistic().pointwise(np.array([0.0, 2.0]), np.array([1.0, 0.0]))
    >>> value.round(3), derivative.round(3)
    (array([0.693, 2.127]), array([-0.5  ,  0.881]))
    """

    positive: float = 1.0
    class_weight: tuple[float, float] = (1.0, 1.0)
    has_curvature: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not np.isfinite(self.positive):
            raise ValueError(f"Logistic needs a finite positive label, got {self.positive}.")
        weights = np.asarray(self.class_weight, dtype=float)
        if weights.shape != (2,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                "Logistic needs class_weight=(negative, positive), two finite numbers >= 0, "
                f"got {self.class_weight!r}. (1.0, 1.0) weighs both classes alike."
            )
        object.__setattr__(self, "class_weight", tuple(weights.tolist()))

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        is_positive = y == self.positive
        sign = np.where(is_positive, -1.0, 1.0)
        t = sign * z  # minus the margin; the derivative with respect to z is sign * sigmoid(t)

        # One exponential serves both: with e = exp(-|t|), which cannot overflow,
        # log(1 + exp(t)) = log1p(e) + max(t, 0), and sigmoid(t) = (e if t < 0 else 1) / (1 + e).
        # In place, as this is the hot loop: half the time of logaddexp and expit.
        e = np.abs(t)
        np.negative(e, out=e)
        np.exp(e, out=e)
        value = np.log1p(e)
        derivative = np.where(t < 0.0, e, 1.0)
        derivative *= sign
        e += 1.0
        derivative /= e
        np.maximum(t, 0.0, out=t)
        value += t

        if self.class_weight != (1.0, 1.0):
            negative, positive = self.class_weight
            weight = np.where(is_positive, positive, negative)
            value *= weight
            derivative *= weight
        return value, derivative

    def curvature(self, z: Vector, y: Vector) -> Vector:
        e = np.exp(-np.abs(z, dtype=np.float64))
        curvature: Vector = e / (1.0 + e) ** 2  # p (1 - p), without the rounding of 1 - p
        if self.class_weight != (1.0, 1.0):
            negative, positive = self.class_weight
            curvature *= np.where(y == self.positive, positive, negative)
        return curvature
