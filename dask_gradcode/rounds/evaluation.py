"""What the sum of a round says about the objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.round import Round
from dask_gradcode.several import Several
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["evaluation", "evaluations"]


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
    record, off = round_.record(value, _largest(gradient)), round_.drift()
    if off is None:
        return _evaluation(total, statistic, record)
    drift = statistic.gradient(off)
    record = replace(record, drift=_largest(drift))
    return replace(_evaluation(total, statistic, record), drift=drift)


def evaluations(round_: Round, statistic: Several) -> list[Evaluation]:
    """Return what a round that is done says of each of its points; they share its record.

    In that there is no value, of which there are several, and the largest of all gradients' norms.

    Parameters
    ----------
    round_ : Round
        The round.
    statistic : Several
        What its payloads contain.

    Raises
    ------
    RuntimeError
        If it is not done.
    """
    total = round_.result()
    record = round_.record(np.nan, _largest(statistic.gradient(total)))
    return [
        _evaluation(statistic.point(total, k).copy(), statistic.each, record)
        for k in range(statistic.n_points)
    ]


def _evaluation(total: Vector, statistic: Statistic, record: RoundRecord) -> Evaluation:
    """Return what the sum at a point says about the objective."""
    value, gradient = float(statistic.value(total)), statistic.gradient(total)
    # Decoding multiplies the rounding of the messages, which are sums about as large as the value.
    rounding = 4 * np.finfo(np.float64).eps * max(1.0, record.amplification) * abs(value)
    hessian = statistic.hessian(total) if statistic.order > 1 else None
    return Evaluation(value, gradient, record, rounding, hessian)


def _largest(x: Vector) -> float:
    """Return ``max |x|`` without a copy of ``x``."""
    return max(float(x.max(initial=0.0)), -float(x.min(initial=0.0)))
