"""What codes would cost, ranked: as a table, a card, a frame and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.auto import name_of
from dask_gradcode.history.columns import as_frame
from dask_gradcode.history.picture import pyplot
from dask_gradcode.html import card, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Candidate", "Choice"]

_LISTED = 24  # rows of a card
_OFFSETS = (-3, 12, -15, 24, -27, 36, -39)  # points from a mark up to its label, tried in order


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
    >>> from dask_gradcode.codes import FractionalRepetition
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
    """Candidates in the order of their time per round, the fastest first.

    Printed as a table, in a notebook a card.

    Parameters
    ----------
    candidates : tuple of Candidate
        Ranked.

    Examples
    --------
    >>> from dask_gradcode.simulation import choose
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
        """The table as columns: what ``to_frame`` shows, without pandas."""
        return {
            "code": [c.family for c in self.candidates],
            "n_workers": [c.code.n_workers for c in self.candidates],
            "n_stragglers": [c.n_stragglers for c in self.candidates],
            "seconds": [c.seconds for c in self.candidates],
            "load": [c.load for c in self.candidates],
            "memory": [c.memory for c in self.candidates],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a pandas DataFrame, one row a candidate.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates, 6)
            With the names and values of ``columns``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return as_frame(self.columns, "Choice")

    def __repr__(self) -> str:
        rows = [("code", "n", "s", "seconds", "load", "memory"), *self._rows()]
        return "\n".join(
            f"{code:<20}{n:>6}{s:>4}{seconds:>11}{load:>8}{memory:>13}"
            for code, n, s, seconds, load, memory in rows
        )

    def _repr_html_(self) -> str:
        """Return a card for notebooks: the first candidates."""
        rows = [tuple(map(escape, row)) for row in list(self._rows())[:_LISTED]]
        left = len(self.candidates) - _LISTED
        names = ["code", "workers (n)", "stragglers (s)", "seconds a round", "load", "memory"]
        return card("Choice", table(names, rows, f"{left} slower ones are left out." * (left > 0)))

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the table's rows as text; the memory of all has one unit."""
        most = max((c.memory for c in self.candidates), default=0.0)
        unit, size = ("GiB", 2**30) if most >= 2**30 else ("MiB", 2**20)
        for c in self.candidates:
            memory = "-" if np.isnan(c.memory) else f"{c.memory / size:,.1f} {unit}"
            numbers = str(c.code.n_workers), str(c.n_stragglers), f"{c.seconds:.4g}"
            yield c.family, *numbers, f"{c.load:.1%}", memory

    def plot(self, ax: Any = None) -> Any:
        """Draw time per round against load, the best with n and s beside them.

        A candidate is among the best if no other is both faster and lighter.

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
        ax.set(yscale="log", title="labels: n_workers, n_stragglers of the best")
        ax.yaxis.set_major_formatter("{x:g}")  # 0.1, not a power of ten
        low, high = ax.get_ylim()
        if high < 20 * low:  # beyond that they would cover each other
            ax.yaxis.set_minor_formatter("{x:g}")
        ax.set(xlabel="data on one worker (%)", ylabel="mean time of a round (s)")
        ax.margins(0.08)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))  # where it hides no point
        self._label(ax)
        return ax

    def _label(self, ax: Any) -> None:
        """Write n and s beside the best: labels at all points would hide one another."""
        ax.figure.draw_without_rendering()  # lays it out
        taken: list[Any] = []
        for c in self._frontier():
            text = f"{c.code.n_workers}, {c.n_stragglers}"
            for below in _OFFSETS:
                label = ax.annotate(
                    text,
                    (100 * c.load, c.seconds),
                    (-3, below),
                    textcoords="offset points",
                    fontsize=8,
                    ha="right",
                    va="top",
                )
                box = label.get_window_extent()
                if below == _OFFSETS[-1] or not any(box.overlaps(other) for other in taken):
                    break
                label.remove()
            taken.append(box)

    def _frontier(self) -> list[Candidate]:
        """Return the candidates that are lighter than all faster ones."""
        best: list[Candidate] = []
        for c in self.candidates:
            if np.isfinite(c.seconds) and (not best or c.load < best[-1].load):
                best.append(c)
        return best
