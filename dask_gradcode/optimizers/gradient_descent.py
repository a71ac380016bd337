"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dask_gradcode.optimizers.base import Callback, Memory, Optimizer, Solution
from dask_gradcode.optimizers.descent import Descent
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.optimizers.steps import Step, check_step, fixed_step
from dask_gradcode.typing import Objective, Vector

__all__ = ["GradientDescent"]


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """``w <- w - step * gradient``: one round an iteration, plus one for each rejected step.

    With an L1 penalty each step is followed by the penalty's own: the proximal gradient method.

    Parameters
    ----------
    step : "backtracking", float or callable, default="backtracking"
        Backtracking halves the step until the value falls by ``step/2 * ||gradient||^2`` and tries
        a step a quarter longer in the next iteration. A function gives the step of each iteration,
        from 0.

    Raises
    ------
    ValueError, TypeError
        If ``step`` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.typing import Evaluation
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> GradientDescent().minimize(bowl, np.array([3.0]), tol=1e-9).w
    array([0.])
    """

    step: Step = "backtracking"
    resumes_exactly: ClassVar[bool] = True

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
        penalty: L1 = NO_PENALTY,
        memory: Memory | None = None,
    ) -> Solution:
        return _Steepest(objective, w0, self.step, penalty).run(max_iter, tol, callback, memory)

    @property
    def takes_older(self) -> bool:
        return True

    def check_penalty(self, penalty: L1) -> None:
        pass


class _Steepest(Descent):
    def advance(self) -> bool:
        if self._step != "backtracking":
            length = fixed_step(self._step, self.n_iter)
            self.w = self.move(self.w, self.seen.gradient, length)
            self.seen = self.evaluate(self.w)
            return True
        found = self.search(self.w, self.seen)
        if found is None:
            return False
        self.w, self.seen = found
        self.length *= 1.25
        return True
