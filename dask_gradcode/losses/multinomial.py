"""The loss of logistic regression with any number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Multinomial"]


@dataclass(frozen=True)
class Multinomial(Loss):
    """``log(sum_k exp(z_k)) - z_y``: minus the log of the probability of a row's own class.

    Parameters
    ----------
    classes : tuple of float
        The labels, ascending; output ``k`` belongs to ``classes[k]``.
    class_weight : tuple of float, optional
        What the loss of each class is multiplied by. None: one for every class.

    Raises
    ------
    ValueError
        If the classes are not at least two ascending finite numbers, or the weights are not as many
        finite numbers >= 0.

    References
    ----------
    .. [1] Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition,
       2009, Section 4.4.

    Examples
    --------
    >>> z = np.array([[0.0, 0.0, np.log(2.0)]])
    >>> value, derivative = Multinomial((0.0, 1.0, 2.0)).pointwise(z, np.array([2.0]))
    >>> value.round(3), derivative
    (array([0.693]), array([[ 0.25,  0.25, -0.5 ]]))
    """

    classes: tuple[float, ...]
    class_weight: tuple[float, ...] | None = None
    has_curvature: ClassVar[bool] = True
    only_differences: ClassVar[bool] = True

    def __post_init__(self) -> None:
        classes = np.asarray(self.classes, dtype=float)
        if classes.ndim != 1 or not np.isfinite(classes).all() or len(classes) < 2:
            raise ValueError(f"Multinomial needs at least two finite classes, got {self.classes}.")
        if not (np.diff(classes) > 0).all():
            raise ValueError(f"Multinomial needs ascending classes, got {self.classes}.")
        object.__setattr__(self, "classes", tuple(classes.tolist()))
        if self.class_weight is None:
            return
        weights = np.asarray(self.class_weight, dtype=float)
        if weights.shape != classes.shape or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                f"Multinomial needs a finite class_weight >= 0 for each of the {len(classes)} "
                f"classes, got {self.class_weight}. None weighs all classes alike."
            )
        object.__setattr__(self, "class_weight", tuple(weights.tolist()))

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        index = np.searchsorted(self.classes, y)
        own = np.arange(len(z)), index
        # Against overflow the largest predictor of a row becomes 0, in place: the hot loop.
        derivative = np.subtract(z, z.max(axis=1, keepdims=True), dtype=np.float64)
        value = -derivative[own]
        np.exp(derivative, out=derivative)
        total = derivative.sum(axis=1)
        value += np.log(total)
        derivative /= total[:, None]
        derivative[own] -= 1.0
        if self.class_weight is not None:
            weight = np.asarray(self.class_weight)[index]
            value *= weight
            derivative *= weight[:, None]
        return value, derivative

    def curvature(self, z: Vector, y: Vector) -> Vector:
        p = np.exp(np.subtract(z, z.max(axis=1, keepdims=True), dtype=np.float64))
        p /= p.sum(axis=1, keepdims=True)
        curvature: Vector = -p[:, :, None] * p[:, None, :]
        # p_k (1 - p_k) as minus the rest of the row, whose sum is zero: without the rounding of 1
        diagonal = np.einsum("ikk->ik", curvature)
        diagonal[:] = 0.0
        diagonal[:] = -curvature.sum(axis=2)
        if self.class_weight is not None:
            index = np.searchsorted(self.classes, y)
            curvature *= np.asarray(self.class_weight)[index, None, None]
        return curvature
