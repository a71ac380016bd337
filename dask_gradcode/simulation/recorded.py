"""Delays and speed of a cluster's workers, read from the history of a fit."""

from __future__ import annotations

import numpy as np

from dask_gradcode.history import History
from dask_gradcode.rounds import RoundRecord
from dask_gradcode.stragglers import TraceDelay
from dask_gradcode.typing import Matrix, Vector

__all__ = ["recorded"]


def recorded(history: History, n_workers: int | None = None) -> tuple[TraceDelay, float]:
    """Split what a history saw of each worker into delays and the time of computing.

    The time of computing is the median over rounds of the first arrival. A worker's delay is by how
    much it was later than that. Where workers send parts of their shares, when they would have sent
    all of it counts instead. Where it missed some rounds and then answered one, the first of those
    is given the whole time until then, as a delay that was not over when the rounds ended; where
    it has not answered until the end, its delay lasts for the rest of the history. Rounds in which
    it was spared say nothing of it, and count as without delay. The history of an uncoded fit tells
    most, as it waits for all workers.

    Parameters
    ----------
    history : History
        Of a fit on a cluster, with at least one round.
    n_workers : int, optional
        For how many workers; any beyond the history's have its delays too, of other rounds.
        None: the history's.

    Returns
    -------
    delays : TraceDelay
        Of shape (n_rounds, n_workers); ``inf`` for a worker that never answered at all.
    work : float
        Seconds in which one worker alone would compute the whole data set.

    Raises
    ------
    ValueError
        If there is no round in it.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> history = simulate(Uncoded(2), FixedDelay(3.0, workers=[1]), work=2.0, n_rounds=4)
    >>> delays, work = recorded(history)
    >>> delays.delays(0, 2), work
    (array([0., 3.]), 2.0)
    """
    if not len(history):
        raise ValueError("The history has no rounds. Use that of a fit on a cluster.")
    code = history.code
    n_first = len(code.messages[code.first(0)[0]].blocks)
    share = n_first / code.n_blocks
    if code.divides:
        arrivals = n_first / history.speeds
    else:
        arrivals = np.array([_first_answers(record) for record in history])
    computing = float(np.median(np.nanmin(arrivals, axis=1)))
    lasted = np.array([record.seconds for record in history])
    table = np.zeros(arrivals.shape)
    for role, column in enumerate(arrivals.T):
        asked = np.array([role not in record.spared for record in history])
        table[asked, role] = _delays(column[asked], lasted[asked], computing)
    copies = -(-(n_workers or code.n_workers) // code.n_workers)
    shifts = [len(table) * i // copies for i in range(copies)]
    wide = np.hstack([np.roll(table, shift, axis=0) for shift in shifts])
    return TraceDelay(wide[:, :n_workers]), computing / share


def _first_answers(record: RoundRecord) -> Vector:
    """Return when each worker first answered, which follows its delay; NaN if it did not."""
    seconds = np.full(record.n_workers, np.nan)
    for answer in reversed(record.answers):
        seconds[answer.role] = answer.seconds
    return seconds


def _delays(arrivals: Vector, lasted: Vector, computing: float) -> Matrix:
    """Return the delays of one worker from its arrivals, NaN where it did not answer."""
    delays = np.zeros(len(arrivals))
    answered = np.flatnonzero(np.isfinite(arrivals)).tolist()
    if not answered:
        return np.full(len(arrivals), np.inf)
    first = 0  # round that its current delay began in
    for number in answered:
        delays[first] = lasted[first:number].sum() + max(0.0, arrivals[number] - computing)
        first = number + 1
    if first < len(arrivals):
        delays[first] = lasted[first:].sum()
    return delays
