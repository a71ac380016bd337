"""What every round of a fit did: as records, as columns, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.history.changes import Change, changes, merged
from dask_gradcode.history.work import Move, computed, moves, speeds
from dask_gradcode.rounds import Discovery, RoundLog, RoundRecord
from dask_gradcode.typing import Matrix

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History"]


@dataclass(eq=False, repr=False)
class History:
    """The rounds of one fit.

    Parameters
    ----------
    code : GradientCode
        The code they used.
    transport : str
        How messages travelled: ``"stream"``, ``"tasks"``, ``"in-process"`` or ``"simulated"``.
    records : list of RoundRecord
        One for each evaluation of the objective, trial steps of a line search included.
    logs : sequence of RoundLog
        What happened in the last 64 rounds and in those that ended in an error or a doubt, event by
        event; not pickled.
    found : sequence of Discovery
        Which workers an audit has expelled, and which rounds were taken back.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> History(Uncoded(2), "in-process")
    History(0 rounds, Uncoded(n_workers=2), transport='in-process')
    """

    code: GradientCode
    transport: str
    records: list[RoundRecord] = field(default_factory=list)
    logs: Sequence[RoundLog] = ()
    found: Sequence[Discovery] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "logs"}

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[RoundRecord]:
        return iter(self.records)

    def __getitem__(self, index: int) -> RoundRecord:
        return self.records[index]

    def __repr__(self) -> str:
        what = "" if all(record.exact for record in self) else ", approximate"
        return f"History({len(self)} rounds{what}, {self.code!r}, transport={self.transport!r})"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """Return a card for notebooks: what the fit cost, and what it survived."""
        from dask_gradcode.history.card import history_card

        return history_card(self)

    def summary(self) -> str:
        """Return in one line what the rounds cost and what they survived.

        Returns
        -------
        str
            Rounds and their seconds; how much work the answers were, by that of uncoded rounds, and
            how much of it moved from its owner to others; how many workers were late, lost and
            restored, and how many relocated, for how long not all were placed, and whether every
            sum was exact.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").summary()
        'no rounds with Uncoded(n_workers=2), in-process'
        """
        from dask_gradcode.history.line import in_a_line

        return in_a_line(self)

    @property
    def arrivals(self) -> Matrix:
        """When each worker's last message arrived, of shape (n_rounds, n_workers).

        In seconds after the round's start; NaN where no message of the worker ever arrived.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").arrivals.shape
        (0, 2)
        """
        rows = [record.arrived_at for record in self]
        return np.array(rows).reshape(len(rows), self.code.n_workers)

    @property
    def speeds(self) -> Matrix:
        """How fast each worker was, of shape (n_rounds, n_workers).

        In blocks a second: what a worker had sent by the seconds since the start of the round, at
        the message after which that was most; NaN where it sent none.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").speeds.shape
        (0, 2)
        """
        rows = [speeds(self.code, record) for record in self]
        return np.array(rows).reshape(len(rows), self.code.n_workers)

    @property
    def moves(self) -> list[Move]:
        """Which blocks were computed by another worker than their owner, and by which.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").moves
        []
        """
        return moves(self.code, self.records)

    @property
    def work(self) -> float:
        """How much was computed for the messages that came, by the work of uncoded rounds.

        What workers began and gave up is not known, and not in it. NaN if there are no rounds.

        Examples
        --------
        >>> from dask_gradcode.codes import DeclusteredRepetition
        >>> from dask_gradcode.simulation import simulate
        >>> from dask_gradcode.stragglers import FixedDelay
        >>> simulate(DeclusteredRepetition(4, 1), FixedDelay(0.0)).work
        1.0
        """
        return computed(self.code, self.records) if len(self) else float("nan")

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The records as columns: what ``to_frame`` shows, without pandas.

        ``seconds`` is a round's time, ``grad_norm`` is ``max |gradient|``. These count workers:
        ``n_used`` were decoded from. Of the workers that had not answered when the round ended,
        ``n_late`` straggle, ``n_lost`` could not answer any more, the others made up for
        ``n_not_needed``, and ``n_unplaced`` are not placed yet. ``n_restored`` could answer again,
        ``n_relocated`` are on another worker of the cluster than before, ``n_spared`` were not
        asked, and ``n_hurried`` were told to yield. ``n_moved`` is how many blocks were computed
        by another worker than their owner, ``speeds`` a list of each worker's blocks a second.
        """
        from dask_gradcode.history.columns import as_columns

        return as_columns(self)

    @property
    def events(self) -> list[Change]:
        """Which workers were lost, when, at what cost, and from when on they were there again.

        Also which workers were expelled for a wrong sum, with their blocks; which blocks' sums
        could not be verified, where that was wanted; which rounds were taken back; and which
        workers were relocated: went over to another worker of the cluster without being missed.
        Where the first round began without some of the workers, from when on all were there.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").events
        []
        """
        return merged(changes(self.records, self.code.blocks_of), self.found)

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a pandas DataFrame, one row a round.

        Returns
        -------
        pandas.DataFrame of shape (n_rounds, n_columns)
            With the names and values of ``columns``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from dask_gradcode.history.columns import as_frame

        return as_frame(self.columns, "History")

    def plot(self, axes: Any = None) -> Any:
        """Draw the time of each round, and when each worker answered in it.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, optional
            Where to draw. None: a new figure.

        Returns
        -------
        ndarray of two matplotlib Axes
            Time of each round, and arrivals. ``axes[0].figure`` is the figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``axes`` are not two.
        """
        from dask_gradcode.history.picture import pyplot

        plt = pyplot("History.plot")
        own = axes is None
        if own:
            figure, axes = plt.subplots(
                2, 1, figsize=(8, 5.5), sharex=True, height_ratios=[2, 3], layout="constrained"
            )
            figure.suptitle(repr(self.code), fontsize=10)
        both = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
        if both.size != 2:
            raise ValueError(
                f"History.plot needs two axes, got {both.size}. plot_times(ax) and "
                "plot_arrivals(ax) draw on one."
            )
        self.plot_times(both[0])
        self.plot_arrivals(both[1])
        if own:
            both[0].set_xlabel("")
        return both

    def plot_times(self, ax: Any = None) -> Any:
        """Draw the time of each round, and mark which ones all workers answered, or why not.

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
        from dask_gradcode.history.picture import draw_times, pyplot

        plt = pyplot("History.plot_times")
        return draw_times(self, plt.subplots(layout="constrained")[1] if ax is None else ax)

    def plot_arrivals(self, ax: Any = None) -> Any:
        """Draw when each worker's last message of each round arrived, or why it did not.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. None: a new figure.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: workers from below, rounds from the left. A worker that never
            answered has the colour of the reason: not needed, not placed yet, late or lost.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from dask_gradcode.history.picture import draw_arrivals, pyplot

        plt = pyplot("History.plot_arrivals")
        return draw_arrivals(self, plt.subplots(layout="constrained")[1] if ax is None else ax)
