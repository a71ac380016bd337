"""The kinds of work: a loss of a linear model, and a function of a user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_gradcode.kernels import add_value_and_gradient
from dask_gradcode.losses import Loss
from dask_gradcode.typing import Vector
from dask_gradcode.work.base import Block, Work

__all__ = ["BlockFunction", "WorkLike", "as_work"]

BlockFunction = Callable[[Vector, Block], tuple[float, Vector]]
"""``(w, block) -> (value, gradient)``, each a sum over the rows of the block."""

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
class _OfLoss(Work):
    """A loss of a linear model: one pass over rows, in chunks."""

    loss: Loss

    @property
    def per_column(self) -> int:
        return self.loss.n_outputs

    @property
    def is_foreign(self) -> bool:
        return False

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        return add_value_and_gradient(
            self.loss, block.X, block.y, block.sample_weight, w, coefficient, out, should_stop
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
        value, gradient = _as_sums(self.function(w, block), w.size)
        statistic = self.statistic(w)
        total = statistic.value(out)
        total += coefficient * value
        total = statistic.gradient(out)
        total += coefficient * gradient
        return True


def _as_sums(returned: Any, size: int) -> tuple[Any, Any]:
    """Return the arrays of a value and a gradient, or say what a function has returned instead.

    Their dtype is left as it is: multiplied in float32 and in float64, bits are not the same.
    """
    expected = (
        f"A block function must return (value, gradient): a number and {size} numbers, as w has, "
        "each summed over the rows of the block. "
    )
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise TypeError(f"{expected}It returned {_described(returned)}.")
    value, gradient = map(np.asarray, returned)
    if value.shape != () or value.dtype.kind not in "biuf":
        raise TypeError(f"{expected}Its value is {_described(returned[0])}.")
    if gradient.dtype.kind not in "biuf":
        raise TypeError(f"{expected}Its gradient is {_described(returned[1])}.")
    if gradient.size != size:
        raise ValueError(f"{expected}Its gradient is {_described(returned[1])}.")
    return value, gradient.reshape(size)


def _described(found: Any) -> str:
    """Say in a few words what something is."""
    kind = type(found).__name__
    if isinstance(found, (tuple, list)):
        return f"a {kind} of {len(found)}"
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} and shape {found.shape}"
    text = repr(found)
    return f"{text if len(text) <= 40 else text[:39] + '…'} ({kind})"
