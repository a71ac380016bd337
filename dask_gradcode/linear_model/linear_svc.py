"""Linear support vector classification by coded rounds, with LIBLINEAR's coefficients."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.svm import LinearSVC
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.classifier import CodedClassifier
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.parameters import SECOND_ORDER_SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Layout, SquaredHinge
from dask_gradcode.optimizers import Optimizer
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedLinearSVC"]


@documented
class CodedLinearSVC(CodedClassifier):
    """Support vector classification that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, ``C * sum_i sample_weight_i * max(0, 1 - m_i)^2 + 0.5 *
    ||coef||^2 + 0.5 * (intercept / intercept_scaling)^2`` with the margin ``m_i`` of row ``i``, by
    exact full-batch gradients, each a round of gradient coding [1]_. As in LIBLINEAR, which is
    behind the twin, the intercept is penalised. Of more than two classes each is fitted against the
    rest, all in the same rounds.

    ``penalty``, ``loss``, ``dual`` and ``multi_class`` are the twin's defaults and no parameters:
    an L1 penalty, the hinge itself, which has no gradient where it bends, the dual problem, whose
    variables are the rows, and Crammer and Singer's loss are not to be had.

    Parameters
    ----------
    <code parameters>
    C : float, default=1.0
        Inverse of the strength of the penalty, as in scikit-learn.
    intercept_scaling : float, default=1.0
        The larger, the less an intercept is penalised, as in scikit-learn.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn: where a class is fitted against the rest, the
        rest has weight one.
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when ``max |gradient| / (C * sum(sample_weight)) <= tol`` for columns in units of their
        own spread, for every solver.
    <fit parameters>

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; of two classes, those of ``classes_[1]``.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; 0.0 without.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted: numbers, strings or whatever sorts.
    n_iter_ : int
        Iterations of the solver.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from dask_gradcode import CodedLinearSVC
    >>> X, y = load_iris(return_X_y=True)
    >>> model = CodedLinearSVC(solver="newton-cholesky").fit(X, y)
    >>> round(model.score(X, y), 3)
    0.967
    """

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SECOND_ORDER_SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedEstimator._parameter_constraints,
        "solver": [StrOptions(set(SECOND_ORDER_SOLVERS)), Optimizer],
        "C": [Interval(Real, 0, None, closed="neither")],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        C: float = 1.0,
        intercept_scaling: float = 1.0,
        class_weight: Any = None,
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
        self.C = C
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight

    def _problem(self, targets: Targets) -> Problem:
        held, class_weight = self._weigh(targets)
        strength = self.C * targets.weight
        return Problem(
            SquaredHinge(held, class_weight),
            scale=1.0 / targets.weight,
            alpha=1.0 / strength,
            intercept_alpha=1.0 / (strength * float(self.intercept_scaling) ** 2),
        )

    def _keep(self, layout: Layout, w: Vector, n_iter: int) -> None:
        super()._keep(layout, w, n_iter)
        self.n_iter_ = n_iter
        if not self.fit_intercept:
            self.intercept_ = 0.0

    def to_sklearn(self) -> LinearSVC:
        """Return a fitted scikit-learn ``LinearSVC``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            LinearSVC(
                C=self.C,
                intercept_scaling=self.intercept_scaling,
                fit_intercept=self.fit_intercept,
                class_weight=self.class_weight,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )
