"""Workers that only take time, and the clock that they and the client share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Done,
    InsufficientWorkersError,
    Lost,
    Round,
    Stuck,
    Wait,
    WaitRule,
)
from dask_gradcode.rounds.lateness import Lateness
from dask_gradcode.stragglers import StragglerModel
from dask_gradcode.typing import Payload, Vector

__all__ = ["VirtualCluster"]

Step = Done | Wait | Ask | Stuck


class VirtualCluster:
    """Runs rounds on a virtual clock.

    As on a cluster a delay cannot be interrupted, computing is given up once a newer round has
    come, and only the newest round is worked on: whoever is still in an old round's delay when a
    round begins starts on it after that, with the new round's delay.

    Parameters
    ----------
    code : GradientCode
        Who computes what.
    model : StragglerModel
        The delays.
    work : float or array-like of shape (n_workers,)
        Seconds in which a worker computes the whole data set.
    overhead : float
        Seconds of every message that are no worker's computing.
    """

    def __init__(
        self, code: GradientCode, model: StragglerModel, work: ArrayLike, overhead: float
    ) -> None:
        if not isinstance(model, StragglerModel):
            raise TypeError(
                f"straggler_model must be a StragglerModel, got {model!r}. "
                "dask_gradcode.stragglers has several."
            )
        self._code, self._model = code, model
        self._roles = np.array([message.worker for message in code.messages])
        shares = np.array([len(message.blocks) for message in code.messages]) / code.n_blocks
        seconds = _checked(work, overhead, code)[self._roles] * shares
        self._takes = np.empty(len(code.messages))  # seconds from the delay's end to the arrival
        for mine in map(list, code.messages_of):
            self._takes[mine] = np.cumsum(seconds[mine]) + overhead
        self._free_at: Vector = np.zeros(code.n_workers)  # when the last delay ends
        self._n_rounds, self._lateness = 0, Lateness(code)
        self.now = 0.0

    def run(
        self,
        wait: WaitRule,
        payload: Callable[[int], Payload],
        block_rows: Vector | None = None,
    ) -> Round:
        """Run a round, which begins now, and return it when it is done.

        Parameters
        ----------
        wait : WaitRule
            When it has enough messages.
        payload : callable
            ``payload(index)`` gives a message that arrives; called in the order of arrival.
        block_rows : ndarray of shape (n_blocks,), optional
            Rows of each block.

        Raises
        ------
        InsufficientWorkersError
            If those who never answer are needed.
        """
        round_ = Round(self._n_rounds, self._code, wait, self.now, block_rows)
        self._n_rounds += 1
        begins = np.maximum(self._free_at, self.now)
        ends = begins + self._model.delays(round_.number, self._code.n_workers)
        step = self._feed(round_, ends[self._roles] + self._takes, payload)
        if not isinstance(step, Done):
            raise self._why_stuck(round_)
        began = np.flatnonzero(begins < self.now)
        self._free_at[began] = ends[began]
        asked = zip(began.tolist(), begins[began].tolist(), strict=True)
        round_.late.update(self._lateness.end(round_, dict(asked)))
        return round_

    def _feed(self, round_: Round, arrivals: Vector, payload: Callable[[int], Payload]) -> Step:
        step: Step = Wait(round_.wait.until(round_.started))
        order = np.argsort(arrivals, kind="stable")
        times = arrivals[order]
        for index, at in zip(order.tolist(), times.tolist(), strict=True):
            if at == np.inf:
                break
            step = self._pass(round_, step, at)
            if isinstance(step, Done):
                return step
            self.now = at
            role = self._code.messages[index].worker
            step = round_.feed(Arrived(round_.number, role, index, payload(index)), at)
            if isinstance(step, Done):
                return step
        step = self._pass(round_, step, np.inf)
        for role in round_.missing_roles():  # what has arrived is all that ever will
            if isinstance(step, Done):
                break
            step = round_.feed(Lost(role, "it never answers"), self.now)
        return step

    def _pass(self, round_: Round, step: Step, until: float) -> Step:
        """Let time go by until the next arrival, and ask the round when it wanted to be asked."""
        wanted = step.until if isinstance(step, Wait) else None
        if wanted is None or not self.now < wanted < until:
            return step
        self.now = wanted
        return round_.feed(None, wanted)

    def _why_stuck(self, round_: Round) -> InsufficientWorkersError:
        silent = ", ".join(map(str, round_.missing_roles()))
        return InsufficientWorkersError(
            f"Round {round_.number} never ends: worker(s) {silent} never answer.\n"
            f"The code is {self._code!r}.\nIt tolerates {self._code.tolerance}. Use a code with "
            "more n_stragglers."
        )


def _checked(work: ArrayLike, overhead: float, code: GradientCode) -> Vector:
    seconds = np.asarray(work, dtype=float)
    if seconds.shape not in ((), (code.n_workers,)) or not (seconds > 0).all():
        raise ValueError(
            f"work must be seconds > 0, one number or one for each of the {code.n_workers} "
            f"workers, got {work!r}."
        )
    if not 0 <= overhead < np.inf:
        raise ValueError(f"overhead must be seconds in the range [0, inf), got {overhead!r}.")
    return np.broadcast_to(seconds, code.n_workers)
