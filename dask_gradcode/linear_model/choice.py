"""Which strengths of a penalty to try, and what cross-validation tells of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from dask_gradcode.linear_model.candidates import Fitted
from dask_gradcode.typing import Matrix, Vector

__all__ = [
    "DEFAULT_SCORING",
    "Paths",
    "refuse_other_penalties",
    "refuse_other_scores",
    "strengths",
]

DEFAULT_SCORING = "accuracy"

_ROUNDING = 1e-10
"""Scores, and sums of them, that are nearer than that to each other are the same but for rounding,
to which decoding adds its own."""


def strengths(Cs: Any) -> Vector:
    """Return inverse strengths of the penalty, as scikit-learn takes them.

    Parameters
    ----------
    Cs : int or array-like of shape (n_cs,)
        A number stands for so many from 1e-4 to 1e4.

    Raises
    ------
    ValueError
        If they are none, or not all above zero.

    Examples
    --------
    >>> strengths(3)
    array([1.e-04, 1.e+00, 1.e+04])
    """
    if isinstance(Cs, Integral):
        return np.logspace(-4, 4, int(Cs))
    try:
        found = np.asarray(Cs, dtype=np.float64)
    except (ValueError, TypeError):
        found = np.zeros(0)
    if found.ndim != 1 or not found.size or not (found > 0.0).all():
        raise ValueError(
            "Cs must be how many values to try, or a list of values in the range (0.0, inf], got "
            f"{Cs!r}."
        )
    return found


def refuse_other_penalties(l1_ratios: Any, estimator: str) -> None:
    """Raise for a penalty that is not the sum of squares alone.

    Parameters
    ----------
    l1_ratios : array-like or None
        Shares of the sum of absolute values.
    estimator : str
        The estimator that asks, for the text of the error.
    """
    if l1_ratios is not None and not (np.size(l1_ratios) and np.all(np.asarray(l1_ratios) == 0.0)):
        raise ValueError(
            f"{estimator} supports only 'l2' or None penalties, got l1_ratios={l1_ratios!r}. Use "
            "l1_ratios=(0.0,), or GridSearchCV(CodedLogisticRegression(solver='nesterov'), "
            "{'C': Cs, 'l1_ratio': l1_ratios}, cv=cv)."
        )


def refuse_other_scores(
    scoring: Any, scores: Collection[str], why: str, search: str, estimator: str
) -> None:
    """Raise for a score that rounds do not bring along.

    Parameters
    ----------
    scoring : object
        A name, None or any other object.
    scores : collection of str
        The scores that rounds do bring along.
    why : str
        What these have in common.
    search : str
        What to use for others: a search's arguments.
    estimator : str
        The estimator that asks, for the text of the error.
    """
    if scoring is not None and not (isinstance(scoring, str) and scoring in scores):
        raise InvalidParameterError(
            f"{estimator} takes scores that its rounds bring along, which are {why}: scoring must "
            f"be a str among {sorted(scores)} or None, got {scoring!r}. For others there is "
            f"GridSearchCV({search}, cv=cv, scoring={scoring!r})."
        )


@dataclass(frozen=True, eq=False)
class Paths:
    """Models of all folds and strengths, and their scores on the rows that they have not seen.

    Parameters
    ----------
    Cs : ndarray of shape (n_cs,)
        Inverse strengths of the penalty.
    models : ndarray of shape (n_folds, n_cs, n_parameters)
        Parameters of the models.
    scores, n_iter : ndarray of shape (n_folds, n_cs)
        Of each.

    Examples
    --------
    >>> scores = np.array([[0.5, 0.9, 0.9 + 1e-15], [0.6, 0.5, 0.4]])
    >>> models = np.array([[[1.0], [2.0], [3.0]], [[1.5], [2.5], [3.5]]])
    >>> paths = Paths(np.array([0.1, 1.0, 10.0]), models, scores, np.ones((2, 3), int))
    >>> paths.best()
    (1.0, array([2.25]))
    >>> paths.mean_of_bests()
    (0.55, array([1.75]))
    """

    Cs: Vector
    models: Vector
    scores: Matrix
    n_iter: Any

    @classmethod
    def of(cls, Cs: Vector, fits: Sequence[Fitted], weights: Vector) -> Paths:
        """Return what fits have told; they come fold after fold.

        Parameters
        ----------
        Cs : ndarray of shape (n_cs,)
            Inverse strengths of the penalty.
        fits : sequence of Fitted
            Of each fold one for each strength.
        weights : ndarray of shape (n_folds,)
            Sum of sample weights of each fold.
        """
        shape = len(weights), Cs.size
        sums = _whole_if_near(np.array([fit.score for fit in fits]).reshape(shape))
        models = np.array([fit.w for fit in fits]).reshape(*shape, -1)
        n_iter = np.array([fit.solution.n_iter for fit in fits], dtype=np.int32)
        return cls(Cs, models, sums / weights[:, None], n_iter.reshape(shape))

    def best(self) -> tuple[float, Vector]:
        """Return the strength with the best mean score, and the mean of its models."""
        best = _best_of(self.scores.mean(axis=0))
        return float(self.Cs[best]), self.models[:, best].mean(axis=0)

    def mean_of_bests(self) -> tuple[float, Vector]:
        """Return the means of the best strengths and models of the folds."""
        bests = [_best_of(scores) for scores in self.scores]
        return float(self.Cs[bests].mean()), self.models[range(len(bests)), bests].mean(axis=0)


def _best_of(scores: Vector) -> int:
    """Return which score is the largest: the first, if several are equal but for rounding."""
    largest = np.max(scores)
    return int(np.argmax(scores >= largest - _ROUNDING * max(1.0, abs(largest))))


def _whole_if_near(sums: Matrix) -> Matrix:
    """Return sums; one that is a whole number but for rounding becomes that number."""
    whole = np.rint(sums)
    is_whole = np.abs(sums - whole) <= _ROUNDING * np.maximum(1.0, np.abs(whole))
    return np.where(is_whole, whole, sums)
