"""Coordinates in which columns are not correlated, by a round that many fits are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import Optimizer, Solution
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector

__all__ = ["Gram", "Space"]

_NEAR = 1e-6
"""A largest entry of the gradient from which on the last digits are found without a root: steps
are so good with it that values no longer tell, and a line search fails."""

_LEAST = 1e-10
"""Below such a share of the mean curvature a direction counts as flat: rounding may hide it."""


@dataclass(frozen=True, eq=False)
class Space:
    """Where a solver works: in centred and scaled columns, also uncorrelated if it is known how.

    Parameters
    ----------
    coordinates : Coordinates
        Of centred and scaled columns.
    root : ndarray of shape (n_parameters, n_parameters), optional
        Lower triangular, of one output: times its transpose about the curvature in those
        coordinates. None: the identity.

    Examples
    --------
    Of two columns that are nearly alike, two iterations find the minimum:

    >>> from dask_gradcode.optimizers import LBFGS
    >>> layout = Layout(n_features=2, n_outputs=1, n_own=0, has_intercept=False)
    >>> hessian = np.array([[1.0, 0.999], [0.999, 1.0]])
    >>> space = Space(Coordinates(layout, np.zeros(2), np.ones(2)), np.linalg.cholesky(hessian))
    >>> def valley(w):
    ...     return Evaluation(float(0.5 * w @ hessian @ w - w[0]), hessian @ w - [1.0, 0.0])
    >>> solution = space.minimize(LBFGS(), valley, np.zeros(2), max_iter=100, tol=1e-8)
    >>> solution.w.round(3), solution.n_iter
    (array([ 500.25, -499.75]), 2)
    """

    coordinates: Coordinates
    root: Matrix | None = None

    def minimize(
        self, solver: Optimizer, objective: Objective, start: Vector, *, max_iter: int, tol: float
    ) -> Solution:
        """Return where a solver has ended, in centred and scaled columns.

        Parameters
        ----------
        solver : Optimizer
            Of the first order.
        objective : Objective
            Of a model's parameters.
        start : ndarray of shape (n_parameters,)
            A model's parameters.
        max_iter, tol
            As in :meth:`~dask_gradcode.optimizers.Optimizer.minimize`: the gradient is that of
            centred and scaled columns.
        """
        scaled, u = self.coordinates.objective(objective), self.coordinates.to_solver(start)
        if self.root is None:
            return solver.minimize(scaled, u, max_iter=max_iter, tol=tol)
        length = float(np.linalg.norm(self.root, axis=1).max())  # about what a gradient grows by
        near = max(tol / max(length, 1.0), _NEAR)
        ended = solver.minimize(self._apart(scaled), self._to(u), max_iter=max_iter, tol=near)
        gradient = (self.root @ self._rows(ended.gradient)).ravel()
        ended = replace(ended, w=self._from(ended.w), gradient=gradient)
        if float(np.abs(gradient).max()) <= tol or ended.n_iter >= max_iter:
            return ended
        more = solver.minimize(scaled, ended.w, max_iter=max_iter - ended.n_iter, tol=tol)
        return replace(more, n_iter=ended.n_iter + more.n_iter)

    def _apart(self, scaled: Objective) -> Callable[[Vector], Evaluation]:
        def evaluate(v: Vector) -> Evaluation:
            seen = scaled(self._from(v))
            gradient = self._solved(seen.gradient, transposed=False)
            return replace(seen, gradient=gradient, rounding=seen.rounding * self._growth)

        return evaluate

    def _rows(self, u: Vector) -> Matrix:
        assert self.root is not None
        return u.reshape(len(self.root), -1)

    def _to(self, u: Vector) -> Vector:
        assert self.root is not None
        return (self.root.T @ self._rows(u)).ravel()

    def _from(self, v: Vector) -> Vector:
        return self._solved(v, transposed=True)

    def _solved(self, u: Vector, *, transposed: bool) -> Vector:
        solved = solve_triangular(
            self.root, self._rows(u), trans=int(transposed), lower=True, check_finite=False
        )
        return np.asarray(solved).ravel()

    @cached_property
    def _growth(self) -> float:
        """By how much the rounding of a gradient grows."""
        assert self.root is not None
        inverse = solve_triangular(self.root, np.eye(len(self.root)), lower=True)
        return float(np.abs(inverse).sum(axis=1).max())


@dataclass(frozen=True, eq=False)
class Gram:
    """Products of columns, summed over all rows.

    Parameters
    ----------
    products : ndarray of shape (n_parameters, n_parameters)
        Of features and a column of ones, if there is an intercept.
    weight : float
        Sum of sample weights.
    about : ndarray of shape (n_features,) or None
        What was taken from the features.
    """

    products: Matrix
    weight: float
    about: Vector | None

    def space(self, problem: Problem, layout: Layout, spread: Spread, curvature: float) -> Space:
        """Return the space for fits of a problem.

        Parameters
        ----------
        problem : Problem
            What they minimise.
        layout : Layout
            Of a model's parameters.
        spread : Spread
            Of the features.
        curvature : float
            About the second derivative of the loss by each of the outputs.
        """
        coordinates = problem.coordinates(layout, spread)
        of_one = replace(coordinates, layout=replace(layout, n_outputs=1))
        hessian = self.products / self.weight
        diagonal = np.einsum("ii->i", hessian)[: layout.n_features]
        diagonal += problem.alpha / curvature
        hessian = of_one.hessian(hessian, self.about)
        hessian[np.diag_indices_from(hessian)] += _LEAST * np.trace(hessian) / len(hessian)
        try:
            return Space(coordinates, np.asarray(np.linalg.cholesky(hessian), dtype=np.float64))
        except np.linalg.LinAlgError:  # there are not enough digits
            return Space(coordinates)
