"""Linear regression by coded rounds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.least_squares import LeastSquares
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.targets import Targets

__all__ = ["CodedLinearRegression"]


@documented
class CodedLinearRegression(LeastSquares):
    """Ordinary least squares that does not wait for slow, frozen or dead workers.

    Minimises ``||y - X coef - intercept||^2`` by rounds of gradient coding [1]_: one where features
    are few, otherwise rounds of exact full-batch gradients. Of many solutions, as with more
    features than rows, one round finds the twin's: its coefficients have the smallest norm;
    :class:`~dask_gradcode.CodedRidge` says which one ``solver="lbfgs"`` finds. There is no
    ``positive``: the twin solves for it row by row, by active sets, and
    ``CodedLasso(alpha, positive=True)`` with a tiny ``alpha`` is near it.

    Parameters
    ----------
    <code parameters>
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-6
        Stop when the residuals' covariance with every column is nowhere larger than this, for
        columns and targets in units of their own spread. ``solver="cholesky"`` is exact to
        rounding.
    <fit parameters>

    Attributes
    ----------
    <attributes of targets>
    solver_ : str or Optimizer
        The solver that was used.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode import CodedLinearRegression
    >>> X = np.array([[1, 1], [1, 2], [2, 2], [2, 3]])
    >>> y = X @ [1, 2] + 3
    >>> model = CodedLinearRegression().fit(X, y)
    >>> model.coef_.round(6), round(model.intercept_, 6), len(model.history_)
    (array([1., 2.]), np.float64(3.0), 1)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: held for name, held in LeastSquares._parameter_constraints.items() if name != "alpha"
    }

    def __init__(
        self,
        *,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        fit_intercept: bool = True,
        solver: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-6,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        transport: str = "auto",
        verify: int | str = 0,
        client: Any = None,
    ) -> None:
        CodedEstimator.__init__(  # other regressors have a penalty
            self,
            code=code,
            n_stragglers=n_stragglers,
            n_workers=n_workers,
            wait=wait,
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

    def _problem(self, targets: Targets) -> Problem:
        return self._squares(targets, scale=1.0, alpha=0.0)

    def _keep_column(self) -> None:
        super()._keep_column()
        self.coef_ = np.atleast_2d(self.coef_)

    def to_sklearn(self) -> LinearRegression:
        """Return a fitted scikit-learn ``LinearRegression``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(LinearRegression(fit_intercept=self.fit_intercept))
