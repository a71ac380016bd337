"""Work at several points at once, which travel abreast."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from dask_gradcode.losses import Layout, Loss
from dask_gradcode.several import Several
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work

__all__ = ["InTurn", "LossAtPoints", "ManyPointsWork"]


@runtime_checkable
class ManyPointsWork(Work, Protocol):
    """Work that knows how to do several points in one pass over the rows.

    Examples
    --------
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.work import as_work
    >>> isinstance(as_work(Logistic()), ManyPointsWork)
    True
    """

    @abstractmethod
    def at_points(self, n_points: int) -> Work:
        """Return the work at so many points, abreast: ``statistic`` is of several."""


@dataclass(frozen=True)
class InTurn(Work):
    """Any work at several points, one after the other: each has the bits that it has alone.

    Parameters
    ----------
    work : Work
        What to compute at each point.
    n_points : int
        How many there are.

    Examples
    --------
    >>> from dask_gradcode.work import as_work
    >>> work = InTurn(as_work(lambda w, block: (float(w @ w), 2 * w)), n_points=2)
    >>> out = np.zeros(6)
    >>> w = np.array([1.0, 10.0, 2.0, 20.0])  # of the points (1, 2) and (10, 20)
    >>> work.add(Block(np.ones((1, 2)), np.zeros(1)), w, 1.0, out, lambda: False)
    True
    >>> out
    array([  5., 500.,   2.,  20.,   4.,  40.])
    """

    work: Work
    n_points: int

    def statistic(self, w: Vector) -> Several:
        return Several(self.work.statistic(self._point(w, 0)), self.n_points)

    @property
    def per_column(self) -> int | None:
        k = self.work.per_column
        return None if k is None else k * self.n_points

    @property
    def is_foreign(self) -> bool:
        return self.work.is_foreign

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        parts = self.work.parts(block, self._point(w, 0))
        return [replace(self, work=part) for part in parts]

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        several = self.statistic(w)
        for k in range(self.n_points):
            total = several.point(out, k).copy()
            if not self.work.add(block, self._point(w, k), coefficient, total, should_stop):
                return False
            several.point(out, k)[:] = total
        return True

    def _point(self, w: Vector, k: int) -> Vector:
        return w[k :: self.n_points].copy()


@dataclass(frozen=True)
class LossAtPoints(Loss):
    """A loss at several points at once: the predictors of a row at all of them are its own.

    To a pass over rows that is one more loss with several outputs, so that the points share two
    products of matrices. Only its values are several: an array of shape (n_points, n_rows).

    Parameters
    ----------
    loss : Loss
        The loss.
    n_points : int
        How many points there are.

    Examples
    --------
    >>> from dask_gradcode.losses import Squared
    >>> loss = LossAtPoints(Squared(), n_points=2)
    >>> loss.pointwise(np.array([[1.0, 5.0]]), np.array([1.0]))
    (array([[0.],
           [8.]]), array([[0., 4.]]))
    """

    loss: Loss
    n_points: int

    @property
    def n_outputs(self) -> int:
        return self.loss.n_outputs * self.n_points

    def layout(self, n_features: int, size: int) -> Layout:
        if size % self.n_points:
            raise ValueError(
                f"The parameters of {self.n_points} points are a multiple of that, got {size}."
            )
        of_one = self.loss.layout(n_features, size // self.n_points)
        n_outputs, n_own = of_one.n_outputs * self.n_points, of_one.n_own * self.n_points
        return replace(of_one, n_outputs=n_outputs, n_own=n_own)

    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        n_rows, n_points = len(z), self.n_points
        n_columns = (z.shape[1] if z.ndim > 1 else 1) // n_points
        # as each row stands alone, a row at another point is one more row
        if n_columns == 1:  # which are in order as they are
            value, derivative = self.loss.pointwise(z.reshape(-1), np.repeat(y, n_points))
            return value.reshape(n_rows, n_points).T, derivative.reshape(z.shape)
        of_points = z.reshape(n_rows, n_columns, n_points).transpose(2, 0, 1)
        columns = of_points.reshape(n_points * n_rows, n_columns)
        value, derivative = self.loss.pointwise(
            columns if n_columns > 1 else columns[:, 0], np.tile(y, n_points)
        )
        slopes = derivative.reshape(n_points, n_rows, n_columns).transpose(1, 2, 0)
        return value.reshape(n_points, n_rows), slopes.reshape(z.shape)
