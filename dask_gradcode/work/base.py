"""Rows, and the contract of what is computed on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from scipy.sparse import issparse

from dask_gradcode.kernels import RowSource, folded, is_one_for_all, unfolded
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Rows, Vector

__all__ = ["Block", "SecondOrderWork", "Work"]


@dataclass(frozen=True)
class Block:
    """Some rows of the data set: what a block function sees.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
        The features.
    y : ndarray of shape (n_rows,)
        The targets; labels that are not numbers are placed as their index in the sorted labels.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.

    Examples
    --------
    >>> import numpy as np
    >>> block = Block(np.ones((3, 2)), np.zeros(3))
    >>> block.n_rows, block.nbytes
    (3, 72)
    """

    X: Rows
    y: Any
    sample_weight: Vector | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        X = self.X
        parts = [X.data, X.indices, X.indptr] if issparse(X) else [X]
        parts += [self.y] if self.sample_weight is None else [self.y, self.sample_weight]
        return sum(part.itemsize if is_one_for_all(part) else int(part.nbytes) for part in parts)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "X": folded(self.X)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "X": unfolded(state["X"])})

    def loaded(self, run: slice | None = None) -> Block:
        """Return the block, or a run of its rows, in memory; it is itself if all of it is."""
        if run is None and not isinstance(self.X, RowSource):
            return self
        rows, weight = run or slice(None), self.sample_weight
        return Block(self.X[rows], self.y[rows], None if weight is None else weight[rows])


@runtime_checkable
class Work(Protocol):
    """What is computed on a block: sums over its rows, added to a payload.

    To write one, derive from this class and write ``add``. A work travels to the workers: it is an
    immutable value, best a frozen dataclass.

    Examples
    --------
    The squared distance of the rows from ``w``, block by block in two halves, so that work which
    is no longer wanted ends earlier than a function's, which is stopped between blocks only:

    >>> import numpy as np
    >>> class Distance(Work):
    ...     def add(self, block, w, coefficient, out, should_stop):
    ...         statistic = self.statistic(w)
    ...         value, gradient = statistic.value(out), statistic.gradient(out)
    ...         for rows in np.array_split(block.X, 2):
    ...             if should_stop():
    ...                 return False
    ...             value[()] += coefficient * ((w - rows) ** 2).sum()
    ...             gradient += coefficient * 2 * (w - rows).sum(axis=0)
    ...         return True
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.objective import InProcessObjective
    >>> blocks = {0: Block(np.array([[1.0], [3.0]]), np.zeros(2))}
    >>> seen = InProcessObjective(Uncoded(1), blocks, Distance())(np.array([1.0]))
    >>> seen.value, seen.gradient
    (4.0, array([-4.]))
    """

    def statistic(self, w: Vector) -> Statistic:
        """Return what a payload at ``w`` contains; here a value and a gradient."""
        return Statistic.at(w)

    @property
    def per_column(self) -> int | None:
        """How many parameters belong to each column of the features; None if not known.

        If ``k``, these come first in ``w``, all ``k`` of the first column, then of the second, and
        the work looks at a column through its parameters alone. It may then be given fewer columns,
        where nothing is stored in the others, with only their parameters in ``w``; and dense rows
        in several arrays, of which it can take slices of rows. If None, it gets all columns and all
        of ``w``, and a block's rows in one array.
        """
        return None

    @property
    def is_foreign(self) -> bool:
        """Whether a user's code runs in it.

        Of that nothing is known: it may keep Python's lock for long, so that its worker is silent,
        though alive, and it may keep ``w`` after it has returned. It is given a block's rows in
        memory, where other work takes slices of what may be on disk.
        """
        return True

    def parts(self, block: Block, w: Vector) -> Sequence[Work]:
        """Return works whose sums over a block add up to this one's; here itself alone.

        Each is given an array of its own, and they may be computed on several threads at once, as
        different blocks may. What they are may depend on the block and on the size of ``w`` alone,
        as the bits of the sum depend on them.

        Parameters
        ----------
        block : Block
            The rows.
        w : ndarray of shape (n_parameters,)
            The point.

        Returns
        -------
        sequence of Work
            At least one.
        """
        return (self,)

    @abstractmethod
    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        """Add a multiple of a block's sums to a payload.

        Parameters
        ----------
        block : Block
            The rows.
        w : ndarray of shape (n_parameters,)
            The point. Not modified.
        coefficient : float
            The multiple.
        out : ndarray of shape (statistic(w).size,)
            The payload, added to in place.
        should_stop : callable
            To be asked from time to time, and at least once.

        Returns
        -------
        bool
            False if ``should_stop`` said so: ``out`` is then of no use.
        """


@runtime_checkable
class SecondOrderWork(Work, Protocol):
    """Work that has second derivatives, too, for rounds that ask for them.

    Examples
    --------
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.work import as_work
    >>> isinstance(as_work(Logistic()), SecondOrderWork)
    True
    """

    @abstractmethod
    def with_hessian(self) -> Work:
        """Return the work with a Hessian in its payloads, or raise TypeError for want of one.

        Value and gradient have the same bits; ``statistic`` has ``order=2``.
        """
