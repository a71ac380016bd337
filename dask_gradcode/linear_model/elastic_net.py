"""Linear regression with L1 and ridge penalties by coded rounds."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.linear_model import ElasticNet
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.linear_model.descent import check_grid, descend, dual_gap, grid
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.least_squares import LeastSquares, Seen
from dask_gradcode.linear_model.one_round import CoordinateDescent, Descended
from dask_gradcode.linear_model.parameters import SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.linear_model.sum import Sum
from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import L1, Optimizer, Solution
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedElasticNet"]

_SOLVERS: dict[str, type[Optimizer]] = {
    "auto": CoordinateDescent,
    "coordinate-descent": CoordinateDescent,
    **{name: solver for name, solver in SOLVERS.items() if name != "lbfgs"},
}


@documented
class CodedElasticNet(LeastSquares):
    """Sparse linear regression that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, half the weighted mean of squared errors plus ``alpha *
    l1_ratio * ||coef||_1 + 0.5 * alpha * (1 - l1_ratio) * ||coef||^2`` with a free intercept, by
    rounds of gradient coding [1]_: one where features are few, otherwise rounds of exact full-batch
    gradients. Zeros are exact.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalties, as in scikit-learn.
    l1_ratio : float, default=0.5
        Which share of them is L1: 1 is the lasso, 0 is ridge regression.
    positive : bool, default=False
        Whether coefficients must not be negative; for coordinate descent alone.
    <code parameters>
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver; those of coordinate descent are passes over the coefficients,
        which need no rounds.
    tol : float, default=1e-4
        Coordinate descent stops as scikit-learn's, when the dual gap is at most this share of the
        targets' mean square around their mean. Other solvers stop when the shortest subgradient is
        nowhere larger than this, for columns and targets in units of their own spread.
    <fit parameters>

    Attributes
    ----------
    <attributes of targets>
    solver_ : str or Optimizer
        The solver that was used.
    dual_gap_ : float or ndarray of shape (n_targets,)
        By how much the objective is above its minimum, at most. Without a penalty it is nan.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from dask_gradcode import CodedElasticNet
    >>> X, y = make_regression(n_features=2, random_state=0)
    >>> model = CodedElasticNet().fit(X, y)
    >>> model.coef_.round(2), round(model.intercept_, 2), len(model.history_)
    (array([18.84, 64.56]), np.float64(1.45), 1)
    """

    _solvers: ClassVar[dict[str, type[Optimizer]]] = _SOLVERS
    _automatic = ("coordinate-descent", "nesterov")
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LeastSquares._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "positive": ["boolean"],
        "solver": [StrOptions(set(_SOLVERS)), Optimizer],
    }

    dual_gap_: Any

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        positive: bool = False,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        fit_intercept: bool = True,
        solver: Any = "auto",
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
        self.l1_ratio = l1_ratio
        self.positive = positive

    @property
    def sparse_coef_(self) -> csr_array:
        """The coefficients as a sparse array of shape (1, n_features)."""
        return csr_array(self.coef_[None, :])

    def path(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        return_n_iter: bool = False,
    ) -> Any:
        """Compute the coefficients for many strengths of the penalties, from one round.

        As scikit-learn's ``enet_path``, by coordinate descent that begins each where the one before
        it has ended; but with the parameters of this estimator, which stays as it is. With an
        intercept, columns and targets are centred.

        Parameters
        ----------
        X : dask array, ndarray, sparse array, frame or Placement of shape (n_samples, n_features)
            The features, or data placed by :func:`dask_gradcode.place`.
        y : array-like or dask array of shape (n_samples,)
            Targets; left out for placed data.
        sample_weight : array-like or dask array of shape (n_samples,) or float, default=None
            Weight of each row; left out for placed data.
        eps : float, default=1e-3
            The smallest strength, as a share of the largest, where they are not given.
        alphas : int or array-like of shape (n_alphas,), default=100
            The strengths, or how many, from the smallest for which all coefficients are zero.
        return_n_iter : bool, default=False
            Whether to return the numbers of iterations, too.

        Returns
        -------
        alphas : ndarray of shape (n_alphas,)
            The strengths, the largest first.
        coefs : ndarray of shape (n_features, n_alphas)
            Coefficients.
        dual_gaps : ndarray of shape (n_alphas,)
            By how much each objective is above its minimum, at most.
        n_iters : list of int
            Iterations, if they are asked for.

        Raises
        ------
        ValueError, TypeError
            For what cannot be used; more than 4095 features are too many.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from dask_gradcode import CodedElasticNet
        >>> X, y = load_diabetes(return_X_y=True)
        >>> alphas, coefs, _ = CodedElasticNet(l1_ratio=1.0).path(X, y, alphas=4, eps=0.1)
        >>> alphas.round(2), (coefs != 0.0).sum(axis=0)
        (array([2.15, 1.  , 0.46, 0.21]), array([0, 3, 4, 5]))
        """
        twin = clone(self).set_params(solver="coordinate-descent", warm_start=False)
        check_grid(alphas, eps, self.l1_ratio)
        slopes = twin._seen(X, y, sample_weight).slopes
        if isinstance(alphas, Integral):
            alphas = grid(slopes, int(alphas), eps, self.l1_ratio, positive=self.positive)
        alphas = np.sort(np.asarray(alphas, dtype=np.float64))[::-1]
        coefs, gaps, n_iters = descend(
            slopes,
            alphas,
            l1_ratio=self.l1_ratio,
            max_iter=self.max_iter,
            tol=self.tol,
            positive=self.positive,
        )
        return (alphas, coefs, gaps, n_iters) if return_n_iter else (alphas, coefs, gaps)

    def to_sklearn(self) -> ElasticNet:
        """Return a fitted scikit-learn ``ElasticNet``, for use without Dask."""
        return self._plain(ElasticNet(l1_ratio=self.l1_ratio))

    def _plain(self, model: Any) -> Any:
        check_is_fitted(self, "coef_")
        names = ("alpha", "fit_intercept", "positive", "max_iter", "tol", "warm_start")
        model.set_params(**{name: getattr(self, name) for name in names})
        return self._to(model)

    def _solver(self) -> Optimizer:
        solver = super()._solver()
        solver.check_penalty(L1(self.l1_ratio, 1))
        if not self.positive:
            return solver
        if isinstance(solver, CoordinateDescent):
            return CoordinateDescent(positive=True)
        raise ValueError(
            f"positive=True needs solver='coordinate-descent', got solver={self.solver!r}."
        )

    def _check_size(self, problem: Problem, n_features: int) -> None:
        if self.positive:
            self._solver().check_size(self._layout(problem, n_features).size)
        super()._check_size(problem, n_features)

    def _suited(self, solver: Optimizer, found: Sum, layout: Layout) -> Optimizer:
        suited = super()._suited(solver, found, layout)
        if self.positive:  # there is no choice
            self.solver_ = "coordinate-descent"
        return solver if self.positive else suited

    def _coordinates(self, solver: Optimizer, found: Sum, layout: Layout) -> Coordinates:
        return found.problem.coordinates(layout, found.spread, separate=True)

    def _problem(self, targets: Targets) -> Problem:
        scale, l1 = 1.0 / targets.weight, self.alpha * self.l1_ratio
        return self._squares(targets, scale=scale, alpha=self.alpha - l1, l1=l1)

    def _note(self, solution: Solution, penalty: L1, coordinates: Coordinates) -> None:
        slopes = slice(penalty.n_penalised)
        w, gradient = solution.w[slopes], solution.gradient[slopes]
        if penalty.is_none:  # as for a function that curves by alpha at least
            steepest = gradient * (coordinates.size / coordinates.lengths)
            self.dual_gap_ = float(steepest @ steepest / (2.0 * self.alpha or np.nan))
            return
        known = w, solution.value, gradient, np.asarray(penalty.strength)
        self.dual_gap_ = dual_gap(*known, positive=self.positive) * coordinates.size

    def _keep_several(self, seen: Seen, n_targets: int) -> None:
        self.n_iter_, self.dual_gap_ = [], np.empty(0)  # of each
        super()._keep_several(seen, n_targets)

    def _alphas(self, n_targets: int) -> Vector:
        return np.full(n_targets, float(self.alpha))

    def _solved(self, slopes: Quadratic, lengths: Vector, alpha: float) -> Vector:
        coefs, gaps, n_iters = descend(
            slopes,
            [alpha],
            l1_ratio=self.l1_ratio,
            max_iter=self.max_iter,
            tol=self.tol,
            positive=self.positive,
        )
        self.n_iter_ += n_iters
        self.dual_gap_ = np.append(self.dual_gap_, gaps)
        return coefs[:, 0]

    def _complaint(self, solution: Solution) -> str | None:
        if not isinstance(solution, Descended):
            return super()._complaint(solution)
        if solution.converged:
            return None
        return (
            "Objective did not converge. You might want to increase the number of iterations, "
            "check the scale of the features or consider increasing regularisation. Duality gap: "
            f"{self.dual_gap_:.3e}; it ends at tol={self.tol:.1e} of the mean square of the targets"
        )
