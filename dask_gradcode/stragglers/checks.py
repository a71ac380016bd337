"""Checks of the parameters of straggler models, which are frozen dataclasses."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["check_number", "check_whole", "whole"]


def check_number(
    model: Any, name: str, low: float = 0.0, high: float = np.inf, *, above: bool = False
) -> None:
    """Check that a field of a model under construction is a finite number, and make it a float.

    Parameters
    ----------
    model : dataclass
        The model.
    name : str
        The field.
    low, high : float
        The range, ends included.
    above : bool, default=False
        Whether ``low`` itself is refused.

    Raises
    ------
    ValueError
        If it is not.
    """
    value = getattr(model, name)
    number = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(float(value))
    if not number or not low <= value <= high or (above and value == low):
        ends = "(" if above else "[", "]" if np.isfinite(high) else ")"
        raise ValueError(
            f"The '{name}' of {type(model).__name__} must be a float in the range "
            f"{ends[0]}{low:g}, {high:g}{ends[1]}. Got {value!r} instead."
        )
    object.__setattr__(model, name, float(value))


def check_whole(model: Any, name: str, low: int = 0) -> None:
    """Check that a field of a model under construction is a whole number of at least ``low``."""
    object.__setattr__(model, name, whole(model, name, getattr(model, name), low))


def whole(model: Any, name: str, value: object, low: int = 0) -> int:
    """Return a whole number of at least ``low``, or say of which field it is none."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(
            f"The '{name}' of {type(model).__name__} must be in the range [{low}, inf), as int. "
            f"Got {value!r} instead."
        )
    return int(value)
