"""Newton's method: a Hessian a step, and few steps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import LinAlgWarning
from scipy.linalg.lapack import dpocon, dpotrf, dpotrs

from dask_gradcode.optimizers.base import (
    Callback,
    Memory,
    Optimizer,
    Solution,
    checked,
    recalled,
    remember,
)
from dask_gradcode.optimizers.lbfgs import LBFGS
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector, second_order

__all__ = ["NewtonCholesky", "solved"]

_SUFFICIENT = 2.0**-11
"""Which share of what the slope promises a step must lower the value by."""

_MAX_HALVINGS = 20

_ROUNDING = 1e-9
"""By how much of a value rounding may change it, generously: of columns far from zero it does."""


@dataclass(frozen=True)
class NewtonCholesky(Optimizer):
    """Newton's method with Cholesky factors of the Hessian: scikit-learn's "newton-cholesky".

    For many rows and few parameters, and for features of whatever scale: it needs five to ten
    rounds where :class:`LBFGS` needs dozens. Each message carries the upper triangle of a Hessian,
    so there may be at most ``most_parameters``: 4095, a triangle of 64 MiB. While they compute
    workers need about five times that, and the client about twelve times.

    The Hessian is asked for with the full step, which mostly is the one to take; shorter steps are
    tried by values and gradients alone. It is scaled to a diagonal of ones before it is factored.
    Where it is singular, or no step lowers the value, :class:`LBFGS` goes on from there, with a
    warning; it does so, too, in a fit that is resumed then.

    Examples
    --------
    >>> class Bowl:
    ...     def __call__(self, w):
    ...         return Evaluation(float(w @ w), 2 * w)
    ...
    ...     def second_order(self, w):
    ...         return Evaluation(float(w @ w), 2 * w, hessian=2 * np.eye(w.size))
    >>> solution = NewtonCholesky().minimize(Bowl(), np.array([3.0, 4.0]))
    >>> np.abs(solution.w).max() < 1e-14, solution.n_iter
    (np.True_, 1)
    """

    needs_exact: ClassVar[bool] = True
    resumes_exactly: ClassVar[bool] = True
    order: ClassVar[int] = 2
    most_parameters: ClassVar[int | None] = 4095

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
        self.check_size(w0.size)
        memory = {} if memory is None else memory
        if not memory.get("resorted"):
            run = _Run(objective, w0, memory)
            solution = run.until(max_iter, tol, callback)
            if solution is not None:
                return solution
            remember(memory, run.n_iter, run.w, run.seen, resorted=1)
        return LBFGS().minimize(
            objective, w0, max_iter=max_iter, tol=tol, callback=callback, memory=memory
        )


class _Run:
    """Newton's steps, up to the end or to where they lead no further."""

    def __init__(self, objective: Objective, w0: Vector, memory: Memory) -> None:
        self._objective, self._memory = objective, memory
        self._before = np.inf  # the largest entry of the gradient one iteration earlier
        self._is_hidden = False  # what is left, by rounding
        if memory:
            self.n_iter, self.w, self.seen = recalled(memory)
            self._before = memory.get("before", np.inf)
        else:
            self.n_iter, self.w = 0, w0.copy()
            self.seen = self._evaluate(self.w, 2)

    def until(self, max_iter: int, tol: float, callback: Callback | None) -> Solution | None:
        """Iterate until the gradient is small or the iterations are used up; None: L-BFGS shall."""
        while not self._is_there(tol):
            if self.n_iter >= max_iter:
                return self._solution(False, "The iteration limit was reached.")
            if self.seen.hessian is None:
                self.seen = self._evaluate(self.w, 2)
            step = self._step()
            before = _largest(self.seen)
            if step is None or not (self._search(step) or self._is_hidden):
                return None
            if self._is_hidden:
                is_there = NO_PENALTY.is_optimal(self.w, self.seen, tol)
                return self._solution(is_there, "Rounding hides what is left.")
            self.n_iter, self._before = self.n_iter + 1, before
            remember(self._memory, self.n_iter, self.w, self.seen, before=before)
            if callback is not None:
                callback(self.n_iter, self.w, self.seen)
        return self._solution(True, "The gradient is small.")

    def _is_there(self, tol: float) -> bool:
        """Say whether the gradient is small, or within its rounding and falls no more."""
        largest = _largest(self.seen)
        return largest <= tol or 0.5 * self._before < largest <= self.seen.rounding

    def _step(self) -> Vector | None:
        """Return Newton's step; None if the Hessian is singular."""
        assert self.seen.hessian is not None
        step = solved(self.seen.hessian, -self.seen.gradient)
        if step is None:
            warnings.warn(
                f"Newton's method stumbled upon a singular or very ill-conditioned Hessian matrix "
                f"at iteration {self.n_iter + 1}. It will now resort to lbfgs instead.\nFurther "
                "options are to use another solver or to avoid such situation in the first place. "
                "Possible remedies are removing collinear features of X or increasing the "
                "penalization strengths.",
                LinAlgWarning,
                stacklevel=5,
            )
        return step

    def _search(self, step: Vector) -> bool:
        """Halve a step until it lowers the value enough, and take it; False if none does."""
        slope, length = float(self.seen.gradient @ step), 1.0
        for n_halvings in range(_MAX_HALVINGS + 1):
            w = self.w + length * step
            there = self._evaluate(w, 1 if n_halvings else 2, is_trial=True)
            if _is_enough(self.seen, there, length * step, length * slope):
                self.w, self.seen = w, checked(there, self.n_iter + 1)
                return True
            if _are_alike(self.seen, there):  # and so they would be after a shorter step
                self._is_hidden = True
                return False
            length *= 0.5
        warnings.warn(
            f"Line search of Newton's method at iteration {self.n_iter + 1} did not converge after "
            f"{_MAX_HALVINGS + 1} line search refinement iterations. It will now resort to lbfgs "
            "instead.",
            stacklevel=4,
        )
        return False

    def _evaluate(self, w: Vector, order: int, *, is_trial: bool = False) -> Evaluation:
        seen = self._objective(w) if order == 1 else second_order(self._objective, w)
        return seen if is_trial else checked(seen, self.n_iter)

    def _solution(self, converged: bool, message: str) -> Solution:
        seen = self.seen
        return Solution(self.w, seen.value, seen.gradient, self.n_iter, converged, message)


