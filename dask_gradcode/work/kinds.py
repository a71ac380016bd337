"""The kinds of work: a loss of a linear model, and a function of a user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dask_gradcode.kernels import add_hessian, add_value_and_gradient, chunk_rows, runs_of_rows
from dask_gradcode.losses import Loss
from dask_gradcode.payloads import Statistic
from dask_gradcode.several import Several
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, SecondOrderWork, Work
from dask_gradcode.work.points import InTurn, LossAtPoints, ManyPointsWork

__all__ = ["BlockFunction", "Centred", "WorkLike", "as_work"]

BlockFunction = Callable[[Vector, Block], tuple[float, Vector]]
"""``(w, block) -> (value, gradient)``, each a sum over the rows of the block.

Where a worker has several threads it may be called for several blocks at once."""

WorkLike = Loss | BlockFunction | Work
"""What users may say to be computed: a loss of a linear model, a function, or a work."""


def as_work(work: WorkLike) -> Work:
    """Return the work that is meant; a work is returned as it is.

    Parameters
    ----------
    work : Loss, callable or Work
        What to compute on each block.

    Returns
    -------
    Work
        Of a loss one pass over rows; of a function one call for each block.

    Raises
    ------
    TypeError
        If it is none of these.

    Examples
    --------
    >>> from dask_gradcode.losses import Logistic
    >>> as_work(Logistic())
    _OfLoss(loss=Logistic(positive=1.0, class_weight=(1.0, 1.0)))
    """
    match work:
        case type():
            pass  # a class has all that its instances have, and can be called
        case Work():
            return work
        case Loss():
            return _OfLoss(work)
        case Callable():
            return _OfFunction(work)
    raise TypeError(
        "work must be a Loss, a function (w, block) -> (value, gradient), or a Work with all that "
        f"the class Work has, got {work!r}."
    )


@dataclass(frozen=True)
class _OfLoss(SecondOrderWork, ManyPointsWork):
    """A loss of a linear model: one pass over rows, in chunks."""

    loss: Loss
    run: slice | None = field(default=None, repr=False, kw_only=True)  # which rows

    def with_hessian(self) -> Work:
        if not self.loss.has_curvature:
            raise TypeError(
                f"{self.loss!r} has no second derivatives, which solver='newton-cholesky' needs. "
                "Use solver='lbfgs'."
            )
        return _OfLossWithHessian(self.loss, self._shift)

    def at_points(self, n_points: int) -> Work:
        return _OfLossAtPoints(LossAtPoints(self.loss, n_points))

    @property
    def _shift(self) -> Vector | None:
        return None

    @property
    def per_column(self) -> int:
        return self.loss.n_outputs

    @property
    def is_foreign(self) -> bool:
        return False

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        runs = runs_of_rows(block.X, self.loss.n_outputs, w.size)
        return [replace(self, run=run) for run in runs] if len(runs) > 1 else (self,)

    def chunks(self, block: Block, w: Vector) -> Sequence[slice | None]:
        """Return the chunks in which a pass goes through the rows."""
        n_rows, n_features = block.X.shape
        first, last, _ = (self.run or slice(None)).indices(n_rows)
        step = chunk_rows(block.X, self.loss.layout(n_features, w.size).n_outputs)
        return [slice(row, min(row + step, last)) for row in range(first, last, step)]

    def on(self, rows: slice | None) -> Work:
        """Return the work on some rows only."""
        return replace(self, run=rows)

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        X, y, weight = block.X, block.y, block.sample_weight
        return add_value_and_gradient(
            self.loss, X, y, weight, w, coefficient, out, should_stop, self.run, self.statistic(w)
        )


@dataclass(frozen=True)
class _OfLossAtPoints(_OfLoss):
    """A loss at several points, in one pass over rows."""

    loss: LossAtPoints

    def statistic(self, w: Vector) -> Statistic:
        n_points = self.loss.n_points
        return Several(Statistic(w.size // n_points), n_points)


@dataclass(frozen=True, eq=False)
class Centred(_OfLoss):
    """A loss of a linear model with the Hessian of centred columns.

    With columns of mean ``m`` and deviation ``s``, a Hessian loses the digits of ``(m / s)^2``,
    which no later change of coordinates brings back. Value and gradient are the loss's own.

    Parameters
    ----------
    loss : Loss
        The loss.
    shift : ndarray of shape (n_features,)
        What is taken from each column. Rows are dense, and there is an intercept: the Hessian is by
        ``coef`` and ``intercept + shift @ coef``.
    run : slice, optional
        Which rows of a block. None: all of them.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> block = Block(np.array([[1e9 - 1.0], [1e9 + 1.0]]), np.zeros(2))
    >>> work = Centred(Squared(), shift=np.array([1e9]))
    >>> InProcessObjective(Uncoded(1), {0: block}, work).second_order(np.zeros(2)).hessian
    array([[2., 0.],
           [0., 2.]])
    """

    shift: Vector

    @property
    def _shift(self) -> Vector | None:
        return self.shift


@dataclass(frozen=True, eq=False)
class _OfLossWithHessian(_OfLoss):
    """A loss with its second derivatives: value and gradient have the bits of the loss alone."""

    shift: Vector | None

    def at_points(self, n_points: int) -> Work:
        return InTurn(self, n_points)

    def chunks(self, block: Block, w: Vector) -> Sequence[slice | None]:
        return [self.run]  # its second pass has other chunks

    def statistic(self, w: Vector) -> Statistic:
        return Statistic.at(w, order=2)

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        return super().add(block, w, coefficient, out, should_stop) and add_hessian(
            self.loss,
            block.X,
            block.y,
            block.sample_weight,
            w,
            coefficient,
            out,
            should_stop,
            self.shift,
            self.run,
        )


@dataclass(frozen=True)
class _OfFunction(Work):
    """A function of a user's, which is called for a whole block."""

    function: BlockFunction

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        if should_stop():
            return False
        value, gradient = _checked(self.function(w, block), w.size)
        statistic = self.statistic(w)
        statistic.value(out)[()] += coefficient * value
        total = statistic.gradient(out)
        total += coefficient * gradient
        return True


def _checked(returned: Any, size: int) -> tuple[Any, Any]:
    """Return the value and the gradient that a function has returned, or say what is wrong.

    Their dtype is left as it is: multiplied in float32 and in float64, bits are not the same.
    """
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise TypeError(_unlike(size, "It returned", returned))
    value, gradient = returned[0], np.asarray(returned[1])
    if not isinstance(value, (float, int, np.floating)):  # as most are
        found = np.asarray(value)
        if found.shape != () or found.dtype.kind not in _NUMBERS:
            raise TypeError(_unlike(size, "Its value is", value))
    if gradient.dtype.kind not in _NUMBERS:
        raise TypeError(_unlike(size, "Its gradient is", returned[1]))
    if gradient.size != size:
        raise ValueError(_unlike(size, "Its gradient is", returned[1]))
    return value, gradient.reshape(size)


_NUMBERS = "biuf"


def _unlike(size: int, what: str, found: Any) -> str:
    """Say what a function must return, and what it has returned instead."""
    return (
        f"A block function must return (value, gradient): a number and {size} numbers, as w has, "
        f"each summed over the rows of the block. {what} {_described(found)}."
    )


def _described(found: Any) -> str:
    """Say in a few words what something is."""
    kind = type(found).__name__
    if isinstance(found, (tuple, list)):
        return f"a {kind} of {len(found)}"
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} and shape {found.shape}"
    text = repr(found)
    return f"{text if len(text) <= 40 else text[:39] + '…'} ({kind})"
