"""What a fit minimises, once the targets are known."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.losses import Loss

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """``scale * sum(loss) + 0.5 * alpha * ||coef||^2 + l1 * sum(|coef|)``, intercepts left free.

    Parameters
    ----------
    loss : Loss
        Of a row.
    scale, alpha, l1 : float
        Of the sum, of the ridge penalty, of the sum of absolute values.
    start : float, default=0.0
        Where a solver starts an intercept.
    """

    loss: Loss
    scale: float
    alpha: float
    l1: float = 0.0
    start: float = 0.0
