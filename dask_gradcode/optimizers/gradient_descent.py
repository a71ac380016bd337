"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.optimizers.base import Callback, Optimizer, Solution, checked, is_optimal
from dask_gradcode.optimizers.steps import MAX_HALVINGS, Step, check_step, decreases, fixed_step
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["GradientDescent"]


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """``w <- w - step * gradient``: one round an iteration, plus one for each rejected step.

    Parameters
    ----------
    step : "backtracking", float or callable, default="backtracking"
        Backtracking halves the step until the value falls by ``step/2 * ||gradient||^2`` and tries
        the double one in the next iteration. A function gives the step of each iteration, from 0.

    Examples
    --------
    >>> import numpy as np
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> GradientDescent().minimize(bowl, np.array([3.0]), tol=1e-9).w
    array([0.])
    """

    step: Step = "backtracking"

    def __post_init__(self) -> None:
        check_step(self.step)

    def minimize(
        self,
        objective: Objective,
        w0: Vector,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        callback: Callback | None = None,
    ) -> Solution:
        w, step = w0.copy(), 1.0
        seen = checked(objective(w), 0)
        for n_iter in range(max_iter):
            if is_optimal(seen, tol):
                return Solution(
                    w, seen.value, seen.gradient, n_iter, True, "The gradient is small."
                )
            if self.step == "backtracking":
                found = self._search(objective, w, seen, step)
                if found is None:
                    return Solution(
                        w, seen.value, seen.gradient, n_iter, False, "No step decreases the value."
                    )
                w, seen, step = found
            else:
                w = w - fixed_step(self.step, n_iter) * seen.gradient
                seen = checked(objective(w), n_iter + 1)
            if callback is not None:
                callback(n_iter + 1, w, seen)
        converged = is_optimal(seen, tol)
        message = "The gradient is small." if converged else "The iteration limit was reached."
        return Solution(w, seen.value, seen.gradient, max_iter, converged, message)

    @staticmethod
    def _search(
        objective: Objective, w: Vector, seen: Evaluation, step: float
    ) -> tuple[Vector, Evaluation, float] | None:
        """Return the accepted point, what was seen there, and the step to try next."""
        square = float(seen.gradient @ seen.gradient)
        for _ in range(MAX_HALVINGS):
            trial = w - step * seen.gradient
            there = objective(trial)
            if decreases(seen, there, 0.5 * step * square):
                return trial, there, 1.25 * step
            step *= 0.5
        return None
