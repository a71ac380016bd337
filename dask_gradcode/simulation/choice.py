"""Which code, how many workers and how many stragglers: simulated before machines are rented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from numbers import Integral

import numpy as np

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
    SlicedRepetition,
    Uncoded,
)
from dask_gradcode.history import History
from dask_gradcode.rounds import InsufficientWorkersError
from dask_gradcode.simulation.candidates import Candidate, Choice
from dask_gradcode.simulation.objective import simulate
from dask_gradcode.simulation.port import refuse_exchanges
from dask_gradcode.simulation.recorded import recorded
from dask_gradcode.stragglers import StragglerModel

__all__ = ["choose"]


def choose(
    stragglers: StragglerModel | History,
    n_workers: int | Iterable[int],
    *,
    max_stragglers: int = 3,
    work: float | None = None,
    overhead: float = 0.0,
    upload: float = 0.0,
    data_bytes: float | None = None,
    n_rounds: int = 200,
    codes: Iterable[GradientCode] = (),
) -> Choice:
    """Simulate codes for some numbers of workers and stragglers, and rank them.

    The candidates are no code, declustered, fractional and cyclic repetition, and partial
    stragglers over the last two with ``n_private = s + 1``, which allows stragglers to be twice as
    slow; and sliced repetition, where sending takes time. What is not feasible, such as fractional
    repetition where s + 1 does not divide n, is left out.

    Parameters
    ----------
    stragglers : StragglerModel or History
        How late workers are: a model, or what a fit has seen (see :func:`recorded`), also for more
        workers than it had.
    n_workers : int or iterable of int
        How many workers there may be.
    max_stragglers : int, default=3
        Largest ``s`` to try.
    work : float, optional
        Seconds in which one worker alone would compute the whole data set. Needed with a model;
        None: read from the history.
    overhead : float, default=0.0
        Seconds of every message for all that is not computing.
    upload : float, default=0.0
        Seconds in which a worker sends a whole payload: its bytes, divided by what its uplink
        takes a second.
    data_bytes : float, optional
        Size of the data set, for the memory.
    n_rounds : int, default=200
        Rounds to simulate for each candidate.
    codes : iterable of GradientCode, optional
        Codes of your own, or with other parameters, to be ranked as well.

    Returns
    -------
    Choice
        Ranked by the mean time of a round.

    Raises
    ------
    ValueError
        If a parameter is missing or out of range, or a code is cooperative: its workers wait for
        each other, which the virtual clock does not know.
    TypeError
        If ``stragglers`` or one of ``codes`` is none.

    Examples
    --------
    >>> from dask_gradcode.stragglers import ParetoDelay
    >>> choose(ParetoDelay(1.5, 0.1), 4, work=0.2, max_stragglers=1, data_bytes=2**30)
    code                     n   s    seconds    load       memory
    fractional               4   1     0.3447   50.0%    512.0 MiB
    cyclic                   4   1     0.4322   50.0%    512.0 MiB
    declustered              4   1      0.487   50.0%    512.0 MiB
    partial-fractional       4   1     0.6217   33.3%    341.3 MiB
    partial-cyclic           4   1     0.6235   33.3%    341.3 MiB
    uncoded                  4   0     0.6367   25.0%    256.0 MiB
    """
    sizes = list(n_workers) if isinstance(n_workers, Iterable) else [n_workers]
    if not sizes:
        raise ValueError("n_workers names no number of workers. Give one, or several.")
    own = _own(codes)
    whole = isinstance(max_stragglers, Integral) and not isinstance(max_stragglers, bool)
    if not whole or max_stragglers < 0:
        raise ValueError(f"max_stragglers must be an int >= 0, got {max_stragglers!r}.")
    model: StragglerModel
    if isinstance(stragglers, History):
        model, measured = recorded(stragglers, max([*sizes, *(code.n_workers for code in own)]))
        work = measured if work is None else work
    elif isinstance(stragglers, StragglerModel):
        model = stragglers
    else:
        raise TypeError(f"stragglers must be a StragglerModel or a History, got {stragglers!r}.")
    if work is None:
        raise ValueError(
            "With a straggler model choose needs work: the seconds in which one worker alone would "
            "compute the whole data set. A History would tell it."
        )

    def candidate(code: GradientCode, s: int) -> Candidate:
        try:
            history = simulate(
                code, model, n_rounds=n_rounds, work=work, overhead=overhead, upload=upload
            )
            seconds = float(np.mean(history.columns["seconds"]))
        except InsufficientWorkersError:
            seconds = float("inf")
        memory = float("nan") if data_bytes is None else code.load * data_bytes
        return Candidate(code, s, seconds, code.load, memory)

    found = [candidate(code, s) for n in sizes for code, s in _codes(n, max_stragglers, upload)]
    found += [candidate(code, code.n_stragglers) for code in own]
    return Choice(tuple(sorted(found, key=lambda c: (c.seconds, c.load))))


def _own(codes: Iterable[GradientCode]) -> list[GradientCode]:
    """Return a user's codes, or raise for one that cannot be simulated."""
    own = list(codes)
    for code in own:
        if not isinstance(code, GradientCode):
            raise TypeError(f"codes must be GradientCodes, got {code!r}.")
        refuse_exchanges(code)
    return own


def _codes(
    n_workers: int, max_stragglers: int, upload: float
) -> Iterator[tuple[GradientCode, int]]:
    yield Uncoded(n_workers), 0
    for s in range(1, min(max_stragglers, n_workers - 1) + 1):
        yield DeclusteredRepetition(n_workers, s), s
        if upload:
            with suppress(ValueError):
                yield SlicedRepetition(n_workers, s), s
        for family in (FractionalRepetition, CyclicRepetition):
            with suppress(ValueError):  # there is none for these numbers
                inner = family(n_workers, s)
                yield inner, s
                yield PartialStragglers(inner, s + 1), s