def solved(hessian: Matrix, right: Vector) -> Vector | None:
    """Solve linear equations by a Cholesky factor of the matrix scaled to ones on its diagonal.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
        Symmetric.
    right : ndarray of shape (n,)
        The right-hand side.

    Returns
    -------
    ndarray of shape (n,) or None
        None for a matrix that is singular, to rounding, or has no such factor.

    Examples
    --------
    >>> solved(np.diag([4.0, 1.0]), np.ones(2)), solved(np.ones((2, 2)), np.ones(2))
    (array([0.25, 1.  ]), None)
    """
    diagonal = hessian.diagonal()
    if not (np.isfinite(hessian).all() and (diagonal > 0.0).all()):
        return None
    scale = 1.0 / np.sqrt(diagonal)
    scaled = scale[:, None] * hessian * scale
    factor, failed = dpotrf(scaled)
    if failed:
        return None
    norm = float(np.abs(scaled).sum(axis=0).max(initial=0.0))
    condition, _ = dpocon(factor, norm)  # the reciprocal of the condition number
    if condition <= right.size * np.finfo(float).eps:
        return None
    solution, _ = dpotrs(factor, scale * right)
    step: Vector = scale * solution
    return step


def _largest(seen: Evaluation) -> float:
    return float(np.abs(seen.gradient).max(initial=0.0))


def _is_enough(old: Evaluation, new: Evaluation, step: Vector, promised: float) -> bool:
    """Say whether a step lowers the value by a share of what its slope promises."""
    if new.value - old.value <= _SUFFICIENT * promised:
        return True
    # Where rounding hides so small a difference, the mean slope tells it.
    by_slope = 0.5 * float((old.gradient + new.gradient) @ step)
    return _are_alike(old, new) and by_slope <= _SUFFICIENT * promised


def _are_alike(old: Evaluation, new: Evaluation) -> bool:
    """Say whether rounding may be all that two values differ by."""
    return abs(new.value - old.value) <= _ROUNDING * abs(old.value)
