"""The losses of regressions whose variance is a power of the mean."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np

from dask_gradcode.losses.base import Loss
from dask_gradcode.typing import Vector

__all__ = ["Tweedie"]

STEEP = 200.0
"""Up to which exponents are computed with: no data needs a mean of 1e86, but a trial step may."""


@dataclass(frozen=True)
class Tweedie(Loss):
    """Half the deviance of a distribution whose variance is the mean to the power ``power``.

    With ``B(x, q) = (x^q - 1) / q``, the logarithm for ``q = 0``, and ``t`` the mean divided by
    ``y``, that is ``y^(2 - power) (B(t, 2 - power) - B(t, 1 - power))``.

    Where a mean is not positive, or beyond what float64 can hold, the loss goes on as a parabola
    with the curvature that is expected at the last mean that is. Its minimum is at the target, so
    steps to means that are none are led back.

    It is convex for ``1 <= power <= 2`` with the log link, and for ``0 <= power <= 1`` with the
    identity. Otherwise second derivatives may be negative, and ``curvature`` is their absolute
    value, as scikit-learn takes it.

    Parameters
    ----------
    power : float, default=1.5
        0 is the normal distribution, for any ``y``; 1 is Poisson's, with ``y >= 0`` as for all
        powers below 2; 2 is the gamma and 3 the inverse Gaussian distribution, with ``y > 0``.
    link : {"log", "identity"}, default="log"
        What the linear predictor is of the mean.
    least : float, default=1e-6
        The smallest mean of the identity link, positive; what comes below is the parabola.

    Raises
    ------
    ValueError
        If ``power`` is not finite, ``link`` is another, or ``least`` is not finite and positive.

    References
    ----------
    .. [1] Jorgensen, "The Theory of Dispersion Models", 1997, Chapter 4.

    Examples
    --------
    >>> value, derivative = Tweedie(2.0).pointwise(np.log([1.0, 2.0]), np.array([1.0, 1.0]))
    >>> value.round(3), derivative.round(3)
    (array([0.   , 0.193]), array([0. , 0.5]))
    """

    power: float = 1.5
    link: str = "log"
    least: float = 1e-6
    has_curvature: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.power, Real) or not np.isfinite(self.power):
            raise ValueError(f"Tweedie needs a finite power, got {self.power!r}.")
        if self.link not in ("log", "identity"):
            raise ValueError(f"Tweedie needs link='log' or 'identity', got {self.link!r}.")
        if not isinstance(self.least, Real) or not 0 < self.least < np.inf:
            raise ValueError(f"Tweedie needs a finite positive least mean, got {self.least!r}.")

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        y, log, beyond = self._parts(z, y)
        # never negative but for the rounding of a difference
        value = np.maximum(self._deviance(log, y), 0.0)
        slope = np.exp((self._is_log - self.power) * log) * (np.exp(log) - y)
        if beyond.any():
            rise = self._expected(log) * beyond
            value += (slope + 0.5 * rise) * beyond
            slope += rise
        return value, slope

    def curvature(self, z: Vector, y: Vector) -> Vector:
        y, log, beyond = self._parts(z, y)
        expected = self._expected(log)
        share = 1.0 - self.power + self._is_log
        exact = expected * np.abs(share + (1.0 - share) * y * np.exp(-log))
        return np.where(beyond == 0.0, exact, expected)

    @property
    def _is_log(self) -> bool:
        return self.link == "log"

    @property
    def _most(self) -> float:
        return STEEP / max(1.0, abs(self.power), abs(self.power - 2.0))

    def _parts(self, z: Vector, y: Vector) -> tuple[Vector, Vector, Vector]:
        """Return targets, logarithms of means, and how far z is beyond the last that is one."""
        y, z = np.asarray(y, dtype=np.float64), np.asarray(z, dtype=np.float64)
        most = self._most
        if self._is_log:
            log = np.clip(z, -most, most)
            return y, log, z - log
        inside = np.clip(z, max(self.least, np.exp(-most)), np.exp(most))
        return y, np.log(inside), z - inside

    def _expected(self, log: Vector) -> Vector:
        """Return the second derivatives where targets are as expected, which are positive."""
        expected: Vector = np.exp((2.0 * self._is_log - self.power) * log)
        return expected

    def _deviance(self, log: Vector, y: Vector) -> Vector:
        """Return half the deviance, NaN for targets out of its domain."""
        first, second = 1.0 - self.power, 2.0 - self.power
        with np.errstate(divide="ignore", invalid="ignore"):
            log_of_target = np.clip(np.log(y), -self._most, self._most)
        ratio = log - log_of_target
        deviance = _box_cox(ratio, second) - _box_cox(ratio, first)
        deviance *= np.exp(second * log_of_target)
        is_zero = y == 0.0
        if is_zero.any():
            deviance[is_zero] = np.exp(second * log[is_zero]) / second if second > 0.0 else np.inf
        is_below = y < 0.0
        if self.power <= 0.0 and is_below.any():
            y, log = y[is_below], log[is_below]
            limit = np.exp(second * log) / second - y * np.exp(first * log) / first
            # a normal target below 0 is not reached, whatever the mean
            deviance[is_below] = limit + 0.5 * y * y * (self.power == 0.0)
        return deviance


def _box_cox(log: Vector, power: float) -> Vector:
    """Return Box and Cox's transform of numbers whose logarithms are given."""
    return np.expm1(power * log) / power if power else log
