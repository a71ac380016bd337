"""Solvers for least squares that need one round: for it tells the objective everywhere."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode.linear_model.descent import descend, to_explain
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.optimizers import (
    L1,
    NO_PENALTY,
    Callback,
    Memory,
    NewtonCholesky,
    Optimizer,
    Solution,
)
from dask_gradcode.optimizers.base import recalled, remember
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["Cholesky", "CoordinateDescent", "Descended"]


@dataclass(frozen=True, eq=False)
class Cholesky(Optimizer):
    """Solves the normal equations of least squares by a Cholesky factor, after one round.

    Parameters
    ----------
    lengths : ndarray of shape (n_slopes,), optional
        Of many minima, as with more features than rows, that one is taken where the slopes, times
        these, have the smallest norm. None: ones.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.work import Block
    >>> block = Block(np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([2.0, 4.0]))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Squared())
    >>> Cholesky().minimize(objective, np.zeros(2)).w
    array([1., 1.])
    """

    lengths: Vector | None = field(default=None, repr=False)
    needs_exact: ClassVar[bool] = True
    resumes_exactly: ClassVar[bool] = True
    order: ClassVar[int] = 2
    most_parameters: ClassVar[int | None] = NewtonCholesky.most_parameters

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
        if memory:
            n_iter, w, seen = recalled(memory)
            return _solution(w, seen, n_iter, "It was solved before.")
        model = Quadratic.seen(objective, w0)
        if max_iter < 1:
            return _solution(w0, model(w0), 0, "The iteration limit was reached.", False)
        n_slopes = w0.size if self.lengths is None else self.lengths.size
        lengths = 1.0 if self.lengths is None else self.lengths
        w = model.completed(model.leading(n_slopes).least(lengths))
        return _ended(model, w, 1, True, memory, callback)


@dataclass(frozen=True, eq=False)
class CoordinateDescent(Optimizer):
    """scikit-learn's coordinate descent, on what one round tells of least squares.

    Without an L1 penalty, and with nothing that keeps slopes positive, it is :class:`Cholesky`.

    Parameters
    ----------
    positive : bool, default=False
        Whether slopes must not be negative.
    lengths : ndarray of shape (n_slopes,), optional
        What one unit of each slope is as a coefficient: all coefficients have one strength of the
        penalty. None: ones.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.work import Block
    >>> block = Block(np.eye(2), np.array([3.0, 0.5]))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Squared())
    >>> CoordinateDescent().minimize(objective, np.zeros(2), penalty=L1(1.0, 2)).w
    array([2., 0.])
    """

    positive: bool = False
    lengths: Vector | None = field(default=None, repr=False)
    needs_exact: ClassVar[bool] = True
    order: ClassVar[int] = 2
    most_parameters: ClassVar[int | None] = NewtonCholesky.most_parameters
    beyond: ClassVar[str] = "nesterov"

    def check_penalty(self, penalty: L1) -> None:
        """Take any."""

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
        self.check_size(w0.size)
        if penalty.is_none and not self.positive:
            return Cholesky(self.lengths).minimize(
                objective, w0, max_iter=max_iter, callback=callback, memory=memory
            )
        n_iter, w = (0, w0) if not memory else recalled(memory)[:2]
        model = Quadratic.seen(objective, w)
        if n_iter >= max_iter:
            return _solution(w, model(w), n_iter, "The iteration limit was reached.", False)
        lengths = np.ones(penalty.n_penalised) if self.lengths is None else self.lengths
        slopes = model.leading(lengths.size).scaled(lengths)
        strength = float(np.max(penalty.strength / lengths, initial=0.0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the solution says it
            coefs, gaps, n_iters = descend(
                slopes,
                [strength],
                start=slopes.at,
                max_iter=max_iter - n_iter,
                tol=tol,
                positive=self.positive,
            )
        w = model.completed(coefs[:, 0] / lengths)
        n_iter += n_iters[0]
        is_there = n_iter < max_iter or gaps[0] <= tol * to_explain(slopes)
        solution = _ended(model, w, n_iter, bool(is_there), memory, callback)
        return Descended(**vars(solution))


class Descended(Solution):
    """Where coordinate descent has ended: what has converged its dual gap says.

    Examples
    --------
    >>> Descended(np.zeros(1), 0.0, np.ones(1), 3, True, "The dual gap is small.").converged
    True
    """


def _ended(
    model: Quadratic,
    w: Vector,
    n_iter: int,
    converged: bool,
    memory: Memory | None,
    callback: Callback | None,
) -> Solution:
    """Keep and tell where a solver has ended, and return it."""
    seen = model(w)
    if memory is not None:
        remember(memory, n_iter, w, seen)
    if callback is not None:
        callback(n_iter, w, seen)
    message = "The minimum is known." if converged else "The iteration limit was reached."
    return _solution(w, seen, n_iter, message, converged)


def _solution(
    w: Vector, seen: Evaluation, n_iter: int, message: str, converged: bool = True
) -> Solution:
    return Solution(w, seen.value, seen.gradient, n_iter, converged, message)
