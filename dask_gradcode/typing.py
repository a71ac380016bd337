"""The names that every layer shares: arrays, and what an objective is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = [
    "Evaluation",
    "ExactObjective",
    "ManyPointsObjective",
    "Mask",
    "Matrix",
    "Objective",
    "Part",
    "Payload",
    "Rows",
    "SecondOrderObjective",
    "Vector",
    "exactly",
    "many",
    "second_order",
]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = Matrix | csr_array
"""Rows of features: a dense C-ordered matrix or a CSR array, (n_samples, n_features)."""


@dataclass(frozen=True, eq=False)
class Part:
    """A payload of which only some entries are given; the others are zero.

    Parameters
    ----------
    values : ndarray of shape (n_entries,)
        The entries.
    entries : slice, or ndarray of int32 or int64, shape (n_entries,), or None
        Where they are, ascending. None: the values are a sum over several slices, which the code
        takes apart.
    size : int
        Length of the whole payload.

    Examples
    --------
    >>> Part(np.array([3.0, 0.5]), np.array([0, 7]), size=9).values
    array([3. , 0.5])
    """

    values: Vector
    entries: NDArray[np.integer[Any]] | slice | None
    size: int


Payload = Vector | Part
"""What a message carries; where in it what is, :class:`~dask_gradcode.payloads.Statistic` says."""


@dataclass(frozen=True)
class Evaluation:
    """What an objective knows at one point.

    Parameters
    ----------
    value : float
        The objective's value.
    gradient : ndarray of shape (n_parameters,)
        Its gradient.
    record : object, optional
        How the value came about: the round's record on a cluster, else None.
    rounding : float, default=0.0
        How far rounding alone may move an entry of the gradient; an optimizer that stalls below it
        has converged.
    hessian : ndarray of shape (n_parameters, n_parameters), optional
        Its second derivatives, where they were asked for.
    drift : ndarray of shape (n_parameters,), optional
        By how much the gradient may be off, where sums of older points stand in for some that are
        missing; None where none does.

    Examples
    --------
    >>> w = np.array([3.0, 4.0])
    >>> Evaluation(float(w @ w), 2 * w).value
    25.0
    """

    value: float
    gradient: Vector
    record: Any = None
    rounding: float = 0.0
    hessian: Matrix | None = None
    drift: Vector | None = None


class Objective(Protocol):
    """Any callable from parameters to an :class:`Evaluation`.

    In-process, simulated and cluster objectives are interchangeable; optimizers know nothing else.

    Examples
    --------
    >>> def bowl(w: Vector) -> Evaluation:
    ...     return Evaluation(float(w @ w), 2 * w)
    >>> objective: Objective = bowl
    """

    def __call__(self, w: Vector, /) -> Evaluation:
        """Evaluate at ``w``, of shape (n_parameters,)."""
        ...


@runtime_checkable
class SecondOrderObjective(Objective, Protocol):
    """An objective that also tells second derivatives, when asked.

    Examples
    --------
    >>> class Bowl:
    ...     def __call__(self, w: Vector) -> Evaluation:
    ...         return Evaluation(float(w @ w), 2 * w)
    ...
    ...     def second_order(self, w: Vector) -> Evaluation:
    ...         return Evaluation(float(w @ w), 2 * w, hessian=2 * np.eye(w.size))
    >>> isinstance(Bowl(), SecondOrderObjective)
    True
    """

    def second_order(self, w: Vector, /) -> Evaluation:
        """Evaluate at ``w``, with a Hessian."""
        ...


def second_order(objective: Objective, w: Vector) -> Evaluation:
    """Evaluate an objective with a Hessian.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    w : ndarray of shape (n_parameters,)
        Where.

    Returns
    -------
    Evaluation
        With a Hessian.

    Raises
    ------
    TypeError
        If it tells no second derivatives.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.work import Block
    >>> block = Block(np.array([[1.0], [2.0]]), np.zeros(2))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Squared())
    >>> second_order(objective, np.zeros(1)).hessian
    array([[5.]])
    """
    if not isinstance(objective, SecondOrderObjective):
        raise TypeError(
            f"Second derivatives are needed, and {objective!r} has no method second_order(w). Use "
            "LBFGS(), which is solver='lbfgs'."
        )
    return objective.second_order(w)


@runtime_checkable
class ExactObjective(Objective, Protocol):
    """An objective that is approximate, and exact when asked.

    Examples
    --------
    >>> class Bowl:
    ...     def __call__(self, w: Vector) -> Evaluation:
    ...         return Evaluation(float(w @ w), 2 * w + 0.1, drift=np.full(w.size, 0.1))
    ...
    ...     def exactly(self, w: Vector) -> Evaluation:
    ...         return Evaluation(float(w @ w), 2 * w)
    >>> isinstance(Bowl(), ExactObjective)
    True
    """

    def exactly(self, w: Vector, /) -> Evaluation:
        """Evaluate at ``w``, without any ``drift``."""
        ...


def exactly(objective: Objective, w: Vector) -> Evaluation:
    """Evaluate an objective exactly, however long that takes.

    Parameters
    ----------
    objective : Objective
        What to evaluate; one that is not an ``ExactObjective`` always is exact.
    w : ndarray of shape (n_parameters,)
        Where.

    Returns
    -------
    Evaluation
        Without a ``drift``.

    Examples
    --------
    >>> exactly(lambda w: Evaluation(float(w @ w), 2 * w), np.array([3.0])).gradient
    array([6.])
    """
    return objective.exactly(w) if isinstance(objective, ExactObjective) else objective(w)


@runtime_checkable
class ManyPointsObjective(Objective, Protocol):
    """An objective that evaluates several points at once, for about the price of one.

    Examples
    --------
    >>> class Bowl:
    ...     def __call__(self, w: Vector) -> Evaluation:
    ...         return Evaluation(float(w @ w), 2 * w)
    ...
    ...     def many(self, W: Matrix) -> list[Evaluation]:
    ...         values = np.einsum("ij,ij->i", W, W)
    ...         return [Evaluation(float(v), 2 * w) for v, w in zip(values, W, strict=True)]
    >>> isinstance(Bowl(), ManyPointsObjective)
    True
    """

    def many(self, W: Matrix, /) -> list[Evaluation]:
        """Evaluate at each row of ``W``, of shape (n_points, n_parameters)."""
        ...


def many(objective: Objective, W: Matrix) -> list[Evaluation]:
    """Evaluate an objective at several points at once.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    W : ndarray of shape (n_points, n_parameters)
        Where.

    Returns
    -------
    list of Evaluation
        One for each point.

    Raises
    ------
    TypeError
        If it evaluates one point at a time only.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective
    >>> from dask_gradcode.work import Block
    >>> block = Block(np.array([[1.0], [2.0]]), np.zeros(2))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Squared())
    >>> [seen.value for seen in many(objective, np.array([[0.0], [1.0], [2.0]]))]
    [0.0, 2.5, 10.0]
    """
    if not isinstance(objective, ManyPointsObjective):
        raise TypeError(
            f"Several points are to be evaluated at once, and {objective!r} has no method many(W). "
            "Evaluate one after the other."
        )
    return objective.many(W)
