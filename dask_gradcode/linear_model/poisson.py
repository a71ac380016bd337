"""Poisson regression by coded rounds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.bare import Exp, Linear
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.parameters import SECOND_ORDER_SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.losses import Poisson
from dask_gradcode.optimizers import Optimizer
from dask_gradcode.targets import Targets

__all__ = ["CodedPoissonRegressor"]


@documented
class CodedPoissonRegressor(CodedRegressor):
    """Regression of counts and rates that does not wait for slow, frozen or dead workers.

    The mean is ``exp(X coef + intercept)``. Minimises scikit-learn's objective, the weighted mean
    of half the Poisson deviance plus ``0.5 * alpha * ||coef||^2`` with a free intercept, by exact
    full-batch gradients, each a round of gradient coding [1]_.

    Parameters
    ----------
    <code parameters>
    alpha : float, default=1.0
        Strength of the penalty, as in scikit-learn.
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when the gradient of the objective is nowhere larger than this, or than its product
        with the mean target if that is below 1; of scaled columns.
    <fit parameters>

    Attributes
    ----------
    <regression attributes>
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode import CodedPoissonRegressor
    >>> X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 3.0]])
    >>> y = np.array([12, 17, 22, 21])
    >>> CodedPoissonRegressor().fit(X, y).predict(X).round(1)
    array([12.5, 16.5, 21.9, 21.1])
    """

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SECOND_ORDER_SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedRegressor._parameter_constraints,
        "solver": [StrOptions(set(SECOND_ORDER_SOLVERS)), Optimizer],
    }
    _score_loss = Poisson()

    def _problem(self, targets: Targets) -> Problem:
        self._check_numbers(targets)
        if targets.smallest < 0:
            raise ValueError(
                "Some value(s) of y are out of the valid range of the loss 'Poisson': they must "
                f"be >= 0, the smallest is {targets.smallest}."
            )
        if not targets.mean > 0:
            raise ValueError("Poisson regression needs a positive target, but all y are 0.")
        return Problem(
            Poisson(),
            scale=1.0 / targets.weight,
            alpha=self.alpha,
            start=self._link(targets.mean),
            size=min(1.0, targets.mean),
            curvature=targets.mean,
        )

    @staticmethod
    def _link(mean: float) -> float:
        return float(np.log(mean))

    @staticmethod
    def _mean_of(linear: Linear) -> Any:
        return Exp(linear)

    def _score_in_memory(self, X: Any, y: Any, sample_weight: Any) -> float:
        return float(d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=1))

    def to_sklearn(self) -> PoissonRegressor:
        """Return a fitted scikit-learn ``PoissonRegressor``, for use without Dask."""
        check_is_fitted(self, "coef_")
        model = PoissonRegressor(
            alpha=self.alpha,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        model._base_loss = model._get_loss()
        return self._to(model)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags
