"""A classifier whose rows are placed with the numbers of their folds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from dask_gradcode.checks import as_targets
from dask_gradcode.containers import check_containers
from dask_gradcode.linear_model.candidates import Candidate, Turns
from dask_gradcode.linear_model.choice import DEFAULT_SCORING
from dask_gradcode.linear_model.classifier import CodedProbabilisticClassifier
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.logistic import loss_of
from dask_gradcode.linear_model.pairs import Pairs, refuse_empty
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.space import Gram, Space
from dask_gradcode.linear_model.stratified import folds_of, seen_on_workers, stratified_on_workers
from dask_gradcode.linear_model.sum import Sum
from dask_gradcode.losses import Squared
from dask_gradcode.optimizers import LBFGS
from dask_gradcode.spread import Spread
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector, second_order
from dask_gradcode.work import FoldLoss, WorkLike

__all__ = ["FoldedClassifier"]

_COLUMNS_OF_A_FIT, _MOST_COLUMNS = 10, 1000
"""A Gram matrix costs as much as so many passes as there are columns, and halves those of a fit."""


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
        _, class_weight = self._weigh(self._pairs.targets(targets))
        refuse_empty(weights, class_weight)
        n_labels, weight = len(class_weight), float(weights.sum(axis=0) @ class_weight)
        loss = loss_of(tuple(map(float, range(n_labels))), class_weight)
        return Problem(loss, scale=1.0 / weight, alpha=1.0 / weight, curvature=0.25)

    def _work(self, problem: Problem, about: Vector | None) -> WorkLike:
        scoring = self.scoring or DEFAULT_SCORING
        return FoldLoss(problem.loss, n_labels=len(self._pairs.labels), score=scoring)

    def _about(self, problem: Problem, spread: Spread, X: Any) -> Vector | None:
        if issparse(X):
            return None
        return problem.coordinates(self._layout(problem, X.shape[1]), spread).about

    def _candidate(self, found: Sum, space: Space, fold: int, C: float) -> Candidate:
        """Return a fit to all rows but those of a fold; to all, if there is no such fold."""
        weights, loss = self._pairs.weights(found.targets), found.problem.loss
        is_scored = fold < len(weights)
        trained = np.delete(weights, fold, axis=0) if is_scored else weights
        class_weight: Any = loss.class_weight  # type: ignore[attr-defined]
        weight = float(trained.sum(axis=0) @ class_weight)
        problem = replace(found.problem, scale=1.0 / weight, alpha=1.0 / (C * weight))
        return Candidate(problem, space, found.spread, fold, is_scored)

    def _spaces(self, found: Sum, turns: Turns, Cs: Vector) -> dict[float, Space]:
        """Return where a solver works at each strength."""
        problem, spread = found.problem, found.spread
        layout, alphas = self._layout(problem, self.n_features_in_), problem.alpha / Cs
        problems = [replace(problem, alpha=alpha) for alpha in alphas]
        n_fits = len(Cs) * self._pairs.n_folds
        is_worth_it = layout.n_features <= min(_COLUMNS_OF_A_FIT * n_fits, _MOST_COLUMNS)
        if not (is_worth_it and isinstance(self._solver(), LBFGS)):
            coordinates = [each.coordinates(layout, spread) for each in problems]
            return dict(zip(Cs.tolist(), map(Space, coordinates), strict=True))
        summed = found.of(super()._work(Problem(Squared(), 1.0, 0.0), found.about))
        zero = np.zeros(replace(layout, n_outputs=1).size)
        seen = second_order(summed, zero)
        turns.note(zero, seen, is_score=True)
        assert seen.hessian is not None
        gram = Gram(seen.hessian, found.targets.weight, found.about)
        share = 1.0 / max(layout.n_outputs, 2)
        curvature = share * (1.0 - share)
        spaces = [gram.space(each, layout, spread, curvature) for each in problems]
        return dict(zip(Cs.tolist(), spaces, strict=True))
