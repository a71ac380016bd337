"""The fold of a row rides with its label: both are one number, the target that is placed.

So rows stay as they are, and the facts about targets tell the rows and weights of each label in
each fold. Nothing here loads scikit-learn, as workers put the two together where data is Dask's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.checks import as_targets
from dask_gradcode.targets import TargetFacts, Targets
from dask_gradcode.typing import Matrix

__all__ = ["Pairs", "allocation", "paired_lazily", "refuse_empty", "seen_lazily"]

_Numbers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Labels and folds as one number: ``n_labels * fold + index of the label``.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Sorted.
    n_folds : int
        How many folds there are.

    Examples
    --------
    >>> from dask_gradcode.targets import describe_targets
    >>> pairs = Pairs(np.array(["a", "b"]), n_folds=2)
    >>> y = pairs.of(np.array(["b", "a", "b"]), np.array([0, 1, 1]))
    >>> y
    array([1, 2, 3])
    >>> pairs.weights(Targets.merge([describe_targets(y, [1.0, 2.0, 3.0], "me")]))
    array([[0., 1.],
           [2., 3.]])
    """

    labels: Any
    n_folds: int

    def of(self, y: Any, folds: _Numbers) -> _Numbers:
        """Return the targets that are placed."""
        pairs: _Numbers = len(self.labels) * folds + np.searchsorted(self.labels, y)
        return pairs

    def weights(self, placed: Targets) -> Matrix:
        """Return the sum of sample weights of each fold and label, (n_folds, n_labels)."""
        return self._table(placed, placed.weights)

    def targets(self, placed: Targets) -> Targets:
        """Return what the targets are, without their folds."""
        counts = self._table(placed, placed.counts).sum(axis=0).astype(int)
        weights = self._table(placed, placed.weights).sum(axis=0)
        kind = "binary" if len(self.labels) <= 2 else "multiclass"
        return replace(placed, kind=kind, labels=self.labels, counts=counts, weights=weights)

    def _table(self, placed: Targets, of_pairs: Any) -> Matrix:
        table: Matrix = np.zeros((self.n_folds, len(self.labels)))
        table.flat[placed.labels.astype(np.intp)] = of_pairs  # some may be missing
        return table


def refuse_empty(weights: Matrix, class_weight: Sequence[float]) -> None:
    """Raise ValueError for a fold in which, or beside which, no row counts.

    Parameters
    ----------
    weights : ndarray of shape (n_folds, n_labels)
        Sums of sample weights.
    class_weight : sequence of float
        Weight of each label; scores do not count it.
    """
    for fold, held in enumerate(weights):
        others = np.delete(weights, fold, axis=0) * class_weight
        for rows, what, why in ((held, "", ""), (others, "not ", ", or their class has")):
            if not rows.any():
                raise ValueError(
                    f"All rows that are {what}in fold {fold} have sample weight 0{why}. Every "
                    "fold, and the others together, need a row that counts: use other folds."
                )


