"""Histories written down by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.history import History
from dask_gradcode.rounds import Answer, RoundRecord

__all__ = ["BLANK", "CODE", "record", "two_rounds"]

CODE = FractionalRepetition(4, 1)
BLANK = np.nan


def record(number: int, arrived_at: list[float], **changes: Any) -> RoundRecord:
    """Return the record of a round in which each worker sent one message of ``CODE``, at most."""
    pairs = sorted((at, role) for role, at in enumerate(arrived_at) if np.isfinite(at))
    answers = [Answer(role, role // 2, at, used=True) for at, role in pairs]
    facts: dict[str, Any] = {
        "round": number,
        "value": 10.0 - number,
        "grad_norm": 0.5,
        "seconds": 0.25 * (number + 1),
        "n_workers": len(arrived_at),
        "answers": answers,
        "late": (),
        "lost": (),
        "residual": 0.0,
        "error": 0.0,
        "amplification": 1.0,
        "exact": True,
    }
    return RoundRecord(**(facts | changes))


def two_rounds() -> History:
    first = record(0, [0.25, BLANK, 0.125, BLANK], late=(1,), not_needed=(3,))
    second = record(1, [BLANK, 0.5, 0.25, BLANK], late=(0,), lost=(3,), amplification=2.0)
    return History(CODE, "tasks", [first, second])
