"""Huber's robust regression by coded rounds."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import HuberRegressor
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.losses import Huber, Layout
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedHuberRegressor"]


@documented
class CodedHuberRegressor(CodedRegressor):
    """Regression robust to outliers that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, the sum of ``sample_weight * (scale + H(r / scale) *
    scale)`` plus ``alpha * ||coef||^2`` with a free intercept, over coefficients, intercept and
    scale, by exact full-batch gradients, each a round of gradient coding [1]_. ``H`` is quadratic
    up to ``epsilon`` and linear beyond.

    Parameters
    ----------
    <code parameters>
    epsilon : float, default=1.35
        From how many scales on a residual counts as an outlier, at least 1.
    alpha : float, default=0.0001
        Strength of the penalty, as in scikit-learn.
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-5
        Stop when the gradient of the objective, divided by the sum of weights, is nowhere larger
        than this, for columns and targets in units of their own spread. Units make no difference.
    <fit parameters>

    Attributes
    ----------
    <regression attributes>
    scale_ : float
        The scale.
    outliers_ : ndarray of shape (n_samples,)
        Which rows are outliers, ``abs(y - model.predict(X)) > model.epsilon * model.scale_``; only
        for data in memory, as on dask arrays that expression is lazy.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode import CodedHuberRegressor
    >>> X = np.arange(10.0).reshape(-1, 1)
    >>> y = 2 * X[:, 0] + np.resize([0.1, -0.1], 10)
    >>> y[3] = 1000.0
    >>> CodedHuberRegressor().fit(X, y).coef_.round(1)
    array([2.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedRegressor._parameter_constraints,
        "epsilon": [Interval(Real, 1.0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        epsilon: float = 1.35,
        alpha: float = 0.0001,
        fit_intercept: bool = True,
        solver: Any = "lbfgs",
        max_iter: int = 1000,
        tol: float = 1e-5,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        transport: str = "auto",
        verify: int | str = 0,
        client: Any = None,
    ) -> None:
        super().__init__(
            code=code,
            n_stragglers=n_stragglers,
            n_workers=n_workers,
            wait=wait,
            alpha=alpha,
            fit_intercept=fit_intercept,
            solver=solver,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            transport=transport,
            verify=verify,
            client=client,
        )
        self.epsilon = epsilon

    def _problem(self, targets: Targets) -> Problem:
        self._check_numbers(targets)
        unit = targets.unit(has_intercept=self.fit_intercept)
        # no scale can be told from 0 below the rounding of the residuals
        self._loss = Huber(float(self.epsilon), 4 * float(np.finfo(float).eps) * unit)
        return Problem(
            self._loss,
            scale=1.0,
            alpha=2.0 * self.alpha,
            start=targets.mean,
            unit=unit,
            size=targets.weight * unit,
            curvature=1.0 / unit,
        )

    def _keep(self, layout: Layout, w: Vector, n_iter: int) -> None:
        super()._keep(layout, w, n_iter)
        self.scale_ = float(self._loss.scale(layout.own(w))[0])

    def _advice(self, left: float) -> str:
        if self.scale_ <= 8 * self._loss.floor:
            return (
                "The scale has come down to the rounding of the targets: too many rows lie exactly "
                "on the model, or epsilon is so close to 1 that it asks for that. Use a larger one."
            )
        return super()._advice(left)

    def _finish(self, X: Any, y: Any) -> None:
        if y is None or is_dask(X) or is_dask(y):
            self.__dict__.pop("outliers_", None)  # of an earlier fit
            return
        residual = np.asarray(y, dtype=np.float64).reshape(-1) - self.predict(X)
        self.outliers_ = np.abs(residual) > self.epsilon * self.scale_

    def _own_start(self, problem: Problem) -> Vector:
        # a scale beyond the spread of the targets is no help: every row would seem to fit
        return np.minimum([self.scale_], problem.unit)

    def to_sklearn(self) -> HuberRegressor:
        """Return a fitted scikit-learn ``HuberRegressor``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            HuberRegressor(
                epsilon=self.epsilon,
                alpha=self.alpha,
                fit_intercept=self.fit_intercept,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )
