"""The loss of linear support vector classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["SquaredHinge"]


@dataclass(frozen=True)
class SquaredHinge(Loss):
    """``max(0, 1 - m)^2``, where the margin ``m`` is ``z`` for a class's own rows, else ``-z``.

    Of two classes there is one such loss, that of the second one. Of more there is one for each,
    against the rest of the rows, and the loss of a row is their sum: nothing but the round is
    common to them.

    Parameters
    ----------
    classes : tuple of float, default=(0.0, 1.0)
        The labels, ascending; of more than two, output ``k`` belongs to ``classes[k]``.
    class_weight : tuple of float, optional
        What the loss of each class is multiplied by. The rest, where there are more than two
        classes, has the weight one whatever it is made of, as in LIBLINEAR. None: one for all.

    Raises
    ------
    ValueError
        If the classes are not at least two ascending finite numbers, or the weights are not as many
        finite numbers >= 0.

    References
    ----------
    .. [1] Fan, Chang, Hsieh, Wang and Lin, "LIBLINEAR: A Library for Large Linear Classification",
       JMLR 9, 2008, Section 2.

    Examples
    --------
    >>> value, derivative = SquaredHinge().pointwise(np.array([0.5, 2.0]), np.array([1.0, 0.0]))
    >>> value, derivative
    (array([0.25, 9.  ]), array([-1.,  6.]))
    """

    classes: tuple[float, ...] = (0.0, 1.0)
    class_weight: tuple[float, ...] | None = None
    has_curvature: ClassVar[bool] = True

    def __post_init__(self) -> None:
        classes = np.asarray(self.classes, dtype=float)
        if classes.ndim != 1 or not np.isfinite(classes).all() or len(classes) < 2:
            raise ValueError(f"SquaredHinge needs at least two finite classes, got {self.classes}.")
        if not (np.diff(classes) > 0).all():
            raise ValueError(f"SquaredHinge needs ascending classes, got {self.classes}.")
        object.__setattr__(self, "classes", tuple(classes.tolist()))
        if self.class_weight is None:
            return
        weights = np.asarray(self.class_weight, dtype=float)
        if weights.shape != classes.shape or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                f"SquaredHinge needs a finite class_weight >= 0 for each of the {len(classes)} "
                f"classes, got {self.class_weight}. None weighs all classes alike."
            )
        object.__setattr__(self, "class_weight", tuple(weights.tolist()))

    @property
    def n_outputs(self) -> int:
        return 1 if len(self.classes) == 2 else len(self.classes)

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        sign, weight = self._sides(y)
        short = sign * z
        np.subtract(1.0, short, out=short)
        np.maximum(short, 0.0, out=short)  # of the margin
        derivative = short * weight
        short *= derivative
        sign *= -2.0
        derivative *= sign
        return short if z.ndim == 1 else short.sum(axis=1), derivative

    def curvature(self, z: Vector, y: Vector) -> Vector:
        sign, weight = self._sides(y)
        # at a margin of one, where there is none, the one on the wrong side
        second: Vector = 2.0 * weight * (sign * z <= 1.0)
        if z.ndim == 1:
            return second
        curvature = np.zeros((*second.shape, second.shape[1]))
        np.einsum("ikk->ik", curvature)[:] = second
        return curvature

    def _sides(self, y: Vector) -> tuple[Vector, Any]:
        """Return on which side of each boundary rows belong, +1 or -1, and their weights."""
        if self.n_outputs == 1:
            own = y == self.classes[1]
        else:
            own = np.asarray(y)[:, None] == np.array(self.classes)
        sign = np.where(own, 1.0, -1.0)
        if self.class_weight is None or set(self.class_weight) == {1.0}:
            return sign, 1.0
        if self.n_outputs == 1:
            negative, positive = self.class_weight
            return sign, np.where(own, positive, negative)
        return sign, np.where(own, self.class_weight, 1.0)
