"""A loss without the rows of a fold, and scores on that fold's rows: in one pass for many folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dask_gradcode.kernels import add_value_and_gradient, runs_of_rows
from dask_gradcode.losses import Logistic, Loss, Multinomial
from dask_gradcode.payloads import Statistic
from dask_gradcode.several import Several
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work
from dask_gradcode.work.points import LossAtPoints, ManyPointsWork

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
"""By name the score of each row; its weighted mean is scikit-learn's score of that name.

Called with linear predictors, of shape (n_rows,) for two labels or (n_rows, n_labels), and with
labels 0, 1, ..."""


@dataclass(frozen=True)
class FoldLoss(ManyPointsWork):
    """The loss of all rows outside a fold, which a point's last parameter names.

    A row's target is ``n_labels * fold + label``. At a point whose last parameter is ``f >= 0`` the
    loss of fold ``f`` counts nothing; if there is no such fold, all rows count. At ``-1 - f`` the
    value is the sum of a score of fold ``f``'s rows, and the gradient is zero. The last entry of a
    gradient is zero in any case.

    Parameters
    ----------
    loss : Loss
        Of labels 0, 1, ..., with no parameters of its own.
    n_labels : int, default=2
        How many labels.
    score : {"accuracy", "neg_log_loss", "neg_brier_score"}, default="accuracy"
        Which score: a key of :data:`SCORES`.
    n_points : int, default=1
        How many points there are.
    run : slice, optional
        Which rows of a block. None: all of them.

    Examples
    --------
    Two rows, of fold 0 and of fold 1, both with label 1:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.objective import InProcessObjective
    >>> block = Block(np.array([[1.0], [2.0]]), np.array([1.0, 3.0]))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, FoldLoss(Logistic()))
    >>> seen = objective.many([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    >>> [round(one.value, 3) for one in seen]  # log loss of the one, of the other; and a score
    [0.127, 0.313, 1.0]
    >>> seen[0].gradient.round(3)
    array([-0.238,  0.   ])
    """

    loss: Loss
    n_labels: int = 2
    score: str = "accuracy"
    n_points: int = 1
    run: slice | None = field(default=None, repr=False)

    def at_points(self, n_points: int) -> Work:
        return replace(self, n_points=n_points)

    def statistic(self, w: Vector) -> Statistic:
        n = self.n_points
        return Statistic.at(w) if n == 1 else Several(Statistic(w.size // n), n)

    @property
    def per_column(self) -> int:
        return self.loss.n_outputs * self.n_points

    @property
    def is_foreign(self) -> bool:
        return False

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        runs = runs_of_rows(block.X, self.per_column, w.size)
        return [replace(self, run=run) for run in runs] if len(runs) > 1 else (self,)

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        statistic, folds = self.statistic(w), w[-self.n_points :]
        loss = _Bound(self.loss, self.n_points, folds, self.n_labels, SCORES[self.score])
        X, y, weight, w = block.X, block.y, block.sample_weight, w[: -self.n_points]
        return add_value_and_gradient(
            loss, X, y, weight, w, coefficient, out, should_stop, self.run, statistic
        )


@dataclass(frozen=True, eq=False)
class _Bound(LossAtPoints):
    """The same where it is known which folds are left out."""

    folds: Vector
    n_labels: int
    score: Score

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        n, (fold, label) = self.n_points, np.divmod(y, self.n_labels)
        if (self.folds < 0.0).all():  # only scores
            value, slopes = np.zeros((n, len(z))), np.zeros(z.shape)
        else:
            value, slopes = super().pointwise(z, label)
        counts = (fold[:, None] != self.folds) & (self.folds >= 0.0)
        value = value * counts.T
        columns = slopes.reshape(len(z), -1, n)
        columns *= counts[:, None]
        for k in np.flatnonzero(self.folds < 0.0):
            held = np.flatnonzero(fold == -1.0 - self.folds[k])
            at_point = z.reshape(len(z), -1, n)[held, :, k]
            at_point = at_point if at_point.shape[1] > 1 else at_point[:, 0]
            value[k, held] = self.score(at_point, label[held])
        return value if n > 1 else value[0], slopes
