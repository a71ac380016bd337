"""Least squares after one round: a quadratic function, and where it is least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.optimizers.newton import solved
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector, second_order

__all__ = ["Quadratic", "refuse_infinite"]

Indices = NDArray[np.integer[Any]]

_EPS = float(np.finfo(float).eps)


def refuse_infinite(*sums: float | Vector | Matrix) -> None:
    """Raise FloatingPointError for sums that are not finite."""
    if not all(np.isfinite(part).all() for part in sums):
        raise FloatingPointError(
            "The sums of squares are not finite: features or targets are too large. Scale them."
        )


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A quadratic function, which one evaluation with its Hessian tells everywhere.

    Parameters
    ----------
    at : ndarray of shape (n_parameters,)
        Where it was evaluated.
    value : float
        Its value there.
    gradient : ndarray of shape (n_parameters,)
        Its gradient there.
    hessian : ndarray of shape (n_parameters, n_parameters)
        Of least squares a Gram matrix, and what penalties add to it.
    rounding : float, default=0.0
        How far rounding alone may move an entry of the gradient.

    Examples
    --------
    >>> bowl = Quadratic(np.zeros(2), 0.0, np.array([-4.0, -2.0]), np.diag([2.0, 1.0]))
    >>> bowl.least()
    array([2., 2.])
    >>> bowl(bowl.least()).value
    -6.0
    """

    at: Vector
    value: float
    gradient: Vector
    hessian: Matrix
    rounding: float = 0.0

    @classmethod
    def seen(cls, objective: Objective, w: Vector) -> Self:
        """Return an objective that is quadratic, by one round at a point.

        Parameters
        ----------
        objective : Objective
            It tells second derivatives.
        w : ndarray of shape (n_parameters,)
            The point: the nearer to the minimum, the fewer digits are lost.

        Raises
        ------
        FloatingPointError
            If it is not finite.
        """
        seen = second_order(objective, w)
        assert seen.hessian is not None
        refuse_infinite(seen.value, seen.gradient, seen.hessian)
        return cls(w, float(seen.value), seen.gradient, seen.hessian, seen.rounding)

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate, without a round."""
        step = w - self.at
        change = self.hessian @ step
        value = self.value + float((self.gradient + 0.5 * change) @ step)
        return Evaluation(value, self.gradient + change, rounding=self.rounding)

    def leading(self, n: int) -> Quadratic:
        """Return it as a function of the first ``n`` parameters, least over the others."""
        if n == self.at.size:
            return self
        others = self.hessian[n:, n:]
        cross = np.linalg.solve(others, self.hessian[n:, :n])
        step = np.linalg.solve(others, self.gradient[n:])
        return Quadratic(
            self.at[:n],
            self.value - 0.5 * float(self.gradient[n:] @ step),
            self.gradient[:n] - self.hessian[:n, n:] @ step,
            self.hessian[:n, :n] - self.hessian[:n, n:] @ cross,
            self.rounding,
        )

    def __add__(self, other: Quadratic) -> Quadratic:
        """Return the sum of two that were evaluated at the same point."""
        return Quadratic(
            self.at,
            self.value + other.value,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
            self.rounding + other.rounding,
        )

    def only(self, kept: slice | Indices) -> Quadratic:
        """Return it as a function of some parameters, the others held."""
        hessian = self.hessian[kept][:, kept]
        return Quadratic(self.at[kept], self.value, self.gradient[kept], hessian, self.rounding)

    def completed(self, leading: Vector) -> Vector:
        """Return the first parameters followed by the others, where it is then least."""
        n = leading.size
        left = self.gradient[n:] + self.hessian[n:, :n] @ (leading - self.at[:n])
        others = self.at[n:] - np.linalg.solve(self.hessian[n:, n:], left)
        return np.concatenate([leading, others])

    def scaled(self, lengths: Vector, size: float = 1.0) -> Quadratic:
        """Return ``size`` times it, as a function of ``lengths * w``."""
        unit = np.sqrt(size) / lengths
        return Quadratic(
            self.at * lengths,
            self.value * size,
            self.gradient * (size / lengths),
            unit[:, None] * self.hessian * unit,
            self.rounding,
        )

    def ridge(self, alpha: float, lengths: Vector) -> Vector:
        """Return where it and ``alpha / 2 * |w|^2`` are least, if it was evaluated at zero.

        Parameters
        ----------
        alpha : float
            Strength of the penalty.
        lengths : ndarray of shape (n_parameters,)
            About how large each parameter is.
        """
        hessian = self.hessian + alpha * np.eye(lengths.size)
        return lengths * replace(self, hessian=hessian).scaled(1.0 / lengths).least(lengths)

    def least(self, lengths: Vector | float = 1.0) -> Vector:
        """Return where it is least: of many points, that with the smallest ``|lengths * w|``.

        Parameters
        ----------
        lengths : float or ndarray of shape (n_parameters,), default=1.0
            In which units to measure.

        Returns
        -------
        ndarray of shape (n_parameters,)
            The point.

        Notes
        -----
        The Hessian is scaled to a diagonal of ones. If it has a Cholesky factor, that solves it.
        If not, eigenvalues below ``n_parameters * eps`` of the largest are taken for zero; so is a
        diagonal entry that small beside the largest. Columns that differ by less than the square
        root of that, 1e-7 for 45 parameters, of their size are so taken for the same.
        """
        diagonal = self.hessian.diagonal()
        kept = diagonal > diagonal.size * _EPS * diagonal.max(initial=0.0)
        w = np.where(kept, self.at, 0.0)
        there = self(w)
        hessian, gradient = self.hessian[np.ix_(kept, kept)], there.gradient[kept]
        step = solved(hessian, -gradient)
        if step is not None:
            w[kept] += step
            return w
        length = np.broadcast_to(lengths, w.shape)[kept]
        w[kept] = _shortest(hessian, gradient, w[kept], length)
        return w


def _shortest(hessian: Matrix, gradient: Vector, w: Vector, length: Vector) -> Vector:
    """Return the shortest minimum of a quadratic function that has many."""
    unit = 1.0 / np.sqrt(hessian.diagonal())
    values, vectors = np.linalg.eigh(unit[:, None] * hessian * unit)
    zero = values <= values.size * _EPS * values[-1:]
    some = vectors[:, ~zero]
    w = w - unit * (some @ ((some.T @ (unit * gradient)) / values[~zero]))
    free, _ = np.linalg.qr((length * unit)[:, None] * vectors[:, zero])
    shortest: Vector = w - free @ (free.T @ (length * w)) / length
    return shortest
