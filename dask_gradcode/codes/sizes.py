"""The check of a code's two numbers, with one text for all codes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

__all__ = ["check_sizes"]


def check_sizes(code: str, n_workers: Any, n_stragglers: Any) -> None:
    """Raise unless ``n_workers`` and ``n_stragglers`` can be those of a code.

    Parameters
    ----------
    code : str
        Name of the class, for the text.
    n_workers, n_stragglers : object
        What the user gave.

    Raises
    ------
    TypeError
        If one is no integer.
    ValueError
        Unless ``n_workers >= 1`` and ``0 <= n_stragglers < n_workers``.

    Examples
    --------
    >>> check_sizes("CyclicRepetition", 4, 1)
    """
    for name, value in (("n_workers", n_workers), ("n_stragglers", n_stragglers)):
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"The {name!r} of {code} must be an int. Got {value!r} instead.")
    if n_workers < 1:
        raise ValueError(
            f"The 'n_workers' of {code} must be an int in the range [1, inf). "
            f"Got n_workers={n_workers} instead."
        )
    if not 0 <= n_stragglers < n_workers:
        raise ValueError(
            f"The 'n_stragglers' of {code} must be an int in the range [0, n_workers). "
            f"Got n_stragglers={n_stragglers} with n_workers={n_workers} instead."
        )
