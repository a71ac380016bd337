"""Sums over each fold of the rows: one round tells all that cross-validation needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from dask_gradcode.kernels import RowSource, runs_of_rows
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Rows, Vector
from dask_gradcode.work.base import Block, Work

__all__ = ["Folds"]


@dataclass(frozen=True, eq=False)
class Folds(Work):
    """A work's sums over each fold; the last column of a row says which one it is in.

    The whole is the sum of all folds. What a fold is held out from is the sum of the others. The
    gradient holds the payloads of the folds, one after the other; the value is not used.

    Parameters
    ----------
    work : Work
        What to compute. The column of fold numbers, 0 to ``n_folds - 1``, is one of its features.
    n_folds : int
        How many folds there are.
    run : slice, optional
        Which rows of a block. None: all of them.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.work import as_work
    >>> rows = np.array([[5.0, 0.0], [6.0, 1.0], [7.0, 1.0]])
    >>> work = Folds(as_work(Squared()), n_folds=2)
    >>> objective = InProcessObjective(Uncoded(1), {0: Block(rows, np.ones(3))}, work)
    >>> objective(np.zeros(2)).gradient.reshape(2, -1)
    array([[  0.5,  -5. ,   0. ],
           [  1. , -13. ,  -2. ]])
    """

    work: Work
    n_folds: int
    run: slice | None = field(default=None, repr=False)

    def statistic(self, w: Vector) -> Statistic:
        return Statistic(self.work.statistic(w).size * self.n_folds)

    @property
    def is_foreign(self) -> bool:
        return self.work.is_foreign

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
        size = self.work.statistic(w).size
        sums = self.statistic(w).gradient(out).reshape(-1, size)
        run = self.run or slice(None)
        if isinstance(block.X, RowSource):
            block, run = block.loaded(run), slice(None)
        for fold, rows in _folds(block.X, run):
            weight = block.sample_weight
            held = Block(block.X[rows], block.y[rows], None if weight is None else weight[rows])
            if not self.work.add(held, w, coefficient, sums[fold], should_stop):
                return False
        return True


def _folds(X: Rows, run: slice) -> Iterator[tuple[int, Any]]:
    """Yield the folds that there are among some rows, and where."""
    first, last, _ = run.indices(X.shape[0])
    numbers = X[first:last, [-1]]
    numbers = (numbers.toarray() if issparse(numbers) else np.asarray(numbers)).ravel()
    for fold in np.unique(numbers):
        rows = first + np.flatnonzero(numbers == fold)
        if rows[-1] - rows[0] + 1 == len(rows):  # without a copy of dense ones
            yield int(fold), slice(rows[0], rows[-1] + 1)
        else:
            yield int(fold), rows
