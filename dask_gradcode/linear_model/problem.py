"""What a fit minimises, once the targets are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.losses import Layout, Loss
from dask_gradcode.objective import Anchored, Penalised
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Objective, Vector

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """``scale * sum(loss) + 0.5 * alpha * ||coef||^2 + l1 * sum(|coef|)``, intercepts mostly free.

    Parameters
    ----------
    loss : Loss
        Of a row.
    scale, alpha, l1 : float
        Of the sum, of the ridge penalty, of the sum of absolute values.
    start : float, default=0.0
        Where a solver starts an intercept.
    unit : float, default=1.0
        What a linear predictor, and the loss's own parameters, are measured in by the solver.
    size : float, default=1.0
        What the objective is divided by for the solver.
    curvature : float, default=1.0
        About the second derivative of the loss of a row: tells where the ridge penalty outweighs
        the data.
    intercept_alpha : float, default=0.0
        Of a ridge penalty on the intercepts.
    """

    loss: Loss
    scale: float
    alpha: float
    l1: float = 0.0
    start: float = 0.0
    unit: float = 1.0
    size: float = 1.0
    curvature: float = 1.0
    intercept_alpha: float = 0.0

    def penalised(self, objective: Objective, layout: Layout) -> Penalised:
        """Return the objective, but for ``l1``, around the sum of the loss.

        Parameters
        ----------
        objective : Objective
            The sum over rows.
        layout : Layout
            Of the parameters.
        """
        alpha: float | Vector = self.alpha
        n_penalised = layout.n_slopes
        if self.intercept_alpha and layout.has_intercept:
            n_intercepts = layout.n_outputs
            alpha = np.repeat([self.alpha, self.intercept_alpha], [n_penalised, n_intercepts])
            n_penalised += n_intercepts
        return Penalised(objective, scale=self.scale, alpha=alpha, n_penalised=n_penalised)

    def coordinates(self, layout: Layout, spread: Spread, *, separate: bool = False) -> Coordinates:
        """Return the coordinates in which a solver works.

        Parameters
        ----------
        layout : Layout
            Of the parameters.
        spread : Spread
            Of the columns of the features.
        separate : bool, default=False
            Whether each coefficient must be a multiple of one entry of a point; with ``l1`` it is.
        """
        weight = self.scale * self.curvature * (spread.weight or 1.0)
        least = float(np.sqrt(self.alpha / weight))
        return Coordinates.of(
            layout,
            spread,
            least=least,
            unit=self.unit,
            size=self.size,
            separate=separate or self.l1 > 0.0,
        )

    def anchored(self, objective: Objective, layout: Layout) -> Objective:
        """Return an objective whose Hessian is not singular merely because outputs are alike.

        Parameters
        ----------
        objective : Objective
            Of a solver's points.
        layout : Layout
            Of the parameters.
        """
        if not self.loss.only_differences:
            return objective
        first = layout.n_slopes if self.alpha else 0
        return Anchored(objective, n_outputs=layout.n_outputs, first=first)

    def judged(self, gradient: Vector, coordinates: Coordinates, spread: Spread) -> Vector:
        """Return the gradient that tells how far a solver's end is from the minimum.

        Without an intercept columns far from zero are nearly alike; in the separate coordinates
        that ``l1`` needs a gradient is then small far from the minimum, too, and so it is in all
        where indicators add up to one, which tells those columns apart as an intercept would.

        Parameters
        ----------
        gradient : ndarray of shape (n_parameters,)
            The shortest subgradient, in the solver's coordinates.
        coordinates : Coordinates
            Of the solver.
        spread : Spread
            Of the columns of the features.

        Returns
        -------
        ndarray
            Its entries, and those of other coordinates.
        """
        layout = coordinates.layout
        if layout.has_intercept:
            return gradient
        best = replace(self, l1=0.0).coordinates(layout, spread)
        if not best.shift.any():
            return gradient
        if self.l1:
            gradient = coordinates.told_in(best, gradient)
        one = spread.adding_up_to_one
        return gradient if one is None else np.append(gradient, best.around_means(gradient, one))
