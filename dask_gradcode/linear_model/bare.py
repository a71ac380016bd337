"""Fitted models, bare: what prediction needs on a worker, which loads no scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_gradcode.typing import Matrix, Vector

__all__ = ["Classes", "Exp", "Linear"]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear model: client and history of the estimator need not travel to the workers.

    Parameters
    ----------
    coef : ndarray of shape (n_features,) or (n_features, n_outputs)
        Coefficients.
    intercept : float or ndarray of shape (n_outputs,)
        Intercepts.
    """

    coef: Vector | Matrix
    intercept: float | Vector

    def __call__(self, X: Any) -> Any:
        """Return ``X @ coef + intercept``."""
        return np.asarray(X @ self.coef + self.intercept)


@dataclass(frozen=True)
class Exp:
    """The exponential function of a linear model.

    Parameters
    ----------
    linear : Linear
        The model.
    """

    linear: Linear

    def __call__(self, X: Any) -> Any:
        """Return ``exp(X @ coef + intercept)``."""
        return np.exp(self.linear(X))


@dataclass(frozen=True, eq=False)
class Classes:
    """A classifier with a linear model of its classes.

    Parameters
    ----------
    scores : Linear
        Of one output for two classes, otherwise of one for each class.
    classes : ndarray of shape (n_classes,)
        The labels.
    """

    scores: Linear
    classes: Any

    def labels(self, X: Any) -> Any:
        """Return the most probable label of each row."""
        scores = self.scores(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes[index]

    def probabilities(self, X: Any) -> Any:
        """Return the probability of each class for each row."""
        from scipy.special import expit, softmax

        scores = self.scores(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)
