"""Linear regression with a ridge penalty by coded rounds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.least_squares import LeastSquares
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedRidge"]


@documented
class CodedRidge(LeastSquares):
    """Linear regression with a ridge penalty that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, ``||y - X coef - intercept||^2 + alpha * ||coef||^2`` with a
    free intercept, by rounds of gradient coding [1]_: one where features are few, otherwise rounds
    of exact full-batch gradients. ``alpha=0`` is plain linear regression. If that has many
    solutions, as with more features than rows, one round finds the twin's: its coefficients have
    the smallest norm. ``solver="lbfgs"`` finds the one with the smallest norm of the coefficients
    times their columns' standard deviations. Without an intercept that is the deviation from zero;
    where columns are far from zero it is theirs from the mean, and the mean prediction counts in
    the norm, too.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Strength of the penalty, as in scikit-learn; an array has one for each target.
    <code parameters>
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-6
        Stop when the gradient of the mean squared error and the penalty is nowhere larger than
        twice this, for columns and targets in units of their own spread: with ``alpha=0``, when
        the residuals' covariance with every column is that small. Units of columns, targets and
        weights make no difference. ``solver="lbfgs"`` goes on below it where columns nearly add up
        to others, and ``solver="cholesky"`` is exact to rounding.
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
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_gradcode import CodedRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(CodedRidge(alpha=0.1).fit(X, y).score(X, y), 3)
    0.513
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LeastSquares._parameter_constraints,
        "alpha": [*LeastSquares._parameter_constraints["alpha"], "array-like"],
    }

    def __init__(
        self,
        alpha: Any = 1.0,
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

    def _problem(self, targets: Targets) -> Problem:
        return self._squares(targets, scale=1.0, alpha=float(self._alphas(1)[0]))

    def _alphas(self, n_targets: int) -> Vector:
        """Return the strength of each target's penalty."""
        alphas = np.ravel(np.asarray(self.alpha, dtype=np.float64))
        if alphas.size not in (1, n_targets):
            raise ValueError(
                "Number of targets and number of penalties do not correspond: "
                f"{alphas.size} != {n_targets}"
            )
        if not (alphas >= 0.0).all():
            raise ValueError(f"alpha must be at least 0 for each target, got {self.alpha!r}.")
        return np.broadcast_to(alphas, n_targets)

    def to_sklearn(self) -> Ridge:
        """Return a fitted scikit-learn ``Ridge``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(Ridge(alpha=self.alpha, fit_intercept=self.fit_intercept, tol=self.tol))
