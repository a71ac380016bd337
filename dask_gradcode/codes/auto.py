"""A code by name."""

from __future__ import annotations

from contextlib import suppress

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.uncoded import Uncoded

__all__ = ["make_code"]

_NAMES = ("auto", "fractional", "cyclic", "uncoded")


def make_code(name: str, n_workers: int, n_stragglers: int, seed: int = 0) -> GradientCode:
    """Return the code of that name.

    Parameters
    ----------
    name : {"auto", "fractional", "cyclic", "uncoded"}
        "auto" is fractional repetition where ``n_stragglers + 1`` divides ``n_workers``, as it is
        exact to the last bit and often done sooner; else cyclic repetition; and no code where
        ``n_stragglers`` is 0.
    n_workers : int
        Number of workers.
    n_stragglers : int
        Number of silent workers after which decoding is still exact.
    seed : int, default=0
        Seed of the coefficients of a cyclic code; the others have none.

    Returns
    -------
    GradientCode
        The code of that name for these numbers.

    Raises
    ------
    ValueError
        If the name is unknown, or there is no such code for these numbers.

    Examples
    --------
    >>> make_code("auto", 6, 1)
    FractionalRepetition(n_workers=6, n_stragglers=1)
    >>> make_code("auto", 7, 1)
    CyclicRepetition(n_workers=7, n_stragglers=1, seed=0)
    """
    if name not in _NAMES:
        valid = ", ".join(map(repr, _NAMES[:-1])) + f" or {_NAMES[-1]!r}"
        raise ValueError(f"A code's name must be {valid}, got {name!r}.")
    if name == "uncoded" and n_stragglers:
        raise ValueError(
            f"Uncoded needs all workers, got n_stragglers={n_stragglers}.\n"
            "Use n_stragglers=0, or another code."
        )
    if name == "uncoded" or (name == "auto" and n_stragglers == 0):
        return Uncoded(n_workers)
    if name == "fractional":
        return FractionalRepetition(n_workers, n_stragglers)
    if name == "auto":
        with suppress(ValueError):
            return FractionalRepetition(n_workers, n_stragglers)
    return CyclicRepetition(n_workers, n_stragglers, seed)
