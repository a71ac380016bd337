"""Fits of all folds and strengths of a penalty, which share their rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dask_gradcode.history import History
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.space import Space
from dask_gradcode.optimizers import Callback, Optimizer, Solution
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector, many

__all__ = ["Candidate", "Distinct", "Fitted", "Turns"]


class Turns:
    """Keeps a record of each round in a history, whichever fits it has served.

    A record has the mean of their objectives and the largest entry of their gradients.

    Parameters
    ----------
    history : History
        Where records go.
    report : callable, optional
        Called as an optimizer's callback when a round has served all its fits, if there were any.
    """

    def __init__(self, history: History, report: Callback | None = None) -> None:
        self.history, self._report = history, report
        self._newest: Evaluation | None = None
        self._n_reports = 0
        self._w, self._values = np.zeros(0), list[float]()

    def note(self, w: Vector, seen: Evaluation, *, is_score: bool = False) -> None:
        """Take note of what a round has told a fit."""
        if self._newest is None or seen.record is not self._newest.record:
            self.end()
            self._w, self._newest, self._values = w, seen, []
            record = replace(seen.record, round=len(self.history), value=np.nan, grad_norm=np.nan)
            self.history.records.append(record)
        if is_score:
            return
        self._values.append(seen.value)
        largest = np.fmax(self.history[-1].grad_norm, np.abs(seen.gradient).max(initial=0.0))
        self.history.records[-1] = replace(
            self.history[-1], value=float(np.mean(self._values)), grad_norm=float(largest)
        )

    def end(self) -> None:
        """Report the newest round, which has served all that it will."""
        if self._newest is not None and self._values and self._report is not None:
            self._n_reports += 1
            self._report(self._n_reports, self._w, self._newest)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit that has ended, in a model's parameters.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,)
        The model's.
    solution : Solution
        Where the solver has ended.
    score : float
        Sum of scores over the rows of the fold that was left out; NaN if none was.
    """

    w: Vector
    solution: Solution
    score: float = np.nan


@dataclass(frozen=True, eq=False)
class Candidate:
    """A fit to all rows, or to all but those of a fold.

    Parameters
    ----------
    problem : Problem
        What to minimise. The sum is that of a :class:`~dask_gradcode.work.FoldLoss` of its loss.
    space : Space
        Where the solver works.
    spread : Spread
        Of the columns of the features.
    fold : int
        The fold to leave out. A number that no fold has: none.
    has_score : bool, default=True
        Whether the model is to be scored on that fold.

    Examples
    --------
    Two folds of two rows each, of which the first is left out:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Layout, Logistic
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.optimizers import LBFGS, in_step
    >>> from dask_gradcode.work import Block, FoldLoss
    >>> rows, y = np.array([[1.0], [-1.0], [3.0], [1.0]]), np.array([1.0, 0.0, 3.0, 2.0])
    >>> objective = InProcessObjective(Uncoded(1), {0: Block(rows, y)}, FoldLoss(Logistic()))
    >>> problem, spread = Problem(Logistic(), scale=0.5, alpha=0.1), Spread.of(rows)
    >>> layout = Layout(n_features=1, n_outputs=1, n_own=0, has_intercept=True)
    >>> space = Space(problem.coordinates(layout, spread))
    >>> candidate = Candidate(problem, space, spread, fold=0)
    >>> run = candidate.run(LBFGS(), np.zeros(2), max_iter=100, tol=1e-8)
    >>> (fitted,) = in_step(objective, [run])
    >>> fitted.w.round(3), fitted.score  # one of the two rows is predicted right
    (array([ 1.634, -3.267]), 1.0)
    """

    problem: Problem
    space: Space
    spread: Spread
    fold: int
    has_score: bool = True

    def run(
        self,
        solver: Optimizer,
        start: Vector,
        turns: Turns | None = None,
        *,
        max_iter: int,
        tol: float,
    ) -> Callable[[Objective], Fitted]:
        """Return what :func:`~dask_gradcode.optimizers.in_step` is to run.

        Parameters
        ----------
        solver : Optimizer
            Of the first order.
        start : ndarray of shape (n_parameters,)
            A model's parameters, where it starts.
        turns : Turns, optional
            Where rounds are recorded.
        max_iter, tol
            As in :meth:`~dask_gradcode.optimizers.Optimizer.minimize`.
        """
        problem, coordinates = self.problem, self.space.coordinates

        def run(summed: Objective) -> Fitted:
            without = _Without(summed, float(self.fold))
            objective = problem.penalised(without, coordinates.layout)

            def noted(w: Vector) -> Evaluation:
                seen = objective(w)
                if turns is not None:
                    turns.note(w, replace(seen, gradient=coordinates.gradient(seen.gradient)))
                return seen

            solution = self.space.minimize(solver, noted, start, max_iter=max_iter, tol=tol)
            judged = problem.judged(solution.gradient, coordinates, self.spread)
            solution, w = replace(solution, gradient=judged), coordinates.to_model(solution.w)
            if not self.has_score:
                return Fitted(w, solution)
            seen = _Without(summed, -1.0 - self.fold)(w)
            if turns is not None:
                turns.note(w, seen, is_score=True)
            return Fitted(w, solution, seen.value)

        return run


class Distinct:
    """An objective that evaluates points that are equal, such as a common start, only once.

    Parameters
    ----------
    objective : Objective
        With a method ``many(W)``.

    Examples
    --------
    >>> class Bowl:
    ...     def __call__(self, w):
    ...         return Evaluation(float(w @ w), 2 * w)
    ...
    ...     def many(self, W):
    ...         print(len(W), "points")
    ...         return [self(w) for w in W]
    >>> seen = Distinct(Bowl()).many(np.array([[1.0], [2.0], [1.0]]))
    2 points
    >>> [one.value for one in seen]
    [1.0, 4.0, 1.0]
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __call__(self, w: Vector) -> Evaluation:
        return self._objective(w)

    def many(self, W: Matrix) -> list[Evaluation]:
        first: dict[bytes, int] = {}
        which = [first.setdefault(w.tobytes(), len(first)) for w in W + 0.0]  # no -0.0
        distinct = np.unique(which, return_index=True)[1]
        seen = many(self._objective, W[distinct])
        return [seen[k] for k in which]


class _Without:
    """A sum over rows by the model's parameters alone: the last of a point names a fold."""

    def __init__(self, objective: Objective, fold: float) -> None:
        self._objective, self._fold = objective, fold

    def __call__(self, w: Vector) -> Evaluation:
        seen = self._objective(np.append(w, self._fold))
        return replace(seen, gradient=seen.gradient[:-1])
