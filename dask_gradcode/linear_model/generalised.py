"""What generalised linear regressions share: the loss is a deviance, and so is the score."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from dask_gradcode.linear_model.bare import Linear
from dask_gradcode.linear_model.family import Family
from dask_gradcode.linear_model.parameters import SECOND_ORDER_SOLVERS
from dask_gradcode.linear_model.prediction import predict_with
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.losses import Loss
from dask_gradcode.optimizers import Optimizer
from dask_gradcode.targets import Targets

__all__ = ["CodedGeneralisedRegressor"]


class CodedGeneralisedRegressor(CodedRegressor):
    """Predicts means by a link, and scores by ``D^2``."""

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SECOND_ORDER_SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedRegressor._parameter_constraints,
        "solver": [StrOptions(set(SECOND_ORDER_SOLVERS)), Optimizer],
    }

    def _family(self) -> Family:
        """Return the distribution that the parameters ask for."""
        raise NotImplementedError

    def _problem(self, targets: Targets) -> Problem:
        self._check_numbers(targets)
        self._fitted = self._family()
        has_intercept = bool(self.fit_intercept)
        problem = self._fitted.problem(targets, float(self.alpha), has_intercept=has_intercept)
        self._loss = problem.loss
        return problem

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        found = super().score(X, y, sample_weight)
        if np.isnan(found):  # of dask data: others are checked beforehand
            raise ValueError("Some value(s) of y are out of the valid range of the loss.")
        return found

    @property
    def _score_loss(self) -> Loss:  # type: ignore[override]
        return self._loss

    def _link(self, mean: float) -> float:  # type: ignore[override]
        return self._fitted.linear(mean)

    def _mean_of(self, linear: Linear) -> Any:  # type: ignore[override]
        return self._fitted.mean_of(linear)

    def _score_in_memory(self, X: Any, y: Any, sample_weight: Any) -> float:
        check_is_fitted(self, "coef_")
        linear = predict_with(self, Linear(self.coef_, self.intercept_), X, np.empty(0))
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        check_consistent_length(linear, y)
        weight = _check_sample_weight(sample_weight, linear, dtype=np.float64)
        self._fitted.check(float(y.min()))
        mean = np.full(y.shape, self._link(float(np.average(y, weights=weight))))
        model, trivial = (weight @ self._loss.pointwise(z, y)[0] for z in (linear, mean))
        if trivial == 0.0:  # as scikit-learn has it
            return 1.0 if model == 0.0 else 0.0
        return float(1.0 - model / trivial)

    def _to(self, model: Any) -> Any:
        model._base_loss = model._get_loss()
        return super()._to(model)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not self._family().takes(-1.0)
        return tags
