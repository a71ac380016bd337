"""What every optimizer is: something that minimises an objective whose calls are cluster rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dask_gradcode.optimizers.penalty import L1, NO_PENALTY
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["Callback", "Memory", "Optimizer", "Solution", "checked", "recalled", "remember"]

Callback = Callable[[int, Vector, Evaluation], None]
"""Called as ``callback(n_iter, w, evaluation)`` after each accepted iteration."""

Memory = dict[str, Any]
"""What an optimizer needs to go on after an iteration: arrays, ints and floats by name."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where an optimizer ended.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,)
        The point.
    value : float
        The objective there.
    gradient : ndarray of shape (n_parameters,)
        Its gradient there.
    n_iter : int
        Accepted iterations.
    converged : bool
        Whether the optimizer's stopping rule was met.
    message : str
        Why it ended, in words.

    Examples
    --------
    >>> from dask_gradcode.optimizers import LBFGS
    >>> bowl = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> solution = LBFGS().minimize(bowl, np.array([3.0, 4.0]))
    >>> np.abs(solution.w).max() < 1e-8, solution.converged
    (np.True_, True)
    """

    w: Vector
    value: float
    gradient: Vector
    n_iter: int
    converged: bool
    message: str


class Optimizer(ABC):
    """Minimises an objective. An immutable value: a frozen dataclass of its parameters.

    Every call of the objective is a round of the whole cluster, also a trial step's, so none is
    made twice and none is hidden. Errors and interrupts in the objective pass through.

    Attributes
    ----------
    needs_exact : bool
        Whether it breaks down on approximate sums, as line searches with curvature do.
    resumes_exactly : bool
        Whether it goes on from a memory through the same iterates, bit for bit.
    order : {1, 2}
        Up to which order it asks for derivatives.
    most_parameters : int or None
        How many parameters it takes at most; None: any number.
    beyond : str
        Which solver takes more.

    Examples
    --------
    All are called alike. Here one minimises a sum that is decoded in this process:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.work import Block
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.optimizers import GradientDescent
    >>> rows = Block(np.eye(2), np.array([1.0, 2.0]))
    >>> objective = InProcessObjective(FractionalRepetition(2, 1), {0: rows, 1: rows}, Squared())
    >>> solution = GradientDescent().minimize(objective, np.zeros(2), tol=1e-8)
    >>> solution.w.round(6)
    array([1., 2.])
    """

    needs_exact: ClassVar[bool] = False
    resumes_exactly: ClassVar[bool] = False
    order: ClassVar[int] = 1
    most_parameters: ClassVar[int | None] = None
    beyond: ClassVar[str] = "lbfgs"

    @property
    def takes_older(self) -> bool:
        """Whether it takes sums of older points, and asks for exact ones where it needs them."""
        return False

    @abstractmethod
    def minimize(
        self,
        objective: Objective,
        w0: Vector,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        callback: Callback | None = None,
        penalty: L1 = NO_PENALTY,
        memory: Memory | None = None,
    ) -> Solution:
        """Minimise.

        Parameters
        ----------
        objective : Objective
            What to minimise.
        w0 : ndarray of shape (n_parameters,)
            Where to start; not modified.
        max_iter : int, default=100
            Most accepted iterations, those before a resumption included.
        tol : float, default=1e-4
            Converged when ``max |gradient| <= tol``.
        callback : callable, optional
            ``callback(n_iter, w, evaluation)``, after each accepted iteration.
        penalty : L1, optional
            Added to the objective, and to the gradient that must be small its shortest subgradient.
            Zeros are exact. Evaluations, and the solution's value and gradient, are without it.
        memory : dict, optional
            Where it keeps, after each accepted iteration and before the callback, what it needs to
            go on. If that is filled it goes on from there, and ``w0`` is not looked at. Arrays in
            it are replaced, never changed.

        Returns
        -------
        Solution
            The last accepted point.

        Raises
        ------
        FloatingPointError
            If value or gradient stop being finite.
        ValueError
            For a penalty that the optimizer does not take.
        """

    def check_penalty(self, penalty: L1) -> None:
        """Raise ValueError for a penalty that ``minimize`` does not take: here, any.

        Parameters
        ----------
        penalty : L1
            Of strength 0 it is none.
        """
        if not penalty.is_none:
            raise ValueError(
                f"{self!r} needs a smooth objective and takes no L1 penalty (l1_ratio > 0). Use "
                "Nesterov(), which is solver='nesterov', or GradientDescent()."
            )

    def check_size(self, n_parameters: int) -> None:
        """Raise ValueError for more than ``most_parameters``.

        Parameters
        ----------
        n_parameters : int
            Of the model, intercepts included.
        """
        if self.most_parameters is None or n_parameters <= self.most_parameters:
            return
        size = n_parameters * (n_parameters + 1) / 2 * 8 / 2**20
        raise ValueError(
            f"solver={self!r} takes at most {self.most_parameters} parameters (features times "
            f"outputs, and intercepts), as each message carries a Hessian; got {n_parameters}, "
            f"whose Hessian is {size:.0f} MiB. Use solver={self.beyond!r}."
        )


def remember(memory: Memory, n_iter: int, w: Vector, seen: Evaluation, **more: Any) -> None:
    """Keep what is needed to go on: the point, what was seen there, and whatever ``more``."""
    memory.update(  # in one call, which no Ctrl-C can cut in two
        n_iter=n_iter,
        w=w,
        value=float(seen.value),
        gradient=seen.gradient,
        rounding=float(seen.rounding),
        approximate=int(seen.drift is not None),
        **more,
    )


def recalled(memory: Memory) -> tuple[int, Vector, Evaluation]:
    """Return what ``remember`` kept, so that the point needs no second round."""
    seen = Evaluation(memory["value"], memory["gradient"], rounding=memory["rounding"])
    return memory["n_iter"], memory["w"], seen


def checked(seen: Evaluation, n_iter: int) -> Evaluation:
    """Return an evaluation, or raise FloatingPointError if it is not finite."""
    if not (np.isfinite(seen.value) and np.isfinite(seen.gradient).all()):
        raise FloatingPointError(
            f"The objective is not finite in iteration {n_iter}: value {seen.value}. A given step "
            "may be too long (step='backtracking' finds one), or the features too large (scale "
            "them)."
        )
    return seen
