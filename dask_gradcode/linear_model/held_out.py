"""Cross-validation of least squares by sums alone: models without a fold, and scores on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from numbers import Real
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Evaluation, Matrix, Vector

__all__ = ["DEFAULT_SCORING", "SCORES", "Folded", "check_sizes", "strengths"]

Score = Callable[[Vector, float, float], Vector]

_NOISE = 1e-14
"""So small a share of their mean square is the spread of targets by rounding alone."""


def _share_explained(squares: Vector, weight: float, total: float) -> Vector:
    if total == 0.0:  # as scikit-learn has it
        return np.where(squares == 0.0, 1.0, 0.0)
    return np.asarray(1.0 - squares / total)


SCORES: dict[str, Score] = {
    "r2": _share_explained,
    "neg_mean_squared_error": lambda squares, weight, total: -squares / weight,
    "neg_root_mean_squared_error": lambda squares, weight, total: -np.sqrt(squares / weight),
}
"""What sums tell: of squared errors, of weights, and of squared deviations of the targets."""

DEFAULT_SCORING = "r2"


def check_sizes(scoring: str | None, sizes: NDArray[np.intp]) -> None:
    """Raise ValueError for folds that have too few rows for a score.

    Parameters
    ----------
    scoring : str or None
        A key of :data:`SCORES`; None is the default.
    sizes : ndarray of int, shape (n_folds,)
        Rows of each fold.
    """
    if (scoring or DEFAULT_SCORING) == "r2" and sizes.min() < 2:
        raise ValueError(
            f"R^2 needs two rows in each fold, and {sizes.sum()} rows in {len(sizes)} folds leave "
            "one with fewer. Use fewer folds, or scoring='neg_mean_squared_error'."
        )


def strengths(alphas: Any, *, may_be_zero: bool) -> Vector:
    """Return the strengths of the penalty to try, or raise in scikit-learn's words.

    Parameters
    ----------
    alphas : float or array-like of shape (n_alphas,)
        As a user gives them.
    may_be_zero : bool
        Whether there may be no penalty.

    Examples
    --------
    >>> strengths(3, may_be_zero=False)
    array([3.])
    >>> strengths([1.0, 0.0], may_be_zero=False)
    Traceback (most recent call last):
    ValueError: alphas[1] == 0.0, must be > 0.0.
    """
    found = np.asarray(alphas, dtype=np.float64)
    if found.ndim > 1 or not found.size:
        raise ValueError(f"alphas must be a number or a list of them, got {alphas!r}.")
    found = found.reshape(-1)
    boundaries = "left" if may_be_zero else "neither"
    for index, alpha in enumerate(found):
        name = f"alphas[{index}]" if len(found) > 1 else "alphas"
        check_scalar(alpha, name, Real, min_val=0.0, include_boundaries=boundaries)
    return found


@dataclass(frozen=True, eq=False)
class Folded:
    """Half the squared errors of each fold's rows, as functions of coefficients and intercept.

    Parameters
    ----------
    folds : sequence of Quadratic
        Of each fold. The last parameter is the intercept, of columns from which a shift was taken.
    lengths : ndarray of shape (n_features,)
        About how large each coefficient is.
    has_intercept : bool
        Whether models have one; if not, it stays what it is, zero.

    Examples
    --------
    >>> def fold(x, y):
    ...     rows = np.array([[x * x, x], [x, 1.0]])
    ...     return Quadratic(np.zeros(2), 0.5 * y * y, -np.array([x * y, y]), rows)
    >>> folds = [fold(1.0, 1.0), fold(2.0, 4.0)]
    >>> folded = Folded(folds, np.ones(1), has_intercept=False)
    >>> folded.scores([1.0], SCORES["neg_mean_squared_error"])
    array([[-0.36],
           [-9.  ]])
    >>> folded.models(folded.whole, [1.0])
    array([[1.5, 0. ]])
    """

    folds: Sequence[Quadratic]
    lengths: Vector
    has_intercept: bool

    @classmethod
    def told(
        cls,
        sums: Matrix,
        coordinates: Coordinates,
        at: Vector,
        about: Vector | None,
        *,
        has_intercept: bool,
    ) -> Folded:
        """Return what one round has told.

        Parameters
        ----------
        sums : ndarray of shape (n_folds, n_numbers)
            Of :class:`~dask_gradcode.work.Folds`: value, gradient and Hessian of each fold. The
            last of the features are fold numbers.
        coordinates : Coordinates
            Of the features and an intercept, by which the sums are scaled.
        at : ndarray of shape (n_features + 1,)
            Where they were evaluated, coefficients of zero.
        about : ndarray of shape (n_features,) or None
            What was taken from columns for the Hessians.
        has_intercept : bool
            Whether models have one.
        """
        statistic, u = Statistic.at(at, order=2), coordinates.to_solver(at)
        lengths = np.append(coordinates.lengths, coordinates.unit)
        kept = np.delete(np.arange(at.size), at.size - 2)

        def quadratic(numbers: Vector) -> Quadratic:
            value, gradient = float(statistic.value(numbers)), statistic.gradient(numbers)
            seen = Evaluation(value, gradient, hessian=statistic.hessian(numbers))
            seen = coordinates.evaluation(seen, about)
            assert seen.hessian is not None
            scaled = Quadratic(u, seen.value, seen.gradient, seen.hessian)
            return scaled.only(kept).scaled(lengths[kept], coordinates.size)

        folds = [quadratic(numbers) for numbers in sums]
        return cls(folds, lengths[kept][:-1], has_intercept)

    @property
    def whole(self) -> Quadratic:
        """Of all rows."""
        return reduce(add, self.folds)

    def models(self, rows: Quadratic, alphas: Sequence[float] | Vector) -> Matrix:
        """Return coefficients and intercept of some rows' models, of shape (n_alphas, n + 1)."""
        n = self.lengths.size
        if not self.has_intercept:
            slopes = rows.only(slice(n))
            return np.array([[*slopes.ridge(a, self.lengths), 0.0] for a in alphas])
        slopes = rows.leading(n)
        return np.array([rows.completed(slopes.ridge(a, self.lengths)) for a in alphas])

    def scores(self, alphas: Sequence[float] | Vector, score: Score) -> Matrix:
        """Return the score of each strength on each fold, of shape (n_folds, n_alphas)."""
        return np.array(
            [
                score(self._squares(held, self.models(others, alphas)), *_weight_and_total(held))
                for held, others in zip(self.folds, self._others(), strict=True)
            ]
        )

    def _others(self) -> Iterator[Quadratic]:
        """Yield what models are fitted to: added up, as to subtract a fold would lose digits."""
        for fold, held in enumerate(self.folds):
            others = reduce(add, [*self.folds[:fold], *self.folds[fold + 1 :]])
            for rows, what in ((held, ""), (others, "not ")):
                if not rows.hessian[-1, -1] > 0.0:
                    raise ValueError(
                        f"All rows that are {what}in fold {fold} have sample weight 0. Every fold, "
                        "and the others together, need a row that counts: use other folds."
                    )
            yield others

    @staticmethod
    def _squares(held: Quadratic, models: Matrix) -> Vector:
        return np.array([max(2.0 * held(model).value, 0.0) for model in models])


def _weight_and_total(held: Quadratic) -> tuple[float, float]:
    """Return the sum of weights, and that of squared deviations of the targets from the mean."""
    weight, slope = float(held.hessian[-1, -1]), float(held.gradient[-1])
    total = 2.0 * held.value - slope * slope / weight
    return weight, total if total > _NOISE * held.value else 0.0
