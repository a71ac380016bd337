"""Gamma regression by coded rounds."""

from __future__ import annotations

from sklearn.linear_model import GammaRegressor
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.family import Family
from dask_gradcode.linear_model.generalised import CodedGeneralisedRegressor

__all__ = ["CodedGammaRegressor"]


@documented
class CodedGammaRegressor(CodedGeneralisedRegressor):
    """Regression of positive amounts that does not wait for slow, frozen or dead workers.

    The mean is ``exp(X coef + intercept)``. Minimises scikit-learn's objective, the weighted mean
    of half the gamma deviance plus ``0.5 * alpha * ||coef||^2`` with a free intercept, by exact
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
        Stop when the gradient of the objective is nowhere larger than this; of scaled columns.
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
    >>> from dask_gradcode import CodedGammaRegressor
    >>> X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 3.0]])
    >>> y = np.array([19.0, 26.0, 33.0, 30.0])
    >>> CodedGammaRegressor().fit(X, y).predict(X).round(1)
    array([22.3, 25.6, 29.5, 29.6])
    """

    def _family(self) -> Family:
        return Family(2.0, "log")

    def to_sklearn(self) -> GammaRegressor:
        """Return a fitted scikit-learn ``GammaRegressor``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            GammaRegressor(
                alpha=self.alpha,
                fit_intercept=self.fit_intercept,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )
