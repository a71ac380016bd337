"""L-BFGS: scipy's, set as scikit-learn sets it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from dask_gradcode.optimizers.base import (
    Callback,
    Memory,
    Optimizer,
    Solution,
    checked,
    recalled,
    remember,
)
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["LBFGS"]

_MOST_IN_VAIN = 100
"""Iterations with refined values in which the largest entry of the gradient must halve."""

_TRIES = 3
"""Refinements that may fail to halve it: a search fails by bad luck, too."""

_ROUNDING = 1e-9
"""By how much of a value rounding may change it, generously."""

_NOTICED = 1e-3
"""A share of the gradient by which a step changes it if there is anything in it."""

_FLAT = 1e-3
"""A curvature below which the objective is called flat, where most directions have about 1."""


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Limited-memory BFGS: scipy's L-BFGS-B, whose iterates are then scikit-learn's.

    Where an iteration lowers the value by less than 64 float64 roundings, scikit-learn's stops.
    This one goes on from there, with differences of the value that it takes from the gradients,
    until the gradient is small or falls no more.

    From a memory it is a warm start: it goes on from the point, but learns curvature anew.

    Parameters
    ----------
    n_corrections : int, default=10
        Pairs of steps and gradient changes that it remembers. More need fewer rounds where the
        problem is large and sparse, and cost time on the client only.
    careful : bool, default=False
        Whether a gradient must be smaller than ``tol`` where the objective is flat: by the square
        root of the smallest curvature that the remembered steps have met, in units of 1e-3. Along
        the floor of a valley gradients are small far from the minimum. For objectives that have a
        minimum, and mostly a curvature of about 1, as least squares of scaled columns.

    Raises
    ------
    ValueError
        If ``n_corrections`` is no positive int.

    Examples
    --------
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> LBFGS().minimize(bowl, np.array([3.0])).w
    array([0.])
    """

    n_corrections: int = 10
    careful: bool = False
    needs_exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        n = self.n_corrections
        if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
            raise ValueError(f"n_corrections must be an int in the range [1, inf), got {n!r}.")

    def __repr__(self) -> str:
        # as it was before there was ``careful``: checkpoints compare it
        return f"LBFGS(n_corrections={self.n_corrections}{', careful=True' * self.careful})"

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
        run = _Run(objective, callback, memory, tol, self.n_corrections if self.careful else 0)
        w = w0.copy() if run.start is None else run.start
        run.evaluate(w)
        if max_iter <= run.n_iter:  # scipy would make one iteration
            return run.solution(f"max_iter is {max_iter}.")
        if self.careful and run.is_there:
            return run.solution("The gradient is small.")
        while True:
            result = minimize(
                run.evaluate,
                run.inner(w),
                method="L-BFGS-B",
                jac=True,
                callback=run.accept,
                options={
                    "maxiter": max_iter - run.n_iter,
                    "maxfun": 100 * max_iter,  # more than maxls trials an iteration: never binds
                    "maxls": 50,
                    "gtol": 0.0 if self.careful else tol * run.reach,
                    "ftol": 0.0 if run.refined else 64 * np.finfo(float).eps,
                    "maxcor": self.n_corrections,
                },
            )
            run.end(result.x)
            solution = run.solution(str(result.message))
            if solution.converged or run.n_iter >= max_iter or not run.refine():
                return solution
            w = solution.w


