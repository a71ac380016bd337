"""The distributions of generalised linear models: how means and targets belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_gradcode.linear_model.bare import Exp, Linear
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Loss, Poisson, Squared, Tweedie
from dask_gradcode.targets import Targets

__all__ = ["Family"]

_LEAST = 1e-6
"""The smallest mean of the identity link, as a share of the mean target."""


@dataclass(frozen=True)
class Family:
    """Tweedie's distributions of one power, and a link.

    Parameters
    ----------
    power : float
        Variances are the mean to this power.
    link : {"log", "identity"}
        What the linear predictor is of the mean.
    """

    power: float
    link: str

    def loss(self, mean: float = 1.0) -> Loss:
        """Return half the deviance of a row.

        Parameters
        ----------
        mean : float, default=1.0
            Of the targets.
        """
        if self == _NORMAL:
            return Squared()
        if self == Family(1.0, "log"):
            return Poisson()
        return Tweedie(float(self.power), self.link, _LEAST * mean)

    def takes(self, smallest: float) -> bool:
        """Say whether targets are in the domain, the smallest of which is given."""
        return self.power <= 0 or smallest > 0 or (self.power < 2 and smallest == 0)

    def linear(self, mean: float) -> float:
        """Return the linear predictor of the mean of targets, or raise if it has none."""
        if not (mean > 0.0 or self == _NORMAL):
            raise ValueError(
                f"Regression with power {self.power} and link {self.link!r} needs targets whose "
                f"mean is positive, got {mean}{', as all y are 0' * (mean == 0)}. Use power=0 "
                "with link='identity'."
            )
        return float(np.log(mean)) if self.link == "log" else mean

    def mean_of(self, linear: Linear) -> Any:
        """Return the function from rows to means."""
        return Exp(linear) if self.link == "log" else linear

    def check(self, smallest: float) -> None:
        """Raise ValueError for targets that are out of the domain.

        Parameters
        ----------
        smallest : float
            The smallest target.
        """
        if not self.takes(smallest):
            raise ValueError(
                "Some value(s) of y are out of the valid range of the loss "
                f"{type(self.loss()).__name__!r} with power {self.power}: they must be "
                f"{'>=' if self.power < 2 else '>'} 0, the smallest is {smallest}."
            )

    def problem(self, targets: Targets, alpha: float, *, has_intercept: bool) -> Problem:
        """Return what scikit-learn minimises: the mean loss, and half of ``alpha * ||coef||^2``.

        Parameters
        ----------
        targets : Targets
            Numbers.
        alpha : float
            Strength of the penalty.
        has_intercept : bool
            Whether there is one.
        """
        self.check(targets.smallest)
        mean = targets.mean
        start, unit, curvature = self.linear(mean), 1.0, 1.0
        if self != _NORMAL:
            curvature = mean ** ((2.0 if self.link == "log" else 0.0) - self.power)
        if self.link == "identity":
            unit = targets.unit(has_intercept=has_intercept)
        size = unit**2 * curvature
        return Problem(
            self.loss(mean),
            scale=1.0 / targets.weight,
            alpha=alpha,
            start=start,
            unit=unit,
            size=size if self.link == "identity" else min(1.0, size),
            curvature=curvature,
        )


_NORMAL = Family(0.0, "identity")