def allocation(counts: _Numbers, n_folds: int) -> _Numbers:
    """Return how many rows of each label a fold has, as ``StratifiedKFold`` allocates them.

    Parameters
    ----------
    counts : ndarray of int, shape (n_labels,)
        Rows of each label, in the order of first appearance.
    n_folds : int
        How many folds there are.

    Returns
    -------
    ndarray of int, shape (n_folds, n_labels)
        Of the rows, sorted by label, fold ``i`` has each ``n_folds``-th from the ``i``-th on.

    Examples
    --------
    >>> allocation(np.array([4, 3]), 3)
    array([[2, 1],
           [1, 1],
           [1, 1]])
    """
    ends = np.append(0, np.cumsum(counts))
    before = -((np.arange(n_folds)[:, None] - ends) // n_folds)  # of a fold's places, those below
    return np.diff(before, axis=1)


def seen_lazily(y: Any, estimator: str) -> tuple[Targets, Any]:
    """Return what lazy targets are, and of each chunk its labels, their rows and first places.

    Parameters
    ----------
    y : dask array of shape (n_samples,)
        Targets.
    estimator : str
        The estimator that asks, for the texts of errors.

    Returns
    -------
    targets : Targets
        Of all rows, each with weight 1.
    chunks : list of tuple
        Rows, labels, counts and first places of each chunk.
    """
    from dask.base import compute
    from dask.delayed import delayed

    look = delayed(_seen, pure=True)
    chunks = compute(*(look(chunk, estimator) for chunk in y.to_delayed()))
    for index, (facts, _) in enumerate(chunks):
        if facts.problem is not None:
            raise type(facts.problem)(f"Chunk {index} of y: {facts.problem}")
    return Targets.merge([facts for facts, _ in chunks]), chunks


def _seen(chunk: Any, estimator: str) -> tuple[TargetFacts, _Numbers]:
    """Return what some targets are, and where each of their labels is seen first."""
    from dask_gradcode.cluster.data.cuts import describe_y

    facts = describe_y(chunk, None, estimator)
    if facts.labels is None:
        return facts, np.empty(0, dtype=np.intp)
    return facts, np.unique(as_targets(chunk, estimator), return_index=True)[1]


def paired_lazily(y: Any, pairs: Pairs, chunks: Sequence[Any], estimator: str) -> Any:
    """Return lazy targets with the numbers of the folds that ``StratifiedKFold`` has them in.

    Parameters
    ----------
    y : dask array of shape (n_samples,)
        Targets.
    pairs : Pairs
        Labels and how many folds.
    chunks : sequence of tuple
        As :func:`seen_lazily` returns them.
    estimator : str
        The estimator that asks, for the texts of errors.

    Returns
    -------
    dask array of shape (n_samples,)
        Targets to be placed.

    Examples
    --------
    >>> import dask.array as da
    >>> y = da.from_array(np.array([1, 0, 0, 1, 0, 1]), chunks=4)
    >>> targets, chunks = seen_lazily(y, "me")
    >>> paired_lazily(y, Pairs(targets.labels, 2), chunks, "me").compute()
    array([1, 0, 2, 1, 2, 3])
    """
    import dask.array as da

    n_labels = len(pairs.labels)
    counts = np.zeros((len(chunks), n_labels), dtype=np.intp)
    first = np.full((len(chunks), n_labels), np.iinfo(np.intp).max)
    n_before = 0
    for k, (facts, places) in enumerate(chunks):
        if facts.n_rows:
            index = np.searchsorted(pairs.labels, facts.labels)
            counts[k, index], first[k, index] = facts.counts, n_before + places
            n_before += facts.n_rows
    order = np.argsort(first.min(axis=0))
    ends = np.empty((pairs.n_folds, n_labels), dtype=np.intp)
    ends[:, order] = np.cumsum(allocation(counts.sum(axis=0)[order], pairs.n_folds), axis=0)
    before = da.from_array(np.cumsum(counts, axis=0) - counts, chunks=(1, n_labels))
    function = partial(_paired, pairs=pairs, ends=ends, estimator=estimator)
    return da.blockwise(
        function,
        "i",
        y,
        "i",
        before,
        "ik",
        concatenate=True,
        align_arrays=False,
        dtype=np.intp,
        meta=np.empty(0, dtype=np.intp),
    )


def _paired(y: Any, before: Any, *, pairs: Pairs, ends: Any, estimator: str) -> _Numbers:
    """Return the targets of a chunk, before which there are so many rows of each label."""
    y = as_targets(y, estimator)
    folds = np.zeros(len(y), dtype=np.intp)
    index = np.searchsorted(pairs.labels, y)
    for label in np.unique(index):
        rows = np.flatnonzero(index == label)
        ranks = before[0, label] + np.arange(len(rows))
        folds[rows] = np.searchsorted(ends[:, label], ranks, side="right")
    return pairs.of(y, folds)
