"""A code by its name."""

from __future__ import annotations

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.sizes import check_sizes
from dask_gradcode.codes.uncoded import Uncoded

__all__ = ["make_code"]


def make_code(name: str, n_workers: int, n_stragglers: int, seed: int = 0) -> GradientCode:
    """Return the code with a name.

    Parameters
    ----------
    name : {"auto", "fractional", "cyclic", "uncoded"}
        ``"auto"`` is fractional repetition where ``n_stragglers + 1`` divides ``n_workers``, else
        cyclic repetition; and no code where ``n_stragglers`` is 0.
    n_workers, n_stragglers : int
        ``n`` and ``s``.
    seed : int, default=0
        For codes that are drawn.

    Raises
    ------
    ValueError
        If there is no such code.

    Examples
    --------
    >>> make_code("auto", 6, 2)
    FractionalRepetition(n_workers=6, n_stragglers=2)
    >>> make_code("auto", 5, 1, seed=3)
    CyclicRepetition(n_workers=5, n_stragglers=1, seed=3)
    """
    check_sizes(f"code={name!r}", n_workers, n_stragglers)
    if name == "auto":
        divides = n_workers % (n_stragglers + 1) == 0
        name = "uncoded" if n_stragglers == 0 else "fractional" if divides else "cyclic"
    if name == "uncoded":
        if n_stragglers:
            raise ValueError(
                f"code='uncoded' tolerates no stragglers, got n_stragglers={n_stragglers}. "
                "Use n_stragglers=0, or code='auto'."
            )
        return Uncoded(n_workers)
    if name == "fractional":
        return FractionalRepetition(n_workers, n_stragglers)
    if name == "cyclic":
        return CyclicRepetition(n_workers, n_stragglers, seed)
    raise ValueError(
        f"code must be 'auto', 'fractional', 'cyclic', 'uncoded' or a GradientCode, got {name!r}."
    )
