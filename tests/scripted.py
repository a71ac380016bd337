"""A port of rounds that does what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

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
from dask_gradcode.typing import Matrix, Vector
from helpers import answers_of, payloads_of

__all__ = ["Scripted", "sums"]


def sums(code: GradientCode) -> Matrix:
    """Value and gradient of each block, in whole numbers."""
    return np.random.default_rng(0).integers(-9, 10, (code.n_blocks, 3)).astype(float)


class Scripted:
    """A port that does what a generator of events says, and notes what it was told."""

    def __init__(self, code: GradientCode, patience: Patience | None = None) -> None:
        self.code, self.clock, self.waits = code, 0.0, patience or Patience()
        self.payloads = payloads_of(code, sums(code))
        self.script: Iterator[Sequence[Event]] = iter(())
        self.absent: Sequence[Lost] = ()
        self.got: dict[int, float] = {}
        self.round, self.asked = -1, list[tuple[float, Order]]()
        self.ended: Round | None = None

    def now(self) -> float:
        return self.clock

    def patience(self) -> Patience:
        return self.waits

    def begin(self, round: int, w: Vector, order: int) -> Sequence[Lost]:
        self.round = round
        self.got.clear()
        return self.absent

    def send(self, orders: Sequence[Order]) -> None:
        self.asked += [(self.clock, order) for order in orders]
        self.got.update({order.role: self.clock for order in orders})

    def reached(self) -> Mapping[int, float]:
        return self.got

    def events(self, until: float | None) -> Sequence[Event]:
        return next(self.script)

    def explain(self, round: Round) -> BaseException:
        self.ended = round
        return InsufficientWorkersError(str(round.outcome))

    def arrived(self, answer: int, round: int | None = None) -> Arrived:
        role, message = answers_of(self.code)[answer]
        number = self.round if round is None else round
        return Arrived(number, role, message, self.payloads[message])
