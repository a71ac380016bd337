"""Which code, how many workers and how many stragglers: simulated before machines are rented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
    Uncoded,
)
from dask_gradcode.codes.auto import name_of
from dask_gradcode.history import History
from dask_gradcode.history.picture import pyplot
from dask_gradcode.rounds import InsufficientWorkersError
from dask_gradcode.simulation.objective import simulate
from dask_gradcode.simulation.recorded import recorded
from dask_gradcode.stragglers import StragglerModel

__all__ = ["Candidate", "Choice", "choose"]


@dataclass(frozen=True)
class Candidate:
    """One code and what it would cost.

    Parameters
    ----------
    code : GradientCode
        The code.
    n_stragglers : int
        Its ``s``: of silent workers, or for :class:`PartialStragglers` of slow ones.
    seconds : float
        Mean time of a round; ``inf`` if some round would never end.
    load : float
        Largest share of the data on one worker.
    memory : float
        Bytes of data on that worker; NaN if the size of the data was not given.

    Examples
    --------
    >>> Candidate(FractionalRepetition(4, 1), 1, seconds=0.3, load=0.5, memory=2e9).family
    'fractional'
    """

    code: GradientCode
    n_stragglers: int
    seconds: float
    load: float
    memory: float

    @property
    def family(self) -> str:
        """The code's name: ``"partial-cyclic"``, say; that of its class if it is your own."""
        return name_of(self.code)


