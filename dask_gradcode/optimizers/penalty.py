"""The penalty that is not smooth: the sum of absolute values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gradcode.typing import Evaluation, Vector

__all__ = ["L1", "NO_PENALTY"]


@dataclass(frozen=True, eq=False)
class L1:
    """``sum(strength * |w_i|)`` over the leading parameters.

    Parameters
    ----------
    strength : float or ndarray of shape (n_penalised,)
        At least 0; an array has one for each of them, as scaled parameters need.
    n_penalised : int
        How many of the leading parameters are penalised; intercepts are not.

    References
    ----------
    .. [1] Parikh and Boyd, "Proximal Algorithms", Foundations and Trends in Optimization 1, 2014,
       Section 6.5.2.

    Examples
    --------
    >>> L1(1.0, 2).prox(np.array([3.0, -0.5, 7.0]), 1.0)
    array([2., 0., 7.])
    """

    strength: float | Vector
    n_penalised: int

    @property
    def is_none(self) -> bool:
        """Whether there is no penalty at all."""
        return not np.any(self.strength)

    def value(self, w: Vector) -> float:
        """Return the penalty at ``w``."""
        return float((self.strength * np.abs(w[: self.n_penalised])).sum())

    def prox(self, w: Vector, step: float) -> Vector:
        """Return the point that minimises the penalty plus ``||x - w||^2 / (2 * step)``."""
        if self.is_none:
            return w
        x = w.copy()
        head = x[: self.n_penalised]
        head -= np.clip(head, -self.strength * step, self.strength * step)
        return x

    def steepest(self, w: Vector, gradient: Vector) -> Vector:
        """Return the shortest subgradient of objective and penalty; zero at the minimum.

        Parameters
        ----------
        w : ndarray of shape (n_parameters,)
            The point.
        gradient : ndarray of shape (n_parameters,)
            Gradient there of the objective alone.

        Returns
        -------
        ndarray of shape (n_parameters,)
            ``gradient`` itself where the penalty has no strength, otherwise a new array.
        """
        if self.is_none:
            return gradient
        whole = gradient.copy()
        head, at = whole[: self.n_penalised], w[: self.n_penalised]
        inside = head - np.clip(head, -self.strength, self.strength)
        head[:] = np.where(at == 0.0, inside, head + self.strength * np.sign(at))
        return whole

    def is_optimal(self, w: Vector, seen: Evaluation, tol: float) -> bool:
        """Say whether the shortest subgradient is within ``tol``, or its rounding, of zero."""
        worst = np.abs(self.steepest(w, seen.gradient)).max(initial=0.0)
        return bool(worst <= max(tol, seen.rounding))


NO_PENALTY = L1(0.0, 0)
