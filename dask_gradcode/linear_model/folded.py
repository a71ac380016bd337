"""A classifier whose rows are placed with the numbers of their folds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dask_gradcode.checks import as_targets
from dask_gradcode.containers import check_containers
from dask_gradcode.linear_model.candidates import Candidate
from dask_gradcode.linear_model.choice import DEFAULT_SCORING
from dask_gradcode.linear_model.classifier import CodedProbabilisticClassifier
from dask_gradcode.linear_model.inputs import Sum, is_dask
from dask_gradcode.linear_model.logistic import loss_of
from dask_gradcode.linear_model.pairs import Pairs, refuse_empty
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.stratified import folds_of, seen_on_workers, stratified_on_workers
from dask_gradcode.losses import Layout
from dask_gradcode.targets import Targets
from dask_gradcode.work import FoldLoss

__all__ = ["FoldedClassifier"]


class FoldedClassifier(CodedProbabilisticClassifier):
    """Minimises the logistic loss of all rows but those of a fold, for any fold and strength."""

    cv: Any
    scoring: str | None
    _pairs: Pairs

    def _with_folds(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return the targets that are placed: labels with the numbers of their folds."""
        check_containers(X=X, y=y)
        name = type(self).__name__
        if is_dask(X) and is_dask(y):
            y, targets, chunks = seen_on_workers(y, name, self.client)
            self._weigh(targets)
            placed, self._pairs = stratified_on_workers(self.cv, y, targets, chunks, name)
            return placed
        rows = X
        if is_dask(X):
            y = as_targets(y, name)
            rows = np.empty((len(y), 0))
        else:
            rows, y = self._validate(X, y)
        targets = self._describe(y, sample_weight if not is_dask(sample_weight) else None)
        self._weigh(targets)
        placed, self._pairs = folds_of(self.cv, rows, y, targets.labels)
        return placed

    def _problem(self, targets: Targets) -> Problem:
        weights = self._pairs.weights(targets)
        refuse_empty(weights)
        _, class_weight = self._weigh(self._pairs.targets(targets))
        n_labels, weight = len(class_weight), float(weights.sum(axis=0) @ class_weight)
        loss = loss_of(tuple(map(float, range(n_labels))), class_weight)
        folded = FoldLoss(loss, n_labels=n_labels, score=self.scoring or DEFAULT_SCORING)
        return Problem(folded, scale=1.0 / weight, alpha=1.0 / weight, curvature=0.25)

    def _candidate(self, found: Sum, layout: Layout, fold: int, C: float) -> Candidate:
        """Return a fit to all rows but those of a fold; to all, if there is no such fold."""
        weights, loss = self._pairs.weights(found.targets), found.problem.loss
        assert isinstance(loss, FoldLoss)
        is_scored = fold < len(weights)
        trained = np.delete(weights, fold, axis=0) if is_scored else weights
        class_weight: Any = loss.loss.class_weight  # type: ignore[attr-defined]
        weight = float(trained.sum(axis=0) @ class_weight)
        problem = replace(found.problem, scale=1.0 / weight, alpha=1.0 / (C * weight))
        return Candidate(problem, layout, found.spread, fold, is_scored)
