"""Histories written down by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.history import History
from dask_gradcode.rounds import RoundRecord

__all__ = ["BLANK", "CODE", "record", "two_rounds"]

CODE = FractionalRepetition(4, 1)
BLANK = np.nan


def record(number: int, arrived_at: list[float], **changes: Any) -> RoundRecord:
    seen = np.isfinite(arrived_at)
    facts: dict[str, Any] = {
        "round": number,
        "value": 10.0 - number,
        "grad_norm": 0.5,
        "seconds": 0.25 * (number + 1),
        "arrived_at": np.array(arrived_at),
        "used": seen,
        "late": (),
        "lost": (),
        "residual": 0.0,
        "amplification": 1.0,
        "exact": True,
    }
    return RoundRecord(**(facts | changes))


def two_rounds() -> History:
    first = record(0, [0.25, BLANK, 0.125, BLANK], late=(1,), not_needed=(3,))
    second = record(1, [BLANK, 0.5, 0.25, BLANK], late=(0,), lost=(3,), amplification=2.0)
    return History(CODE, "tasks", [first, second])
