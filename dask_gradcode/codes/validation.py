"""The check of a code's arguments that all codes share."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from dask_gradcode.codes.base import GradientCode

__all__ = ["check_counts", "check_int"]


def check_int(code: GradientCode, name: str, low: int, high: int | None, interval: str) -> None:
    """Check one integer field of a code and make it a plain int.

    Parameters
    ----------
    code : GradientCode
        The code, a frozen dataclass under construction.
    name : str
        The field.
    low, high : int, int or None
        The field must be at least ``low`` and below ``high``.
    interval : str
        The same range in words, for the error.

    Raises
    ------
    ValueError
        If the field is not an integer in that range. A bool is not an integer here.
    """
    value = getattr(code, name)
    whole = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    if not whole or value < low or (high is not None and value >= high):
        others = "" if name == "n_workers" else f" with n_workers={code.n_workers}"
        raise ValueError(
            f"The '{name}' of {type(code).__name__} must be an int in the range {interval}. "
            f"Got {name}={value!r}{others} instead."
        )
    # NumPy's integers would show in the repr, and in the size of the pickle.
    object.__setattr__(code, name, int(value))


def check_counts(code: GradientCode) -> None:
    """Check ``n_workers`` and ``n_stragglers`` of a code under construction.

    Raises
    ------
    ValueError
        If they are not integers with ``n_workers >= 1`` and ``0 <= n_stragglers < n_workers``.
    """
    check_int(code, "n_workers", 1, None, "[1, inf)")
    check_int(code, "n_stragglers", 0, code.n_workers, "[0, n_workers)")
