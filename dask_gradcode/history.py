"""What every round of a fit did, as records, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.optimizers import L1, NO_PENALTY
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.typing import Evaluation, Objective, Vector

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Change", "History", "Recorder"]


@dataclass(frozen=True)
class Change:
    """A worker was lost in a fit, or restored.

    Parameters
    ----------
    round : int
        The first round without the worker, or with it again.
    worker : int
        The code worker, 0 to ``n_workers - 1``.
    what : {"lost", "restored"}
        What became of it.
    cost : float
        Seconds by which that round took longer than the median round; 0 if it did not.
    """

    round: int
    worker: int
    what: str
    cost: float


@dataclass(eq=False, repr=False)
class History:
    """The rounds of one fit.

    Parameters
    ----------
    code : GradientCode
        The code they used.
    transport : str
        How messages travelled: ``"tasks"``, or ``"in-process"``.
    records : list of RoundRecord
        One for each evaluation of the objective, trial steps of a line search included.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> History(Uncoded(2), "in-process")
    History(0 rounds, Uncoded(n_workers=2), transport='in-process')
    """

    code: GradientCode
    transport: str
    records: list[RoundRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[RoundRecord]:
        return iter(self.records)

    def __getitem__(self, index: int) -> RoundRecord:
        return self.records[index]

    def __repr__(self) -> str:
        what = "" if all(record.exact for record in self) else ", approximate"
        return f"History({len(self)} rounds{what}, {self.code!r}, transport={self.transport!r})"

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The records as columns: what ``to_frame`` shows, without pandas.

        ``seconds`` is a round's time, ``grad_norm`` is ``max |gradient|``, and ``n_used``,
        ``n_late``, ``n_lost`` and ``n_restored`` count workers: those decoded from, those that had
        not answered when the round ended, those that could not answer, and those that could again.
        """
        return {
            "round": [r.round for r in self],
            "seconds": [r.seconds for r in self],
            "value": [r.value for r in self],
            "grad_norm": [r.grad_norm for r in self],
            "n_used": [self._workers(r.used) for r in self],
            "n_late": [len(r.late) for r in self],
            "n_lost": [len(r.lost) for r in self],
            "n_restored": [len(r.restored) for r in self],
            "residual": [r.residual for r in self],
            "amplification": [r.amplification for r in self],
            "exact": [r.exact for r in self],
        }

    @property
    def events(self) -> list[Change]:
        """Who was lost, when, what that round cost, and from when on it was there again.

        Examples
        --------
        >>> from dask_gradcode.codes import Uncoded
        >>> History(Uncoded(2), "in-process").events
        []
        """
        found: list[Change] = []
        usual = median(record.seconds for record in self) if len(self) else 0.0
        missing: set[int] = set()
        for record in self:
            cost = max(0.0, record.seconds - usual)
            back = set(record.restored) | (missing - set(record.lost))
            # one who was lost and replaced before a round could miss it is back all the same
            for what, workers in (
                ("lost", back - missing),
                ("restored", back),
                ("lost", set(record.lost) - (missing - back)),
            ):
                found += [Change(record.round, worker, what, cost) for worker in sorted(workers)]
            missing = set(record.lost)
        return found

    def _workers(self, used: Any) -> int:
        return len({self.code.messages[i].worker for i in np.flatnonzero(used)})

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a pandas DataFrame, one row a round.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "History.to_frame needs pandas: pip install 'dask-gradcode[dataframe]'. "
                "history.columns has the same columns as lists."
            ) from error
        return pd.DataFrame(self.columns)

    def plot(self, axes: Any = None) -> Any:
        """Draw the time of each round, and when each worker's messages arrived in it.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, optional
            Where to draw. None: a new figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                "History.plot needs matplotlib: pip install 'dask-gradcode[plot]'."
            ) from error
        if axes is None:
            _, axes = plt.subplots(
                2, 1, figsize=(8, 5), sharex=True, height_ratios=[2, 3], layout="constrained"
            )
        times, arrivals = axes
        columns = self.columns
        times.plot(columns["round"], columns["seconds"], ".-", color="0.3")
        times.set(ylabel="time of a round (s)", title=repr(self.code))
        if len(self):
            # rows are messages, columns rounds; what never arrived stays blank
            grid = np.array([record.arrived_at for record in self]).T
            image = arrivals.imshow(
                np.ma.masked_invalid(grid), aspect="auto", origin="lower", cmap="viridis"
            )
            arrivals.figure.colorbar(image, ax=arrivals, label="arrived after (s)")
            arrivals.set_facecolor("0.85")
        workers = [message.worker for message in self.code.messages]
        arrivals.set_yticks(range(len(workers)), [str(worker) for worker in workers])
        arrivals.set(xlabel="round", ylabel="worker (grey: never arrived)")
        return arrivals.figure


class Recorder:
    """An objective that keeps a record of every evaluation in a history.

    Parameters
    ----------
    objective : Objective
        What to evaluate. Evaluations without a record are passed on unrecorded.
    history : History
        Where records go, with value and gradient norm as this objective returns them.
    penalty : L1, optional
        What the optimizer adds to the objective: records include it.
    """

    def __init__(self, objective: Objective, history: History, penalty: L1 = NO_PENALTY) -> None:
        self._objective, self._history, self._penalty = objective, history, penalty

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate and record."""
        seen = self._objective(w)
        if not isinstance(seen.record, RoundRecord):
            return seen
        grad_norm = np.abs(self._penalty.steepest(w, seen.gradient)).max(initial=0.0)
        value = seen.value + self._penalty.value(w)
        record = replace(seen.record, value=value, grad_norm=float(grad_norm))
        self._history.records.append(record)
        return replace(seen, record=record)