@dataclass(frozen=True, repr=False)
class Choice:
    """Candidates in the order of their time per round, the fastest first; printed as a table.

    Parameters
    ----------
    candidates : tuple of Candidate
        Ranked.

    Examples
    --------
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> choice = choose(FixedDelay(9.0, workers=[0]), 4, work=1.0, max_stragglers=1)
    >>> choice.best
    DeclusteredRepetition(n_workers=4, n_stragglers=1, spread=4, n_leaves=8)
    >>> choice.columns["code"][-1]
    'uncoded'
    """

    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> GradientCode:
        """The fastest code."""
        return self.candidates[0].code

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The table as columns, such as ``pandas.DataFrame`` takes."""
        return {
            "code": [c.family for c in self.candidates],
            "n_workers": [c.code.n_workers for c in self.candidates],
            "n_stragglers": [c.n_stragglers for c in self.candidates],
            "seconds": [c.seconds for c in self.candidates],
            "load": [c.load for c in self.candidates],
            "memory": [c.memory for c in self.candidates],
        }

    def __repr__(self) -> str:
        lines = [f"{'code':<20}{'n':>6}{'s':>4}{'seconds':>11}{'load':>8}{'memory':>13}"]
        for c in self.candidates:
            memory = "-" if np.isnan(c.memory) else f"{c.memory / 2**20:,.1f} MiB"
            lines.append(
                f"{c.family:<20}{c.code.n_workers:>6}{c.n_stragglers:>4}{c.seconds:>11.4g}"
                f"{c.load:>8.1%}{memory:>13}"
            )
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw time per round against load, the best with n and s beside them.

        The best are those than which no other is both faster and lighter.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. None: a new figure.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("Choice.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
        finite = [c for c in self.candidates if np.isfinite(c.seconds)]
        for family in dict.fromkeys(c.family for c in finite):
            mine = [c for c in finite if c.family == family]
            ax.plot([100 * c.load for c in mine], [c.seconds for c in mine], "o", label=family)
        for c in self._frontier():  # labels at all points would hide one another
            text = f"{c.code.n_workers}, {c.n_stragglers}"
            at, offset = (100 * c.load, c.seconds), (-3, -3)
            ax.annotate(
                text, at, offset, textcoords="offset points", fontsize=8, ha="right", va="top"
            )
        ax.set(yscale="log", title="labels: n_workers, n_stragglers of the best")
        ax.yaxis.set_major_formatter("{x:g}")  # 0.1, not a power of ten
        low, high = ax.get_ylim()
        if high < 20 * low:  # beyond that they would cover each other
            ax.yaxis.set_minor_formatter("{x:g}")
        ax.set(xlabel="data on one worker (%)", ylabel="mean time of a round (s)")
        ax.margins(0.08)
        ax.legend()
        return ax

    def _frontier(self) -> list[Candidate]:
        """Return those that are lighter than all faster ones."""
        best: list[Candidate] = []
        for c in self.candidates:
            if np.isfinite(c.seconds) and (not best or c.load < best[-1].load):
                best.append(c)
        return best


def choose(
    stragglers: StragglerModel | History,
    n_workers: int | Iterable[int],
    *,
    max_stragglers: int = 3,
    work: float | None = None,
    overhead: float = 0.0,
    data_bytes: float | None = None,
    n_rounds: int = 200,
    codes: Iterable[GradientCode] = (),
) -> Choice:
    """Simulate codes for some numbers of workers and stragglers, and rank them.

    The candidates are no code, declustered, fractional and cyclic repetition, and partial
    stragglers over the last two with ``n_private = s + 1``, which allows stragglers to be twice as
    slow. What is not feasible, such as fractional repetition where s + 1 does not divide n, is left
    out.

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
    data_bytes : float, optional
        Size of the data set, for the memory.
    n_rounds : int, default=200
        Rounds to simulate for each candidate.
    codes : iterable of GradientCode, optional
        Codes of your own, or with other parameters, to be ranked beside those.

    Returns
    -------
    Choice
        Ranked by the mean time of a round.

    Raises
    ------
    ValueError
        If a parameter is missing or out of range.
    TypeError
        If ``stragglers`` or one of ``codes`` is none.

    Examples
    --------
    >>> from dask_gradcode.stragglers import ParetoDelay
    >>> choose(ParetoDelay(1.5, 0.1), 4, work=0.2, max_stragglers=1, data_bytes=2**30)
    code                     n   s    seconds    load       memory
    fractional               4   1     0.3447   50.0%    512.0 MiB
    cyclic                   4   1     0.4322   50.0%    512.0 MiB
    declustered              4   1     0.5013   50.0%    512.0 MiB
    partial-fractional       4   1     0.6217   33.3%    341.3 MiB
    partial-cyclic           4   1     0.6235   33.3%    341.3 MiB
    uncoded                  4   0     0.6367   25.0%    256.0 MiB
    """
    sizes = list(n_workers) if isinstance(n_workers, Iterable) else [n_workers]
    if not sizes:
        raise ValueError("n_workers names no number of workers. Give one, or several.")
    own = list(codes)
    for code in own:
        if not isinstance(code, GradientCode):
            raise TypeError(f"codes must be GradientCodes, got {code!r}.")
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
            history = simulate(code, model, n_rounds=n_rounds, work=work, overhead=overhead)
            seconds = float(np.mean(history.columns["seconds"]))
        except InsufficientWorkersError:
            seconds = float("inf")
        memory = float("nan") if data_bytes is None else code.load * data_bytes
        return Candidate(code, s, seconds, code.load, memory)

    found = [candidate(code, s) for n in sizes for code, s in _codes(n, max_stragglers)]
    found += [candidate(code, code.n_stragglers) for code in own]
    return Choice(tuple(sorted(found, key=lambda c: (c.seconds, c.load))))


def _codes(n_workers: int, max_stragglers: int) -> Iterator[tuple[GradientCode, int]]:
    yield Uncoded(n_workers), 0
    for s in range(1, min(max_stragglers, n_workers - 1) + 1):
        yield DeclusteredRepetition(n_workers, s), s
        for family in (FractionalRepetition, CyclicRepetition):
            with suppress(ValueError):  # there is none for these numbers
                inner = family(n_workers, s)
                yield inner, s
                yield PartialStragglers(inner, s + 1), s
