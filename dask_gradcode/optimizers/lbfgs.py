"""L-BFGS: scipy's, set as scikit-learn sets it."""

from __future__ import annotations

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


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Limited-memory BFGS: scipy's L-BFGS-B, whose iterates are then scikit-learn's.

    As in scikit-learn it has also converged when an iteration lowers the value by less than 64
    float64 roundings, however large the gradient still is.

    From a memory it is a warm start: it goes on from the point, but learns curvature anew.

    Parameters
    ----------
    n_corrections : int, default=10
        Pairs of steps and gradient changes that it remembers. More need fewer rounds where the
        problem is large and sparse, and cost time on the client only.

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
    needs_exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        n = self.n_corrections
        if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
            raise ValueError(f"n_corrections must be an int in the range [1, inf), got {n!r}.")

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
        run = _Run(objective, callback, memory)
        w0, before = (w0, 0) if run.start is None else (run.start, run.n_iter)
        if max_iter <= before:  # scipy would make one iteration
            run.evaluate(w0.copy())
            return run.solution(w0.copy(), tol, 1, f"max_iter is {max_iter}.")
        result = minimize(
            run.evaluate,
            w0.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=run.accept,
            options={
                "maxiter": max_iter - before,
                "maxfun": 100 * max_iter,  # more than maxls trials an iteration: never binds
                "maxls": 50,
                "gtol": tol,
                "ftol": 64 * np.finfo(float).eps,
                "maxcor": self.n_corrections,
            },
        )
        return run.solution(result.x, tol, result.status, str(result.message))


class _Run:
    """What scipy evaluated, so that the accepted points need no second round."""

    def __init__(
        self, objective: Objective, callback: Callback | None, memory: Memory | None
    ) -> None:
        self._objective, self._callback = objective, callback
        self._memory = {} if memory is None else memory
        self._last: tuple[Vector, Evaluation] | None = None  # the newest evaluation
        self._accepted: tuple[Vector, Evaluation] | None = None
        self.start: Vector | None = None
        self.n_iter = 0
        if self._memory:
            self.n_iter, self.start, seen = recalled(self._memory)
            self._last = self.start, seen

    def evaluate(self, w: Vector) -> tuple[float, Vector]:
        # A failing line search comes back to points that it has seen: no round for those.
        for known in (self._last, self._accepted):
            if known is not None and np.array_equal(w, known[0]):
                self._last = known
                break
        else:
            self._last = w.copy(), checked(self._objective(w), self.n_iter + 1)
        if self._accepted is None:
            self._accepted = self._last
        _, seen = self._last
        return seen.value, seen.gradient

    def accept(self, intermediate_result: Any) -> None:
        # An iteration ends with the point that was evaluated last.
        assert self._last is not None
        self._accepted = self._last
        self.n_iter += 1
        remember(self._memory, self.n_iter, *self._accepted)
        if self._callback is not None:
            self._callback(self.n_iter, *self._accepted)

    def solution(self, w: Vector, tol: float, status: int, message: str) -> Solution:
        assert self._accepted is not None
        assert self._last is not None
        point, seen = self._last if np.array_equal(w, self._last[0]) else self._accepted
        # A line search that fails below the rounding of the gradient is the end of what float64
        # can tell, not a failure.
        converged = status == 0 or NO_PENALTY.is_optimal(w, seen, tol)
        return Solution(point, seen.value, seen.gradient, self.n_iter, converged, message)
