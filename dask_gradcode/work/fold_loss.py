"""A loss without the rows of a fold, and scores on that fold's rows: in one pass for many folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dask_gradcode.losses import Layout, Logistic, Loss, Multinomial
from dask_gradcode.typing import Vector
from dask_gradcode.work.points import LossAtPoints

__all__ = ["SCORES", "FoldLoss"]

Score = Callable[[Vector, Vector], Vector]


_MOST = float(-np.log(np.finfo(float).eps))


def _is_right(z: Vector, label: Vector) -> Vector:
    """Say whether a row is predicted right."""
    predicted = z > 0.0 if z.ndim == 1 else z.argmax(axis=1)
    return np.asarray(predicted == label, dtype=np.float64)


def _log_probability(z: Vector, label: Vector) -> Vector:
    """Return the logarithm of the probability of a row's own label, bounded as scikit-learn's."""
    lost = _of(z).pointwise(z, label)[0]
    return -np.minimum(lost, _MOST)


def _closeness(z: Vector, label: Vector) -> Vector:
    """Return minus the squared distance between probabilities and what has come to pass."""
    difference = _of(z).pointwise(z, label)[1]  # as the derivative is
    return np.asarray(-(difference**2 if z.ndim == 1 else (difference**2).sum(axis=1)))


def _of(z: Vector) -> Loss:
    return Logistic() if z.ndim == 1 else Multinomial(tuple(np.arange(float(z.shape[1]))))


SCORES: dict[str, Score] = {
    "accuracy": _is_right,
    "neg_log_loss": _log_probability,
    "neg_brier_score": _closeness,
}
"""By name the score of each row, whose weighted mean scikit-learn's score of that name is.

Called with linear predictors, of shape (n_rows,) for two labels, else (n_rows, n_labels), and with
labels 0, 1, ..."""


@dataclass(frozen=True)
class FoldLoss(LossAtPoints):
    """The loss of all rows but those of a fold, which a point's last parameter names.

    A row's target is ``n_labels * fold + label``. At a point whose last parameter is ``f >= 0`` the
    loss of fold ``f`` counts nothing; if there is no such fold, all rows count. At ``-1 - f`` the
    value is the sum of a score of fold ``f``'s rows, and the gradient is zero.

    Parameters
    ----------
    loss : Loss
        Of labels 0, 1, ..., with no parameters of its own.
    n_points : int, default=1
        How many points there are.
    n_labels : int, default=2
        How many labels.
    score : {"accuracy", "neg_log_loss", "neg_brier_score"}, default="accuracy"
        Which score: a key of :data:`SCORES`.

    Examples
    --------
    Two rows, of fold 0 and of fold 1, both with label 1 and a linear predictor of 2:

    >>> loss, y = FoldLoss(Logistic()), np.array([1.0, 3.0])
    >>> value, slope = loss.pointwise(np.array([[2.0, 0.0], [2.0, 0.0]]), y)
    >>> value.round(3), slope.round(3)
    (array([0.   , 0.127]), array([[-0.   ,  0.   ],
           [-0.119,  0.   ]]))
    >>> loss.pointwise(np.array([[2.0, -1.0], [2.0, -1.0]]), y)[0]
    array([1., 0.])
    """

    n_points: int = 1
    n_labels: int = 2
    score: str = "accuracy"

    def layout(self, n_features: int, size: int) -> Layout:
        n = self.n_points
        of_all = LossAtPoints(self.loss, n).layout(n_features, size - n)
        return replace(of_all, n_own=n)

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        n, folds = self.n_points, z[0, -self.n_points :]
        linear = z[:, :-n] if z.shape[1] > 2 else z[:, 0]
        fold, label = np.divmod(y, self.n_labels)
        value, slopes = super().pointwise(linear, label)
        counts = (fold[:, None] != folds) & (folds >= 0.0)
        value *= counts.T
        derivative = np.empty(z.shape)
        derivative[:, -n:] = 0.0
        of_points = len(z), -1, n
        np.multiply(
            slopes.reshape(of_points),
            counts[:, None],
            out=derivative[:, :-n].reshape(of_points),  # a view
        )
        for k in np.flatnonzero(folds < 0.0):
            held = np.flatnonzero(fold == -1.0 - folds[k])
            at_point = z[held, k:-n:n]
            at_point = at_point if at_point.shape[1] > 1 else at_point[:, 0]
            value[k, held] = SCORES[self.score](at_point, label[held])
        return value if n > 1 else value[0], derivative
