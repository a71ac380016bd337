"""Nesterov's accelerated gradient descent, and the update that the paper's authors run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dask_gradcode.optimizers.base import Callback, Memory, Optimizer, Solution
from dask_gradcode.optimizers.descent import Descent
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.optimizers.steps import Step, check_step, fixed_step
from dask_gradcode.typing import Objective, Vector

__all__ = ["Nesterov"]


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Accelerated gradient descent; with an L1 penalty, FISTA [3]_ with restarts.

    Parameters
    ----------
    step : "backtracking", float or callable, default="backtracking"
        A function gives the step of each iteration, from 0. Backtracking costs two rounds an
        iteration, one at the extrapolated point and one at the new one; the others cost one.
    momentum : {"nesterov", "paper"}, default="nesterov"
        ``"nesterov"`` takes the gradient at the extrapolated point and restarts when it points
        against the step [2]_. ``"paper"`` is the update of the authors of gradient coding [1]_:
        with ``theta = 2 / (t + 2)`` the new point is ``(1 - theta) b + theta u - step * gradient``,
        the gradient taken at ``b`` itself. It needs a fixed step or a schedule; ``step=10.0`` with
        ``C=0.5`` and no intercept is their experiment.

    Raises
    ------
    ValueError, TypeError
        If a parameter is none of these.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 6.
    .. [2] O'Donoghue and Candès, "Adaptive Restart for Accelerated Gradient Schemes", Foundations
       of Computational Mathematics 15, 2015, Section 3.2.
    .. [3] Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
       Problems", SIAM Journal on Imaging Sciences 2, 2009, Section 4.

    Examples
    --------
    >>> from dask_gradcode.typing import Evaluation
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> Nesterov(step=0.25).minimize(bowl, np.array([3.0]), tol=1e-6).converged
    True
    """

    step: Step = "backtracking"
    momentum: str = "nesterov"
    resumes_exactly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_step(self.step)
        if self.momentum not in ("nesterov", "paper"):
            raise ValueError(f"momentum must be 'nesterov' or 'paper', got {self.momentum!r}.")
        if self.momentum == "paper" and self.step == "backtracking":
            raise ValueError(
                "momentum='paper' needs a fixed step or a schedule, got step='backtracking'. "
                "The paper's experiment uses step=10.0."
            )

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
        self.check_penalty(penalty)
        run = _Paper if self.momentum == "paper" else _Accelerated
        return run(objective, w0, self.step, penalty).run(max_iter, tol, callback, memory)

    @property
    def takes_older(self) -> bool:
        return self.momentum == "nesterov"  # the authors' update goes astray

    def check_penalty(self, penalty: L1) -> None:
        if self.momentum == "paper":
            super().check_penalty(penalty)


class _Paper(Descent):
    """The authors' update; ``b`` and ``u`` as in their code."""

    keeps = (*Descent.keeps, "u")

    def __init__(self, objective: Objective, w0: Vector, step: Step, penalty: L1) -> None:
        super().__init__(objective, w0, step, penalty)
        self.u = self.w

    def advance(self) -> bool:
        b, theta = self.w, 2.0 / (self.n_iter + 2.0)
        y = (1.0 - theta) * b + theta * self.u
        self.w = y - fixed_step(self._step, self.n_iter) * self.seen.gradient
        self.u = b + (self.w - b) / theta
        self.seen = self.evaluate(self.w)
        return True


class _Accelerated(Descent):
    """Nesterov's method: a gradient step from an extrapolated point.

    With a given step the gradient is known at the extrapolated points only, so these are the
    iterates ``w``; with backtracking the new point is evaluated anyway and is the iterate.
    """

    keeps = (*Descent.keeps, "previous", "t", "factor")

    def __init__(self, objective: Objective, w0: Vector, step: Step, penalty: L1) -> None:
        super().__init__(objective, w0, step, penalty)
        self.previous = self.w  # the end of the last gradient step
        self.t, self.factor = 1.0, 0.0

    def advance(self) -> bool:
        if self._step == "backtracking":
            return self._search()
        x = self.move(self.w, self.seen.gradient, fixed_step(self._step, self.n_iter))
        self._choose_momentum(self.w - x, x - self.previous)
        self.w, self.previous = x + self.factor * (x - self.previous), x
        self.seen = self.evaluate(self.w)
        return True

    def _search(self) -> bool:
        # self.w is the last accepted point; the momentum leads from it to y
        y, at_y = self.w, self.seen
        if self.factor:
            y = self.w + self.factor * (self.w - self.previous)
            at_y = self.evaluate(y)
        found = self.search(y, at_y)
        if found is None:
            return False
        self._choose_momentum(y - found[0], found[0] - self.w)
        self.previous = self.w
        self.w, self.seen = found
        self.length *= 1.2
        return True

    def _choose_momentum(self, descent: Vector, step: Vector) -> None:
        """Set the momentum that follows a step; none after one that goes uphill.

        ``descent`` is what the gradient, and the penalty's step, have moved the point back by.
        """
        if descent @ step > 0.0:
            self.t = 1.0
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self.t**2))
        self.factor = float((self.t - 1.0) / after)
        self.t = after