class _Run:
    """What scipy evaluates, so that the accepted points need no second round.

    Attributes
    ----------
    refined : bool
        Whether values are differences, to a point near the minimum, that the gradients tell. scipy
        then sees ``(w - that point) / reach``, as its first step is of length 1.
    """

    def __init__(
        self,
        objective: Objective,
        callback: Callback | None,
        memory: Memory | None,
        tol: float,
        n_curvatures: int,
    ) -> None:
        self._objective, self._callback, self._tol = objective, callback, tol
        self._curvatures: deque[float] = deque(maxlen=n_curvatures)  # that steps have met
        self._memory = {} if memory is None else memory
        self._last: tuple[Vector, Evaluation] | None = None  # the newest evaluation
        self._accepted: tuple[Vector, Evaluation] | None = None
        self._tried: deque[tuple[Vector, Evaluation]] = deque(maxlen=20)  # since then
        self._step = 1.0  # the length of the newest one by which the gradient has changed
        self._fall = 0.0  # from where values were refined to the newest accepted point
        self._refined_at = np.inf  # the largest entry of the gradient there
        self._least = np.inf  # and since then
        self._n_vain = 0  # iterations that have not halved it
        self._n_failed = 0  # refinements that have not halved it
        self._origin: Vector | None = None
        self.refined, self.reach = False, 1.0
        self.start: Vector | None = None
        self.n_iter = 0
        if self._memory:
            self.n_iter, self.start, seen = recalled(self._memory)
            self._last = self.start, seen

    def inner(self, w: Vector) -> Vector:
        """Return what scipy has for a point."""
        return w.copy() if self._origin is None else (w - self._origin) / self.reach

    def evaluate(self, x: Vector) -> tuple[float, Vector]:
        """Evaluate a point of scipy's."""
        w = x if self._origin is None else self._origin + self.reach * x
        # A failing line search comes back to points that it has seen: no round for those.
        for known in (self._last, self._accepted, *self._tried):
            if known is not None and np.array_equal(w, known[0]):
                self._last = known
                break
        else:
            self._last = w.copy(), checked(self._objective(w), self.n_iter + 1)
            self._tried.append(self._last)
        if self._accepted is None:
            self._accepted = self._last
        return self._value(), self._last[1].gradient * self.reach

    def _value(self) -> float:
        assert self._last is not None
        assert self._accepted is not None
        (w, seen), (before, old) = self._last, self._accepted
        if not self.refined:
            return seen.value
        # So close to a minimum the difference of two values is all rounding, and that by the mean
        # slope is not; where they disagree by more than rounding it is no such place.
        by_slope = 0.5 * float((seen.gradient + old.gradient) @ (w - before))
        by_value = seen.value - old.value
        alike = abs(by_slope - by_value) <= _ROUNDING * abs(seen.value)
        return self._fall + (by_slope if alike else by_value)

    def accept(self, intermediate_result: Any) -> None:
        """Take note of an iteration, which ends with the point that was evaluated last."""
        assert self._last is not None
        assert self._accepted is not None
        self._fall = self._value()
        self._tried.clear()
        step = self._last[0] - self._accepted[0]
        change = self._last[1].gradient - self._accepted[1].gradient
        length = float(np.linalg.norm(step))
        self._curvatures.append(float(step @ change) / (length**2 or 1.0))
        if np.abs(change).max() > _NOTICED * _largest(self._accepted[1]):
            self._step = length  # others say where values are all rounding, not how far it is
        self._accepted = self._last
        self.n_iter += 1
        remember(self._memory, self.n_iter, *self._accepted)
        if self._callback is not None:
            self._callback(self.n_iter, *self._accepted)
        if self._curvatures and self.is_there:
            raise StopIteration
        if self.refined:
            largest = _largest(self._accepted[1])
            self._n_vain += 1
            if largest <= 0.5 * self._least:
                self._least, self._n_vain = largest, 0
            if self._n_vain >= _MOST_IN_VAIN:
                raise StopIteration

    def end(self, x: Vector) -> None:
        """Return to the point at which scipy has ended."""
        assert self._last is not None
        w = x if self._origin is None else self._origin + self.reach * x
        if np.array_equal(w, self._last[0]):
            self._accepted = self._last

    def refine(self) -> bool:
        """Go on from the accepted point with refined values; False if that has not helped."""
        assert self._accepted is not None
        largest = _largest(self._accepted[1])
        self._n_failed += largest > 0.5 * self._refined_at
        if self._n_failed == _TRIES:
            return False
        self.refined, self._refined_at, self._least = True, largest, largest
        self._fall, self._n_vain = 0.0, 0
        self._origin, self.reach = self._accepted[0], self._step or 1.0
        return True

    @property
    def is_there(self) -> bool:
        """Whether the accepted point is the end."""
        assert self._accepted is not None
        # A search that fails below the rounding of the gradient is the end of what float64 can
        # tell, not a failure.
        return NO_PENALTY.is_optimal(*self._accepted, self._goal())

    def _goal(self) -> float:
        """Return the largest entry that a gradient may have here."""
        flattest = max(min(self._curvatures, default=1.0), float(np.finfo(float).eps))
        return self._tol * float(np.sqrt(min(1.0, flattest / _FLAT)))

    def solution(self, message: str) -> Solution:
        """Return the accepted point as the end."""
        assert self._accepted is not None
        w, seen = self._accepted
        if "StopIteration" in message:
            message = f"The gradient {'is small' if self.is_there else 'falls no further'}."
        if not self.is_there and _largest(seen) <= self._tol:
            message += f" It should have fallen to {self._goal():.1e}, so flat is the objective."
        return Solution(w, seen.value, seen.gradient, self.n_iter, self.is_there, message)


def _largest(seen: Evaluation) -> float:
    return float(np.abs(seen.gradient).max(initial=0.0))
