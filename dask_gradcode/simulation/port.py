"""Workers that only take time, and the clock that they and the client share."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import (
    Arrived,
    Event,
    InsufficientWorkersError,
    Lost,
    Order,
    Patience,
    Round,
)
from dask_gradcode.stragglers import StragglerModel
from dask_gradcode.typing import Payload, Vector

__all__ = ["VirtualPort"]


class VirtualPort:
    """Runs rounds on a virtual clock.

    As on a cluster a delay cannot be interrupted, computing is given up once a newer round has
    come, and only the newest round is worked on: whoever is still in an old round's delay when it
    is asked starts on the new one after that, with the new round's delay.

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
    payload : callable
        ``payload(index, w)`` gives a message that arrives; called in the order of arrival.
    """

    def __init__(
        self,
        code: GradientCode,
        model: StragglerModel,
        work: ArrayLike,
        overhead: float,
        payload: Callable[[int, Vector], Payload],
    ) -> None:
        if not isinstance(model, StragglerModel):
            raise TypeError(
                f"straggler_model must be a StragglerModel, got {model!r}. "
                "dask_gradcode.stragglers has several."
            )
        self._code, self._model, self._payload = code, model, payload
        self._work, self._overhead = _checked(work, overhead, code).tolist(), overhead
        self._share = [len(message.blocks) / code.n_blocks for message in code.messages]
        self._clock, self._round, self._w = 0.0, -1, np.zeros(0)
        self._delays: list[float] = []  # of this round
        self._wakes_at = [0.0] * code.n_workers  # when the last delay that has begun ends
        self._free_at: dict[int, float] = {}  # when a role has computed all that it was asked for
        self._began: dict[int, tuple[float, float]] = {}  # this round's delays: from when to when
        self._coming: list[tuple[float, int, int]] = []  # heap of arrivals: when, message, role

    def now(self) -> float:
        return self._clock

    def patience(self) -> Patience:
        return Patience()  # who is silent stays silent

    def begin(self, round: int, w: Vector) -> Mapping[int, str]:
        for role, (began, ends) in self._began.items():
            if began < self._clock:  # else its delay had not begun yet, and never will
                self._wakes_at[role] = ends
        self._round, self._w = round, w
        self._delays = self._model.delays(round, self._code.n_workers).tolist()
        self._began, self._free_at, self._coming = {}, {}, []
        return {}

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            role = order.role
            if role not in self._began:
                begins = max(self._wakes_at[role], self._clock)
                self._began[role] = begins, begins + self._delays[role]
                self._free_at[role] = self._began[role][1]
            at = max(self._free_at[role], self._clock)
            for message in order.messages:
                at += self._work[role] * self._share[message]
                heapq.heappush(self._coming, (at + self._overhead, message, role))
            self._free_at[role] = at

    def events(self, until: float | None) -> Sequence[Event]:
        when = self._coming[0][0] if self._coming else np.inf
        if until is not None and until < when:
            self._clock = max(self._clock, until)
            return []
        if when == np.inf:  # what has arrived is all that ever will
            silent = sorted({role for _, _, role in self._coming})
            self._coming = []
            return [Lost(role, "it never answers") for role in silent]
        self._clock, message, role = heapq.heappop(self._coming)
        return [Arrived(self._round, role, message, self._payload(message, self._w))]

    def explain(self, round: Round) -> BaseException:
        silent = ", ".join(map(str, round.state.missing()))
        return InsufficientWorkersError(
            f"Round {round.number} never ends: worker(s) {silent} never answer.\n"
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
