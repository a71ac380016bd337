"""Regression with Tweedie's distributions by coded rounds."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.linear_model import TweedieRegressor
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.family import Family
from dask_gradcode.linear_model.generalised import CodedGeneralisedRegressor

__all__ = ["CodedTweedieRegressor"]


@documented
class CodedTweedieRegressor(CodedGeneralisedRegressor):
    """Generalised linear regression that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, the weighted mean of half the deviance of one of Tweedie's
    distributions plus ``0.5 * alpha * ||coef||^2`` with a free intercept, by exact full-batch
    gradients, each a round of gradient coding [1]_.

    Parameters
    ----------
    <code parameters>
    power : float, default=0.0
        The variance is the mean to this power: 0 for normal targets, 1 for Poisson's, between 1 and
        2 for sums of gamma amounts with zeros among them, 2 for gamma and 3 for inverse Gaussian
        targets. Up to 0 targets may be any numbers, above they must be ``>= 0``, and from 2 on
        ``> 0``.
    alpha : float, default=1.0
        Strength of the penalty, as in scikit-learn.
    link : {"auto", "identity", "log"}, default="auto"
        What the linear predictor is of the mean. ``"auto"`` is the identity for ``power <= 0``,
        otherwise the logarithm. Means of the identity link must be positive (but for ``power=0``):
        steps to others are taken back, also where scikit-learn's fit ends at its start, as it
        does without an intercept.
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when the gradient of the objective is nowhere larger than this, or than its product
        with ``mean(y)^(2 - power)`` if that is below 1; of scaled columns. With the identity link
        it is divided by ``var(y) / mean(y)^power``.
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
    >>> from dask_gradcode import CodedTweedieRegressor
    >>> X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 3.0]])
    >>> y = np.array([2.0, 0.0, 5.0, 5.5])
    >>> CodedTweedieRegressor(power=1.5).fit(X, y).predict(X).round(1)
    array([1.6, 2.4, 3.6, 4.5])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedGeneralisedRegressor._parameter_constraints,
        "power": [Interval(Real, None, None, closed="neither")],
        "link": [StrOptions({"auto", "identity", "log"})],
    }

    def __init__(
        self,
        *,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        power: float = 0.0,
        alpha: float = 1.0,
        link: str = "auto",
        fit_intercept: bool = True,
        solver: Any = "lbfgs",
        max_iter: int = 1000,
        tol: float = 1e-4,
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
        self.power = power
        self.link = link

    def _family(self) -> Family:
        if self.link == "auto":
            return Family(self.power, "log" if self.power > 0 else "identity")
        return Family(self.power, self.link)

    def to_sklearn(self) -> TweedieRegressor:
        """Return a fitted scikit-learn ``TweedieRegressor``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            TweedieRegressor(
                power=self.power,
                alpha=self.alpha,
                fit_intercept=self.fit_intercept,
                link=self.link,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )
