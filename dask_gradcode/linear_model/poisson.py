"""Poisson regression by coded rounds."""

from __future__ import annotations

from sklearn.linear_model import PoissonRegressor
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.family import Family
from dask_gradcode.linear_model.generalised import CodedGeneralisedRegressor

__all__ = ["CodedPoissonRegressor"]


@documented
class CodedPoissonRegressor(CodedGeneralisedRegressor):
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

    def _family(self) -> Family:
        return Family(1.0, "log")

    def to_sklearn(self) -> PoissonRegressor:
        """Return a fitted scikit-learn ``PoissonRegressor``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            PoissonRegressor(
                alpha=self.alpha,
                fit_intercept=self.fit_intercept,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )
