"""Nesterov's accelerated gradient descent, and the update that the paper's authors run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gradcode.optimizers.base import Callback, Optimizer, Solution, checked, is_optimal
from dask_gradcode.optimizers.steps import MAX_HALVINGS, Step, check_step, decreases, fixed_step
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["Nesterov"]


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Accelerated gradient descent.

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

    Examples
    --------
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> Nesterov(step=0.25).minimize(bowl, np.array([3.0]), tol=1e-6).converged
    True
    """

    step: Step = "backtracking"
    momentum: str = "nesterov"

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
    ) -> Solution:
        run = _Paper if self.momentum == "paper" else _Accelerated
        state = run(objective, w0.copy(), self.step)
        while not is_optimal(state.seen, tol):
            if state.n_iter == max_iter:
                return state.solution(False, "The iteration limit was reached.")
            if not state.advance():
                return state.solution(False, "No step decreases the value.")
            if callback is not None:
                callback(state.n_iter, state.w, state.seen)
        return state.solution(True, "The gradient is small.")


class _Run:
    """One minimisation: the point ``w`` whose gradient is known, and what was seen there."""

    def __init__(self, objective: Objective, w0: Vector, step: Step) -> None:
        self._objective, self._step = objective, step
        self.w, self.n_iter = w0, 0
        self.seen = self._evaluate(w0)

    def _evaluate(self, w: Vector) -> Evaluation:
        return checked(self._objective(w), self.n_iter)

    def advance(self) -> bool:
        """Make one iteration; False if no step decreases the value."""
        raise NotImplementedError

    def solution(self, converged: bool, message: str) -> Solution:
        return Solution(
            self.w, self.seen.value, self.seen.gradient, self.n_iter, converged, message
        )


class _Paper(_Run):
    """The authors' update; ``b`` and ``u`` as in their code."""

    def __init__(self, objective: Objective, w0: Vector, step: Step) -> None:
        super().__init__(objective, w0, step)
        self._u = w0

    def advance(self) -> bool:
        b, theta = self.w, 2.0 / (self.n_iter + 2.0)
        y = (1.0 - theta) * b + theta * self._u
        self.w = y - fixed_step(self._step, self.n_iter) * self.seen.gradient
        self._u = b + (self.w - b) / theta
        self.n_iter += 1
        self.seen = self._evaluate(self.w)
        return True


class _Accelerated(_Run):
    """Nesterov's method: a gradient step from an extrapolated point.

    With a given step the gradient is known at the extrapolated points only, so these are the
    iterates ``w``; with backtracking the new point is evaluated anyway and is the iterate.
    """

    def __init__(self, objective: Objective, w0: Vector, step: Step) -> None:
        super().__init__(objective, w0, step)
        self._previous = w0  # the end of the last gradient step
        self._t = 1.0
        self._length = 1.0  # the step that backtracking tries first

    def advance(self) -> bool:
        if self._step == "backtracking":
            return self._search()
        x = self.w - fixed_step(self._step, self.n_iter) * self.seen.gradient
        y = self._extrapolate(x, self.seen.gradient)
        self.n_iter += 1
        self.w, self.seen = y, self._evaluate(y)
        return True

    def _search(self) -> bool:
        # self.w is the last accepted point; the momentum leads from it to y
        y = self.w + self._momentum * (self.w - self._previous) if self.n_iter else self.w
        at_y = self._evaluate(y) if self.n_iter else self.seen
        square = float(at_y.gradient @ at_y.gradient)
        for _ in range(MAX_HALVINGS):
            x = y - self._length * at_y.gradient
            there = self._objective(x)
            if decreases(at_y, there, 0.5 * self._length * square):
                break
            self._length *= 0.5
        else:
            return False
        restart = float(at_y.gradient @ (x - self.w)) > 0.0
        self._advance_t(restart)
        self._previous, self.w, self.seen = self.w, x, there
        self.n_iter += 1
        self._length *= 1.2
        return True

    def _extrapolate(self, x: Vector, gradient: Vector) -> Vector:
        restart = float(gradient @ (x - self._previous)) > 0.0
        self._advance_t(restart)
        y = x + self._momentum * (x - self._previous)
        self._previous = x
        return y

    def _advance_t(self, restart: bool) -> None:
        if restart:
            self._t = 1.0
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self._t**2))
        self._momentum = 0.0 if restart else (self._t - 1.0) / after
        self._t = after
