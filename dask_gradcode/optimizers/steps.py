"""Step sizes: found by backtracking, fixed, or by a schedule."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import numpy as np

__all__ = ["Step", "check_step", "fixed_step"]

Step = str | float | Callable[[int], float]
"""``"backtracking"``, a fixed step, or a step for each iteration, counted from 0."""


def check_step(step: Step) -> None:
    """Raise unless ``step`` is one of the three kinds.

    Raises
    ------
    ValueError
        If it is a number that is not positive and finite, or another name.
    TypeError
        If it is something else.
    """
    if isinstance(step, str):
        if step != "backtracking":
            raise ValueError(f"step must be 'backtracking', a number or a function, got {step!r}.")
    elif isinstance(step, Real) and not isinstance(step, bool):
        if not 0 < step < np.inf:
            raise ValueError(f"A fixed step must be positive and finite, got {step}.")
    elif not callable(step):
        raise TypeError(f"step must be 'backtracking', a number or a function, got {step!r}.")


def fixed_step(step: Step, iteration: int) -> float:
    """Return the step of an iteration, for a fixed step or a schedule."""
    assert not isinstance(step, str)
    return float(step(iteration) if callable(step) else step)
