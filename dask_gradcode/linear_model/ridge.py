"""Linear regression with a ridge penalty by coded rounds."""

from __future__ import annotations

from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.losses import Squared
from dask_gradcode.targets import Targets

__all__ = ["CodedRidge"]


@documented
class CodedRidge(CodedRegressor):
    """Linear regression with a ridge penalty that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, ``||y - X coef - intercept||^2 + alpha * ||coef||^2`` with a
    free intercept, by exact full-batch gradients, each a round of gradient coding [1]_.
    ``alpha=0`` is plain linear regression.

    Parameters
    ----------
    <code parameters>
    alpha : float, default=1.0
        Strength of the penalty, as in scikit-learn.
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when half the gradient of the objective is nowhere larger than this, as scikit-learn's
        ``Ridge(solver="lbfgs")`` does.
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
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_gradcode import CodedRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(CodedRidge(alpha=0.1).fit(X, y).score(X, y), 3)
    0.513
    """

    def _problem(self, targets: Targets) -> Problem:
        self._check_numbers(targets)
        return Problem(Squared(), scale=1.0, alpha=float(self.alpha), start=targets.mean)

    def to_sklearn(self) -> Ridge:
        """Return a fitted scikit-learn ``Ridge``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(Ridge(alpha=self.alpha, fit_intercept=self.fit_intercept, tol=self.tol))
