"""The coordinates in which solvers work: columns centred and scaled, targets in their own unit.

Rows are never touched. ``X @ coef + intercept`` is ``((X - shift) / scale) @ u + c`` for
``coef = u / scale`` and ``intercept = c - shift @ coef``, so points are mapped on their way to the
workers and gradients on their way back, here, whether rows are dense or sparse. Where there is no
intercept, nothing can take the means up, and columns far from zero are all alike but for a little:
coefficients are then shortened along the one direction in which they are alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import L1
from dask_gradcode.spread import Spread, rounded
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector, exactly, second_order

__all__ = ["Coordinates"]

_FINE = 2.0**-20
"""A shift is a multiple of this share of the scale: as good as the mean, and the same however rows
are cut into chunks; for standardised columns it is 0."""

_FAR = 100.0
"""From so many scales on a column is far from zero: its Hessian would lose twice as many digits."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """How a solver's point ``u`` and a model's parameters ``w`` belong together.

    Parameters
    ----------
    layout : Layout
        Where coefficients, intercepts and a loss's own parameters are, in both.
    shift, scale : ndarray of shape (n_features,)
        What is taken from each column, and what it is divided by. Without an intercept nothing is
        taken, but ``shift`` tells in which direction all rows lie.
    unit : float, default=1.0
        What linear predictors, and a loss's own parameters, are divided by.
    size : float, default=1.0
        What the objective is divided by.

    Notes
    -----
    What floating point costs: a column of mean ``m`` and standard deviation ``s`` adds ``eps * m``
    to the rounding of its products, hence about ``eps * m / s`` to a gradient whose entries are at
    most about 1: 1e-12 for ``m / s = 4000``, 2e-10 for 1e6, and no digit is left from 1e16 on. The
    intercept of any linear model loses as many.

    Without an intercept the mean square of uncorrelated columns, each divided by its deviation, is
    ``I + q q'`` with ``q = shift / scale``. It is the identity for the points ``u`` with ``coef =
    (I + (1 / sqrt(1 + |q|^2) - 1) e e') u / scale`` and ``e = q / |q|``.

    Examples
    --------
    >>> layout = Layout(n_features=1, n_outputs=1, n_own=0, has_intercept=True)
    >>> coordinates = Coordinates(layout, shift=np.array([100.0]), scale=np.array([2.0]))
    >>> w = coordinates.to_model(np.array([6.0, 1.0]))
    >>> w, coordinates.to_solver(w)
    (array([   3., -299.]), array([6., 1.]))
    """

    layout: Layout
    shift: Vector
    scale: Vector
    unit: float = 1.0
    size: float = 1.0

    @classmethod
    def of(
        cls,
        layout: Layout,
        spread: Spread,
        *,
        least: float,
        unit: float,
        size: float,
        separate: bool = False,
    ) -> Coordinates:
        """Return the coordinates that suit some columns.

        Parameters
        ----------
        layout : Layout
            Columns are centred where it has an intercept.
        spread : Spread
            Of the columns.
        least : float
            The smallest scale, below which a column counts less than its ridge penalty.
        unit, size : float
            As above.
        separate : bool, default=False
            Whether each coefficient must be a multiple of one entry of a point, as :meth:`penalty`
            needs.
        """
        floor = rounded(np.array(least))
        centred = layout.has_intercept or (bool(spread.far.any()) and not separate)
        scale = np.maximum(spread.deviation(centred=centred), floor)
        if not centred:
            return cls(layout, np.zeros(layout.n_features), scale, unit, size)
        step = _FINE * np.exp2(np.floor(np.log2(scale)))
        shift = np.rint(spread.mean / step) * step
        shift[~np.isfinite(shift)] = 0.0
        if not layout.has_intercept:
            # A constant column does what an intercept would, if its coefficient moves far enough.
            constant = spread.constant
            scale[constant] = np.maximum(scale[constant] / np.linalg.norm(shift / scale), floor)
        return cls(layout, shift, scale, unit, size)

    @classmethod
    def recalled(cls, layout: Layout, state: Mapping[str, Any]) -> Coordinates:
        """Return the coordinates that a checkpoint holds, as ``state`` gave them."""
        shift, scale = state["shift"], state["scale"]
        return cls(layout, shift, scale, float(state["unit"]), float(state["size"]))

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of them."""
        return {"shift": self.shift, "scale": self.scale, "unit": self.unit, "size": self.size}

    @property
    def lengths(self) -> Vector:
        """What one unit of a point's entry is as a coefficient, in ``separate`` coordinates."""
        return self.unit / self.scale

    @cached_property
    def _slope(self) -> Vector:
        return self.lengths[:, None]

    @cached_property
    def _alike(self) -> tuple[Vector, float]:
        """The direction in which rows are alike, and how much longer they are there."""
        far = self.shift / self.scale
        length = float(np.linalg.norm(far))
        return far / (length or 1.0), float(np.hypot(1.0, length))

    def _stretched(self, slopes: Matrix, power: int) -> Matrix:
        """Return slopes stretched by a power of that length in that direction.

        With an intercept, which takes the means up, they are returned as they are.
        """
        direction, length = self._alike
        if self.layout.has_intercept or length == 1.0:
            return slopes
        along = direction @ slopes
        across = slopes - np.outer(direction, along)
        # once more: the rows would magnify what rounding has left in that direction
        across -= np.outer(direction, direction @ across)
        return across + np.outer(length**power * direction, along)

    def to_model(self, u: Vector) -> Vector:
        """Return the model's parameters at a solver's point.

        Zeros stay zeros in ``separate`` coordinates and where there is an intercept.
        """
        layout, w = self.layout, self.unit * u
        coef = layout.coef(w)
        coef[:] = self._stretched(layout.coef(u), -1) * self._slope
        if layout.has_intercept:
            layout.intercept(w)[:] -= self.shift @ coef
        return w

    def to_solver(self, w: Vector) -> Vector:
        """Return the solver's point at a model's parameters."""
        layout, u = self.layout, w / self.unit
        layout.coef(u)[:] = self._stretched(layout.coef(w) / self._slope, 1)
        if layout.has_intercept:
            layout.intercept(u)[:] += self.shift @ layout.coef(w) / self.unit
        return u

    def gradient(self, gradient: Vector) -> Vector:
        """Return the gradient with respect to ``u``, given the one with respect to ``w``."""
        layout, mapped = self.layout, gradient * (self.unit / self.size)
        coef = layout.coef(gradient)
        if layout.has_intercept:
            coef = coef - np.outer(self.shift, layout.intercept(gradient))
        layout.coef(mapped)[:] = self._stretched(coef * (self._slope / self.size), -1)
        return mapped

    def hessian(self, hessian: Matrix, about: Vector | None = None) -> Matrix:
        """Return the Hessian with respect to ``u``, given the one with respect to ``w``.

        Parameters
        ----------
        hessian : ndarray of shape (n_parameters, n_parameters)
            Symmetric.
        about : ndarray of shape (n_features,), optional
            If given, it is with respect to ``coef`` and ``intercept + about @ coef``.
        """
        to_here = self if about is None else replace(self, shift=self.shift - about)
        return self.size * to_here._gradients(to_here._gradients(hessian).T)

    def _gradients(self, rows: Matrix) -> Matrix:
        """Return what ``gradient`` makes of each row of a matrix."""
        layout, mapped = self.layout, rows * (self.unit / self.size)
        n, n_slopes, n_outputs = layout.n_features, layout.n_slopes, layout.n_outputs
        coef = rows[:, :n_slopes].reshape(len(rows), n, n_outputs)
        if layout.has_intercept:
            coef = coef - self.shift[:, None] * rows[:, None, n_slopes : n_slopes + n_outputs]
        columns = np.moveaxis(coef, 1, 0).reshape(n, -1)  # of each row and output
        columns = self._stretched(columns * (self._slope / self.size), -1)
        whole = np.moveaxis(columns.reshape(n, len(rows), n_outputs), 0, 1)
        mapped[:, :n_slopes] = whole.reshape(len(rows), n_slopes)
        return mapped

    @property
    def about(self) -> Vector | None:
        """What is taken from dense columns in Hessians, lest they lose digits: None for nothing."""
        is_far = self.layout.has_intercept & (np.abs(self.shift) > _FAR * self.scale)
        return np.where(is_far, self.shift, 0.0) if is_far.any() else None

    def told_in(self, other: Coordinates, gradient: Vector) -> Vector:
        """Return a gradient of these coordinates as one of others."""
        return other.gradient(self._of_model(gradient))

    def _of_model(self, gradient: Vector) -> Vector:
        """Return a gradient of these coordinates, without an intercept, as one of the model's."""
        layout, of_model = self.layout, gradient * (self.size / self.unit)
        slopes = self._stretched(layout.coef(gradient), 1)
        layout.coef(of_model)[:] = slopes * (self.size / self._slope)
        return of_model

    def around_means(self, gradient: Vector, one: Vector) -> Matrix:
        """Return the gradient of slopes where some columns do what an intercept would.

        Parameters
        ----------
        gradient : ndarray of shape (n_parameters,)
            Of these coordinates.
        one : ndarray of shape (n_features,)
            Coefficients with which columns add up to one; the others' slopes are returned.
        """
        slopes = self.layout.coef(self._of_model(gradient))
        centred = slopes - np.outer(self.shift, one @ slopes)
        others: Matrix = (centred * self._slope / self.size)[one == 0.0]
        return others

    def penalty(self, strength: float) -> L1:
        """Return the penalty ``strength * sum(|coef|)`` as the solver sees it."""
        each = np.repeat(strength * self._slope[:, 0] / self.size, self.layout.n_outputs)
        return L1(each, self.layout.n_slopes)

    def objective(self, objective: Objective, about: Vector | None = None) -> Objective:
        """Return an objective of ``w``, whose Hessians are about something, as one of ``u``."""
        return _Mapped(objective, self, about)

    def evaluation(self, seen: Evaluation, about: Vector | None = None) -> Evaluation:
        """Return what was seen of ``w`` as what is seen of ``u``."""
        return Evaluation(
            seen.value / self.size,
            self.gradient(seen.gradient),
            seen.record,
            seen.rounding * self._rounding,
            None if seen.hessian is None else self.hessian(seen.hessian, about),
            None if seen.drift is None else self.gradient(seen.drift),
        )

    @cached_property
    def _rounding(self) -> float:
        """By how much the rounding of a gradient grows on its way here."""
        each = (1.0 + np.abs(self.shift) * self.layout.has_intercept) / self.scale
        direction, length = self._alike
        if not self.layout.has_intercept and length > 1.0:
            each = each + np.abs(direction) * (np.abs(direction) @ each)
        return float(each.max(initial=1.0)) * self.unit / self.size


class _Mapped:
    """An objective of the model's parameters, at a solver's points."""

    def __init__(
        self, objective: Objective, coordinates: Coordinates, about: Vector | None
    ) -> None:
        self._objective, self._coordinates, self._about = objective, coordinates, about

    def __call__(self, u: Vector) -> Evaluation:
        coordinates = self._coordinates
        return coordinates.evaluation(self._objective(coordinates.to_model(u)))

    def exactly(self, u: Vector) -> Evaluation:
        coordinates = self._coordinates
        return coordinates.evaluation(exactly(self._objective, coordinates.to_model(u)))

    def second_order(self, u: Vector) -> Evaluation:
        coordinates = self._coordinates
        seen = second_order(self._objective, coordinates.to_model(u))
        return coordinates.evaluation(seen, self._about)
