"""What the targets are: labels, counts and weights, found chunk by chunk and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from dask_gradcode.checks import NUMBERS, as_targets, as_weights, kind_of_targets
from dask_gradcode.fingerprint import Moments, as_numbers
from dask_gradcode.spread import Spread

__all__ = ["TargetFacts", "Targets", "describe_targets"]

MANY_LABELS = 10_000
"""Distinct values in a chunk above which targets are not collected as class labels."""


@dataclass(frozen=True, eq=False)
class TargetFacts:
    """What some rows of targets are.

    Parameters
    ----------
    n_rows : int
        Rows.
    kind : str
        scikit-learn's ``type_of_target``.
    labels : ndarray or None
        The sorted distinct values; None unless they can be class labels.
    counts, weights : ndarray or None
        Rows, and sum of sample weights, of each label.
    weight : float
        Sum of all sample weights.
    spread : Spread or None
        Of the targets, as one column; None unless they are numbers.
    smallest : float
        The smallest target; NaN unless they are numbers.
    moments, weight_moments : Moments
        By which targets and sample weights are known again.
    problem : Exception or None
        Why the targets cannot be used.
    """

    n_rows: int = 0
    kind: str = "empty"
    labels: Any = None
    counts: Any = None
    weights: Any = None
    weight: float = 0.0
    spread: Spread | None = None
    smallest: float = np.nan
    moments: Moments = field(default_factory=Moments)
    weight_moments: Moments = field(default_factory=Moments)
    problem: Exception | None = None


def describe_targets(y: Any, sample_weight: Any, estimator: str) -> TargetFacts:
    """Check targets and their weights, and say what they are.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Targets.
    sample_weight : array-like of shape (n_rows,), float or None
        None means one for every row.
    estimator : str
        The estimator that asks, for the texts.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words.

    Examples
    --------
    >>> facts = describe_targets(["b", "a", "b"], [1.0, 2.0, 3.0], "me")
    >>> facts.kind, facts.counts, facts.weights
    ('binary', array([1, 2]), array([2., 4.]))
    """
    y = as_targets(y, estimator)
    weight = np.ones(len(y))
    if sample_weight is not None and not np.asarray(sample_weight).any():
        weight = np.zeros(len(y))  # allowed in a chunk, though not in the whole data set
    elif sample_weight is not None:
        weight = as_weights(sample_weight, y)
    if len(y) == 0:
        return TargetFacts()
    kind = kind_of_targets(y)
    if kind == "unknown":  # objects that are no strings: no labels, but perhaps numbers
        y = _as_floats(y, estimator)
    facts = TargetFacts(
        len(y),
        kind,
        weight=float(weight.sum()),
        moments=Moments.of(as_numbers(y)),
        weight_moments=Moments.of(weight),
    )
    if y.dtype.kind in NUMBERS:
        column = np.asarray(y, dtype=np.float64)[:, None]
        facts = replace(facts, spread=Spread.of(column, weight), smallest=float(y.min()))
    if facts.kind not in ("binary", "multiclass"):
        return facts
    labels, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(labels) > MANY_LABELS:
        return replace(facts, kind="many-valued")
    return replace(facts, labels=labels, counts=counts, weights=np.bincount(index, weight))


def _as_floats(y: Any, estimator: str) -> Any:
    """Return objects as the numbers that they are, or as they are."""
    try:
        return as_targets(y.astype(np.float64), estimator)
    except (TypeError, ValueError):
        return y


@dataclass(frozen=True, eq=False)
class Targets:
    """What the targets of a whole data set are.

    Parameters
    ----------
    kind : str
        ``"binary"`` (also for a single label), ``"multiclass"``, or another of scikit-learn's
        ``type_of_target``.
    labels : ndarray or None
        The sorted distinct values; None unless they can be class labels.
    counts, weights : ndarray or None
        Rows, and sum of sample weights, of each label.
    weight : float
        Sum of all sample weights.
    spread : Spread or None
        Of the targets, as one column; None unless they are numbers.
    smallest : float
        The smallest target; NaN unless they are numbers.
    moments, weight_moments : Moments
        By which targets and sample weights are known again.
    """

    kind: str
    labels: Any
    counts: Any
    weights: Any
    weight: float
    spread: Spread | None = None
    smallest: float = np.nan
    moments: Moments = field(default_factory=Moments)
    weight_moments: Moments = field(default_factory=Moments)

    @classmethod
    def merge(cls, chunks: Sequence[TargetFacts]) -> Targets:
        """Put the facts of all chunks together.

        Examples
        --------
        >>> chunks = [describe_targets(y, None, "me") for y in ([0, 2], [2, 1], [])]
        >>> merged = Targets.merge(chunks)
        >>> merged.kind, merged.labels, merged.counts
        ('multiclass', array([0, 1, 2]), array([1, 1, 2]))
        """
        chunks = [chunk for chunk in chunks if chunk.n_rows]
        total = sum(chunk.weight for chunk in chunks)
        spreads = [chunk.spread for chunk in chunks if chunk.spread is not None]
        spread = reduce(Spread.__add__, spreads) if len(spreads) == len(chunks) > 0 else None
        smallest = float(np.min([chunk.smallest for chunk in chunks], initial=np.inf))
        moments = sum((chunk.moments for chunk in chunks), Moments())
        weight_moments = sum((chunk.weight_moments for chunk in chunks), Moments())
        whole = (total, spread, smallest, moments, weight_moments)
        for chunk in chunks:
            if chunk.labels is None:
                return cls(chunk.kind, None, None, None, *whole)
        if len({chunk.labels.dtype.kind in NUMBERS for chunk in chunks}) > 1:
            raise ValueError("Mix of label input types (string and number)")
        labels, index = np.unique(
            np.concatenate([chunk.labels for chunk in chunks]), return_inverse=True
        )
        counts = np.bincount(index, np.concatenate([chunk.counts for chunk in chunks]))
        weights = np.bincount(index, np.concatenate([chunk.weights for chunk in chunks]))
        kind = "binary" if len(labels) <= 2 else "multiclass"
        return cls(kind, labels, counts.astype(int), weights, *whole)

    @property
    def mean(self) -> float:
        """Weighted mean of the targets; NaN unless they are numbers."""
        return np.nan if self.spread is None else float(self.spread.mean[0])

    def unit(self, *, has_intercept: bool) -> float:
        """Return in what a model measures targets, which is never 0.

        That is how far they spread around their mean. Without an intercept it is around zero, but
        for targets that are far from it, as those of columns far from zero are.
        """
        if self.spread is None:
            return 1.0
        centred = has_intercept or bool(self.spread.far[0])
        return float(self.spread.deviation(centred=centred)[0])

    @property
    def encoded(self) -> Any:
        """The labels if blocks hold their index because they are not numbers, else None."""
        return None if self.labels is None or self.labels.dtype.kind in NUMBERS else self.labels

    def encode(self, y: Any) -> Any:
        """Return targets as blocks hold them: float64 numbers.

        Parameters
        ----------
        y : ndarray of shape (n_rows,)
            Targets of this data set.
        """
        numbers = y if self.encoded is None else np.searchsorted(self.encoded, y)
        return numbers.astype(np.float64)
