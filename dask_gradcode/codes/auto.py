"""A code by name, and the name of a code: the one place that knows them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.declustered import DeclusteredRepetition
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.partial import PartialStragglers
from dask_gradcode.codes.size import Size
from dask_gradcode.codes.sliced import SlicedRepetition
from dask_gradcode.codes.uncoded import Uncoded

__all__ = ["AUTO", "CODES", "make_code", "name_of", "one_fewer", "usual_stragglers"]

CODES: Mapping[str, type[GradientCode]] = {
    "declustered": DeclusteredRepetition,
    "fractional": FractionalRepetition,
    "cyclic": CyclicRepetition,
    "sliced": SlicedRepetition,
    "partial-fractional": PartialStragglers,
    "partial-cyclic": PartialStragglers,
    "uncoded": Uncoded,
}
"""The codes that have a name."""

USUAL_LEAVES = 8
"""Blocks of a share of declustered repetition where data are large; examples/guide/declustered.md
has the reasons."""

AUTO = "auto"
"""Stands for the best exact code."""


def name_of(code: GradientCode) -> str:
    """Return the name of a code, that of its class if it has none.

    Examples
    --------
    >>> name_of(PartialStragglers(CyclicRepetition(4, 1), 2))
    'partial-cyclic'
    """
    if isinstance(code, PartialStragglers):
        return f"partial-{name_of(code.inner)}"
    if code.mixes:  # by their names there are others
        return type(code).__name__
    names = (name for name, kind in CODES.items() if type(code) is kind)
    return next(names, type(code).__name__)


def usual_stragglers(name: str, n_workers: int) -> int:
    """Return how many stragglers a code of that name tolerates if nobody says how many.

    Examples
    --------
    >>> usual_stragglers("auto", 4), usual_stragglers("auto", 1), usual_stragglers("uncoded", 4)
    (1, 0, 0)
    """
    return 0 if CODES.get(name) is Uncoded or n_workers == 1 else 1


def make_code(
    name: str, n_workers: int, n_stragglers: int, seed: int = 0, size: Size | None = None
) -> GradientCode:
    """Return the code of that name.

    Parameters
    ----------
    name : {"auto", "declustered", "fractional", "cyclic", "sliced", "partial-fractional", \
"partial-cyclic", "uncoded"}
        "auto" is declustered repetition where a round's time is computing, which the size of the
        data says. Otherwise it is fractional repetition where ``n_stragglers + 1`` divides
        ``n_workers``, as that is exact to the last bit and often done sooner, and cyclic repetition
        where it does not; and no code where ``n_stragglers`` is 0. The partial codes have
        ``n_stragglers + 1`` blocks of each worker's own: for stragglers half as fast.
    n_workers : int
        Number of workers.
    n_stragglers : int
        Number of silent workers after which decoding is still exact.
    seed : int, default=0
        Seed of the coefficients of a cyclic code; the others have none.
    size : Size, optional
        Of the data. Shares of declustered repetition have fewer leaves where data are small.
        None: it is not known.

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
    >>> make_code("auto", 6, 1, size=Size(n_rows=10**6, n_values=10**8, n_features=100))
    DeclusteredRepetition(n_workers=6, n_stragglers=1, spread=4, n_leaves=8)
    """
    if name != AUTO and name not in CODES:
        *others, last = map(repr, (AUTO, *CODES))
        raise ValueError(f"A code's name must be {', '.join(others)} or {last}, got {name!r}.")
    kind = CODES.get(name)
    if kind is Uncoded and n_stragglers:
        raise ValueError(
            f"Uncoded needs all workers, got n_stragglers={n_stragglers}.\n"
            "Use n_stragglers=0, or another code."
        )
    if name == AUTO and n_workers > 0 and not 0 <= n_stragglers < n_workers:
        raise ValueError(
            "n_stragglers must be at least 0 and less than the number of workers, got "
            f"n_stragglers={n_stragglers} for {n_workers} workers.\n"
            f"Use {n_workers - 1} at most, or more workers."
        )
    if name == AUTO and n_stragglers:
        kind = _best(n_workers, n_stragglers, size)
    if kind is None or kind is Uncoded:
        return Uncoded(n_workers)
    if kind is DeclusteredRepetition:
        n_leaves = USUAL_LEAVES if size is None else size.leaves(n_workers, USUAL_LEAVES)
        return DeclusteredRepetition(n_workers, n_stragglers, n_leaves=n_leaves)
    if kind is PartialStragglers:
        inner = make_code(name.removeprefix("partial-"), n_workers, n_stragglers, seed)
        assert isinstance(inner, FractionalRepetition | CyclicRepetition)
        return PartialStragglers(inner, n_stragglers + 1)
    if kind is CyclicRepetition:
        return CyclicRepetition(n_workers, n_stragglers, seed)
    assert kind is FractionalRepetition or kind is SlicedRepetition
    return kind(n_workers, n_stragglers)


def one_fewer(code: GradientCode) -> GradientCode | None:
    """Return the code of one worker fewer, where it serves better than a cyclic one of all.

    It is exact to the last bit, and the worker left over takes the role of one that is lost.

    Examples
    --------
    >>> one_fewer(CyclicRepetition(7, 1)), one_fewer(CyclicRepetition(8, 2))
    (FractionalRepetition(n_workers=6, n_stragglers=1), None)
    """
    n, s = code.n_workers - 1, code.n_stragglers
    # with a single group each worker would hold all of the data
    if isinstance(code, CyclicRepetition) and n % (s + 1) == 0 and n > s + 1:
        return FractionalRepetition(n, s)
    return None


def _best(n_workers: int, n_stragglers: int, size: Size | None) -> type[GradientCode]:
    """Return the best exact code that tolerates stragglers."""
    if size is not None and size.is_computing(n_workers):
        return DeclusteredRepetition
    with suppress(ValueError):
        FractionalRepetition(n_workers, n_stragglers)
        return FractionalRepetition
    return CyclicRepetition
