"""An objective that keeps records of its rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dask_gradcode.history.history import History
from dask_gradcode.optimizers import L1, NO_PENALTY
from dask_gradcode.rounds import RoundRecord, TakenBackError
from dask_gradcode.typing import Evaluation, Objective, Vector, exactly, second_order

__all__ = ["Recorder"]


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
    size : float, default=1.0
        What the values in records are multiplied by.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.work import Block
    >>> from dask_gradcode.objective import InProcessObjective
    >>> block = Block(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0]))
    >>> history = History(Uncoded(1), "in-process")
    >>> objective = Recorder(InProcessObjective(history.code, {0: block}, Logistic()), history)
    >>> seen = objective(np.zeros(1))
    >>> history.columns["grad_norm"]
    [1.0]
    """

    def __init__(
        self,
        objective: Objective,
        history: History,
        penalty: L1 = NO_PENALTY,
        size: float = 1.0,
    ) -> None:
        self._objective, self._history = objective, history
        self._penalty, self._size = penalty, size

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate and record."""
        return self._recorded(w, lambda: self._objective(w))

    def exactly(self, w: Vector) -> Evaluation:
        """Evaluate exactly, and record."""
        return self._recorded(w, lambda: exactly(self._objective, w))

    def second_order(self, w: Vector) -> Evaluation:
        """Evaluate with a Hessian, and record."""
        return self._recorded(w, lambda: second_order(self._objective, w))

    def _recorded(self, w: Vector, evaluate: Callable[[], Evaluation]) -> Evaluation:
        try:
            seen = evaluate()
        except TakenBackError as error:  # that round has been run, too
            self._history.records += [one.record for one in error.seen]
            raise
        if not isinstance(seen.record, RoundRecord):
            return seen
        grad_norm = np.abs(self._penalty.steepest(w, seen.gradient)).max(initial=0.0)
        value = self._size * (seen.value + self._penalty.value(w))
        drift = 0.0 if seen.drift is None else float(np.abs(seen.drift).max(initial=0.0))
        record = replace(seen.record, value=value, grad_norm=float(grad_norm), drift=drift)
        self._history.records.append(record)
        return replace(seen, record=record)
