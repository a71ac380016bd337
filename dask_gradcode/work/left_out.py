"""The errors of leave-one-out cross-validation, which add up over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dask_gradcode.kernels import RidgeModels, add_left_out, runs_of_rows
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work

__all__ = ["LeftOut"]


@dataclass(frozen=True, eq=False)
class LeftOut(Work):
    """Squared errors of ridge regressions, each fitted without the row that it predicts.

    The value is the number of rows, and the gradient has the sum of each model. ``w`` is not used.

    Parameters
    ----------
    models : RidgeModels
        Of all rows.
    run : slice, optional
        Which rows of a block. None: all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.objective import InProcessObjective
    >>> X, y = np.array([[1.0], [2.0]]), np.array([1.0, 4.0])
    >>> coef = np.linalg.solve(X.T @ X + 1.0, X.T @ y)[:, None]
    >>> work = LeftOut(RidgeModels.of(X.T @ X, coef, np.ones(1)))
    >>> seen = InProcessObjective(Uncoded(1), {0: Block(X, y)}, work)(np.zeros(0))
    >>> seen.value, seen.gradient
    (2.0, array([9.36]))
    """

    models: RidgeModels = field(repr=False)
    run: slice | None = field(default=None, repr=False)

    def statistic(self, w: Vector) -> Statistic:
        return Statistic(self.models.n_models)

    @property
    def is_foreign(self) -> bool:
        return False

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        runs = runs_of_rows(block.X, 1, self.statistic(w).size)
        return [replace(self, run=run) for run in runs] if len(runs) > 1 else (self,)

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        first, last, _ = (self.run or slice(None)).indices(block.n_rows)
        statistic = self.statistic(w)
        statistic.value(out)[()] += coefficient * (last - first)
        X, y, weight, sums = block.X, block.y, block.sample_weight, statistic.gradient(out)
        return add_left_out(self.models, X, y, weight, coefficient, sums, should_stop, self.run)
