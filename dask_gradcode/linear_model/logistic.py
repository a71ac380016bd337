"""Logistic regression by coded rounds, with scikit-learn's coefficients."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.classifier import CodedProbabilisticClassifier
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.parameters import SECOND_ORDER_SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Logistic, Loss, Multinomial
from dask_gradcode.optimizers import L1, Optimizer
from dask_gradcode.targets import Targets

__all__ = ["CodedLogisticRegression", "loss_of"]


@documented
class CodedLogisticRegression(CodedProbabilisticClassifier):
    """Logistic regression that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective to the letter,
    ``C * sum_i sample_weight_i * loss_i + 0.5 * (1 - l1_ratio) * ||coef||^2 + l1_ratio * |coef|``
    with free intercepts, by exact full-batch gradients. Each is one round of gradient coding [1]_:
    blocks of the data are replicated on the workers, each sends one combination of its block
    gradients, and the full sum is decoded from the workers that were fastest. The loss is the
    binomial one of two classes, and the multinomial one of more.

    Parameters
    ----------
    <code parameters>
    C : float, default=1.0
        Inverse of the strength of the penalty, as in scikit-learn; ``np.inf`` is no penalty.
    l1_ratio : float, default=0.0
        Share of the sum of absolute values in the penalty (elastic net), which makes coefficients
        exactly zero. Above 0 it needs ``solver="nesterov"``, which is then FISTA, or
        ``"gradient-descent"``; as in scikit-learn, ``"lbfgs"`` with it is an error.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn.
    <solver parameters>
    max_iter : int, default=100
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when ``max |gradient| / (C * sum(sample_weight)) <= tol`` for columns in units of their
        own spread, for every solver; with ``l1_ratio > 0`` that is the shortest subgradient.
    <fit parameters>

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; of two classes, those of ``classes_[1]``.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted: numbers, strings or whatever sorts.
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> from distributed import Client
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from dask_gradcode import CodedLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> with Client(processes=False, n_workers=4, dashboard_address=":0") as client:
    ...     model = CodedLogisticRegression(n_stragglers=1, client=client).fit(scale(X), y)
    >>> model.code_
    FractionalRepetition(n_workers=4, n_stragglers=1)
    >>> round(model.score(scale(X), y), 3)
    0.988
    """

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SECOND_ORDER_SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedEstimator._parameter_constraints,
        "solver": [StrOptions(set(SECOND_ORDER_SOLVERS)), Optimizer],
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
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
        l1_ratio: float = 0.0,
        class_weight: Any = None,
        fit_intercept: bool = True,
        solver: Any = "lbfgs",
        max_iter: int = 100,
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
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight

    def _solver(self) -> Optimizer:
        solver = super()._solver()
        solver.check_penalty(L1(self.l1_ratio, 1))
        return solver

    def _problem(self, targets: Targets) -> Problem:
        held, class_weight = self._weigh(targets)
        weight = float(np.dot(class_weight, targets.weights))
        return Problem(
            loss_of(held, class_weight),
            scale=1.0 / weight,
            alpha=(1.0 - self.l1_ratio) / (self.C * weight),
            l1=self.l1_ratio / (self.C * weight),
            curvature=0.25,
        )

    def _advice(self, left: float) -> str:
        if self.l1_ratio and not self.fit_intercept:
            return (
                "Columns far from zero are nearly alike, and with l1_ratio > 0 nothing but an "
                "intercept can tell them apart: fit one, or subtract a constant from each of them."
            )
        return super()._advice(left)

    def to_sklearn(self) -> LogisticRegression:
        """Return a fitted scikit-learn ``LogisticRegression``, for use without Dask."""
        check_is_fitted(self, "coef_")
        return self._to(
            LogisticRegression(
                C=self.C,
                l1_ratio=self.l1_ratio,
                solver="saga" if self.l1_ratio else "lbfgs",
                fit_intercept=self.fit_intercept,
                class_weight=self.class_weight,
                max_iter=self.max_iter,
                tol=self.tol,
            )
        )


def loss_of(held: tuple[float, ...], class_weight: tuple[float, ...]) -> Loss:
    """Return the loss of the labels as blocks hold them, and the weights of their classes."""
    if len(held) > 2:
        return Multinomial(held, class_weight)
    _, positive = held
    return Logistic(positive, (class_weight[0], class_weight[1]))
