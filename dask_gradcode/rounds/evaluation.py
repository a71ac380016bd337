"""What the sum of a round says about the objective."""

from __future__ import annotations

import numpy as np

from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds.round import Round
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["evaluation"]


def evaluation(round_: Round, statistic: Statistic) -> Evaluation:
    """Return what a round that is done says about the objective, with its record.

    Parameters
    ----------
    round_ : Round
        The round.
    statistic : Statistic
        What its payloads contain.

    Raises
    ------
    RuntimeError
        If it is not done.
    """
    total = round_.result()
    value, gradient = float(statistic.value(total)), statistic.gradient(total)
    record = round_.record(value, _largest(gradient))
    # Decoding multiplies the rounding of the messages, which are sums about as large as the value.
    rounding = 4 * np.finfo(np.float64).eps * max(1.0, record.amplification) * abs(value)
    hessian = statistic.hessian(total) if statistic.order > 1 else None
    return Evaluation(value, gradient, record, rounding, hessian)


def _largest(x: Vector) -> float:
    """Return ``max |x|`` without a copy of ``x``."""
    return max(float(x.max(initial=0.0)), -float(x.min(initial=0.0)))
