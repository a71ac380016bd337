"""What every optimizer is: something that minimises an objective whose calls are cluster rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["Callback", "Optimizer", "Solution", "checked"]

Callback = Callable[[int, Vector, Evaluation], None]
"""Called as ``callback(n_iter, w, evaluation)`` after each accepted iteration."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where an optimizer ended.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,)
        The point.
    value : float
        The objective there.
    gradient : ndarray of shape (n_parameters,)
        Its gradient there.
    n_iter : int
        Accepted iterations.
    converged : bool
        Whether the optimizer's stopping rule was met.
    message : str
        Why it ended, in words.
    """

    w: Vector
    value: float
    gradient: Vector
    n_iter: int
    converged: bool
    message: str


class Optimizer(ABC):
    """Minimises an objective. An immutable value: a frozen dataclass of its parameters.

    Every call of the objective is a round of the whole cluster, also a trial step's, so none is
    made twice and none is hidden. Errors and interrupts in the objective pass through.

    Attributes
    ----------
    needs_exact : bool
        Whether it breaks down on approximate sums, as line searches with curvature do.
    """

    needs_exact: ClassVar[bool] = False

    @abstractmethod
    def minimize(
        self,
        objective: Objective,
        w0: Vector,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        callback: Callback | None = None,
        penalty: L1 = NO_PENALTY,
    ) -> Solution:
        """Minimise.

        Parameters
        ----------
        objective : Objective
            What to minimise.
        w0 : ndarray of shape (n_parameters,)
            Where to start; not modified.
        max_iter : int, default=100
            Most accepted iterations.
        tol : float, default=1e-4
            Converged when ``max |gradient| <= tol``.
        callback : callable, optional
            ``callback(n_iter, w, evaluation)``, after each accepted iteration.
        penalty : L1, optional
            Added to the objective, and to the gradient that must be small its shortest subgradient.
            Zeros are exact. Evaluations, and the solution's value and gradient, are without it.

        Returns
        -------
        Solution
            The last accepted point.

        Raises
        ------
        FloatingPointError
            If value or gradient stop being finite.
        ValueError
            For a penalty that the optimizer does not take.
        """

    def check_penalty(self, penalty: L1) -> None:
        """Raise ValueError for a penalty that ``minimize`` does not take: here, any.

        Parameters
        ----------
        penalty : L1
            Of strength 0 it is none.
        """
        if penalty.strength:
            raise ValueError(
                f"{self!r} needs a smooth objective and takes no L1 penalty (l1_ratio > 0). Use "
                "Nesterov(), which is solver='nesterov', or GradientDescent()."
            )


def checked(seen: Evaluation, n_iter: int) -> Evaluation:
    """Return an evaluation, or raise FloatingPointError if it is not finite."""
    if not (np.isfinite(seen.value) and np.isfinite(seen.gradient).all()):
        raise FloatingPointError(
            f"The objective is not finite in iteration {n_iter}: value {seen.value}. A given step "
            "may be too long (step='backtracking' finds one), or the features too large (scale "
            "them)."
        )
    return seen
