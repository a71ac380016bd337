"""The loop that gradient descent and Nesterov's method share, and the search for a step.

Where sums of older points stand in for some that are late, an evaluation says by how much its
gradient may be off. It is made again, exactly, where that is more than half of the gradient, where
the minimisation would end, and where one such value after another says that a step is too long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from dask_gradcode.optimizers.base import (
    Callback,
    Memory,
    Solution,
    checked,
    recalled,
    remember,
)
from dask_gradcode.optimizers.penalty import L1
from dask_gradcode.optimizers.steps import Step
from dask_gradcode.typing import Evaluation, Objective, Vector, exactly

__all__ = ["Descent"]

MAX_HALVINGS = 40
"""So much shorter a step moves the value by less than its rounding: to accept it proves nothing."""

MOST_ROUGH = 3
"""Trials of one search that approximate values may reject."""

TOO_ROUGH = 0.5
"""From what share of the gradient on its drift is too large."""


class Descent(ABC):
    """One minimisation by gradient steps.

    Attributes
    ----------
    w : ndarray of shape (n_parameters,)
        The newest point whose gradient is known.
    seen : Evaluation
        What was seen there.
    n_iter : int
        Accepted iterations.
    keeps : tuple of str
        The attributes that it needs to go on, besides these three.
    """

    keeps: ClassVar[tuple[str, ...]] = ("length",)
    seen: Evaluation

    def __init__(self, objective: Objective, w0: Vector, step: Step, penalty: L1) -> None:
        self._objective, self._step, self._penalty = objective, step, penalty
        self.length = 1.0  # the step that backtracking tries first
        self.w, self.n_iter = w0.copy(), 0

    @abstractmethod
    def advance(self) -> bool:
        """Move ``w`` and ``seen`` on by one iteration; False if no step decreases the value."""

    def run(
        self, max_iter: int, tol: float, callback: Callback | None, memory: Memory | None
    ) -> Solution:
        """Iterate until the gradient is small or the iterations are used up."""
        memory = {} if memory is None else memory
        is_rough = self._begin(memory)
        while True:
            if self._is_over(max_iter, tol) and is_rough:
                self.seen = self.exactly(self.w)
            if self._penalty.is_optimal(self.w, self.seen, tol):
                return self._solution(True, "The gradient is small.")
            if self.n_iter >= max_iter:
                return self._solution(False, "The iteration limit was reached.")
            length = self.length
            if not self.advance():
                if self.seen.drift is None:
                    return self._solution(False, "No step decreases the value.")
                self.seen, self.length = self.exactly(self.w), length
                continue
            self.n_iter += 1
            is_rough = self.seen.drift is not None
            more = {name: getattr(self, name) for name in self.keeps}
            remember(memory, self.n_iter, self.w, self.seen, **more)
            if callback is not None:
                callback(self.n_iter, self.w, self.seen)

    def _begin(self, memory: Memory) -> bool:
        """Begin, or go on where a memory says; return whether ``seen`` may be approximate."""
        if not memory:
            self.seen = checked(self._objective(self.w), 0)
            return self.seen.drift is not None
        self.n_iter, self.w, self.seen = recalled(memory)
        for name in self.keeps:
            setattr(self, name, memory[name])
        return bool(memory.get("approximate", False))

    def _is_over(self, max_iter: int, tol: float) -> bool:
        return self.n_iter >= max_iter or self._penalty.is_optimal(self.w, self.seen, tol)

    def evaluate(self, w: Vector) -> Evaluation:
        """Run a round, whose result must be finite; another one if it is too rough."""
        return checked(self.look(w), self.n_iter + 1)

    def exactly(self, w: Vector) -> Evaluation:
        """Run an exact round, whose result must be finite."""
        return checked(exactly(self._objective, w), self.n_iter + 1)

    def look(self, w: Vector, *, exact: bool = False) -> Evaluation:
        """Run a round, an exact one if that is wanted or an approximate one is too rough."""
        if exact:
            return exactly(self._objective, w)
        seen = self._objective(w)
        if seen.drift is None:
            return seen
        slope = np.linalg.norm(self._penalty.steepest(w, seen.gradient))
        is_too_rough = np.linalg.norm(seen.drift) > TOO_ROUGH * slope
        return exactly(self._objective, w) if is_too_rough else seen

    def move(self, y: Vector, gradient: Vector, length: float) -> Vector:
        """Return the end of a gradient step from ``y``, then of one of the penalty's."""
        return self._penalty.prox(y - length * gradient, length)

    def search(self, y: Vector, at_y: Evaluation) -> tuple[Vector, Evaluation] | None:
        """Halve the step from ``y`` until the value falls by at least what the model promises.

        The model is the slope at ``y`` and a curvature of ``1 / step``; without a penalty that asks
        for half of what the slope alone promises.
        """
        first, n_rough = self.length, 0
        while self.length > first * 0.5**MAX_HALVINGS:
            x = self.move(y, at_y.gradient, self.length)
            there = self.look(x, exact=n_rough > MOST_ROUGH)
            if _is_below(x - y, at_y, there, self.length):
                return x, checked(there, self.n_iter + 1)
            self.length *= 0.5
            if at_y.drift is not None or there.drift is not None:
                # what stands in may have been renewed between the two, so it may be long enough
                n_rough, before = n_rough + 1, at_y.value
                at_y = self.look(y, exact=n_rough > MOST_ROUGH)
                if at_y.value != before and n_rough in (1, MOST_ROUGH + 1):
                    self.length = first
        return None

    def _solution(self, converged: bool, message: str) -> Solution:
        return Solution(
            self.w, self.seen.value, self.seen.gradient, self.n_iter, converged, message
        )


def _is_below(d: Vector, old: Evaluation, new: Evaluation, length: float) -> bool:
    """Say whether the value at the end of a step ``d`` is below the model of the old one."""
    curve = float(d @ d) / length
    model = old.value + float(old.gradient @ d) + 0.5 * curve
    if new.value <= model:
        return True
    # Where rounding hides so small a difference, the slopes tell whether the curvature is smaller.
    rounding = old.rounding + new.rounding + 4 * np.finfo(float).eps * abs(old.value)
    return bool(new.value <= model + rounding and (new.gradient - old.gradient) @ d <= curve)
