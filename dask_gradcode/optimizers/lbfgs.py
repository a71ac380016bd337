"""L-BFGS: scipy's, set as scikit-learn sets it."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from dask_gradcode.optimizers.base import Callback, Optimizer, Solution, checked
from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["LBFGS"]


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Limited-memory BFGS: scipy's L-BFGS-B, whose iterates are then scikit-learn's.

    As in scikit-learn it has also converged when an iteration lowers the value by less than 64
    float64 roundings, however large the gradient still is.

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
    ) -> Solution:
        self.check_penalty(penalty)
        run = _Run(objective, callback)
        if max_iter == 0:  # scipy would make one iteration
            run.evaluate(w0.copy())
            return run.solution(w0.copy(), 0, tol, status=1, message="max_iter is 0.")
        result = minimize(
            run.evaluate,
            w0.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=run.accept,
            options={
                "maxiter": max_iter,
                "maxfun": 100 * max_iter,  # more than maxls trials an iteration: never binds
                "maxls": 50,
                "gtol": tol,
                "ftol": 64 * np.finfo(float).eps,
                "maxcor": self.n_corrections,
            },
        )
        return run.solution(result.x, int(result.nit), tol, result.status, str(result.message))


class _Run:
    """What scipy evaluated, so that the accepted points need no second round."""

    def __init__(self, objective: Objective, callback: Callback | None) -> None:
        self._objective, self._callback = objective, callback
        self._last: tuple[Vector, Evaluation] | None = None  # the newest evaluation
        self._accepted: tuple[Vector, Evaluation] | None = None
        self._n_iter = 0

    def evaluate(self, w: Vector) -> tuple[float, Vector]:
        # A failing line search comes back to points that it has seen: no round for those.
        for known in (self._last, self._accepted):
            if known is not None and np.array_equal(w, known[0]):
                self._last = known
                break
        else:
            self._last = w.copy(), checked(self._objective(w), self._n_iter + 1)
        if self._accepted is None:
            self._accepted = self._last
        _, seen = self._last
        return seen.value, seen.gradient

    def accept(self, intermediate_result: Any) -> None:
        # An iteration ends with the point that was evaluated last.
        assert self._last is not None
        self._accepted = self._last
        self._n_iter += 1
        if self._callback is not None:
            self._callback(self._n_iter, *self._accepted)

    def solution(self, w: Vector, n_iter: int, tol: float, status: int, message: str) -> Solution:
        assert self._accepted is not None
        assert self._last is not None
        point, seen = self._last if np.array_equal(w, self._last[0]) else self._accepted
        # A line search that fails below the rounding of the gradient is the end of what float64
        # can tell, not a failure.
        converged = status == 0 or NO_PENALTY.is_optimal(w, seen, tol)
        return Solution(point, seen.value, seen.gradient, n_iter, converged, message)
