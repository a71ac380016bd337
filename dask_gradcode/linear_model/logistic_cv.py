"""Logistic regression with built-in cross-validation: all folds and strengths share rounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from dask_gradcode.checks import as_targets
from dask_gradcode.history import History
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.candidates import Distinct, Fitted, Turns
from dask_gradcode.linear_model.choice import (
    DEFAULT_SCORING,
    Paths,
    refuse_other_penalties,
    refuse_other_scores,
    strengths,
)
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.folded import FoldedClassifier
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.parameters import SOLVERS
from dask_gradcode.linear_model.verifying import check_coding, refuse_audit
from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import Optimizer, Solution, in_step
from dask_gradcode.rounds import UntilExact
from dask_gradcode.typing import Objective, Vector
from dask_gradcode.verbose import check_verbose
from dask_gradcode.work.fold_loss import SCORES

__all__ = ["CodedLogisticRegressionCV"]

_SHARED = (
    *("code", "n_stragglers", "n_workers", "fit_intercept", "max_iter", "tol", "random_state"),
    *("verbose", "transport", "verify"),
)

_TOLD = ("C_", "Cs_", "l1_ratio_", "l1_ratios_", "scores_", "coefs_paths_")
"""Attributes that a model of one strength has not."""


@documented
class CodedLogisticRegressionCV(FoldedClassifier):
    """Logistic regression that chooses its penalty, without waiting for slow or dead workers.

    Minimises scikit-learn's objective, ``C * sum_i sample_weight_i * loss_i + 0.5 * ||coef||^2``
    with free intercepts, for the ``C`` that cross-validation finds best, by rounds of gradient
    coding [1]_. The fits of all folds and of all ``C`` go forward together: a round brings the
    gradients that all of them ask for, by one pass over the rows, and the scores of fits that have
    ended. So there are about as many rounds as the slowest of the fits needs. Where there are at
    most 1000 features, and at most ten for each fit, L-BFGS works in uncorrelated columns, which a
    further round tells: that halves the others.

    Parameters
    ----------
    Cs : int or array-like of shape (n_cs,), default=10
        Inverse strengths of the penalty to try; a number stands for so many from 1e-4 to 1e4. Of
        equal scores the first wins.
    l1_ratios : array-like, default=None
        None or ``(0.0,)``: the penalty is the sum of squares, and there is no other.
    fit_intercept : bool, default=True
        Whether to fit an intercept for each output.
    cv : int, splitter or iterable, default=None
        Folds that hold out each row once, as those of scikit-learn's ``StratifiedKFold`` do; a
        number stands for these, None is 5. Of dask data the workers assign them: a number, or
        ``StratifiedKFold`` without shuffle, unless ``y`` is in memory.
    scoring : {"accuracy", "neg_log_loss", "neg_brier_score"}, default=None
        What is best; these are means over rows, which rounds can bring. None is ``"accuracy"``.
    solver : {"lbfgs", "nesterov", "gradient-descent"} or Optimizer, default="lbfgs"
        What chooses the points of each fit, in coordinates of centred and scaled columns.
    tol : float, default=1e-4
        Stop a fit when ``max |gradient| / (C * sum(sample_weight)) <= tol`` for columns in units of
        their own spread.
    max_iter : int, default=100
        Most iterations of a fit.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn; scores do not count them.
    refit : bool, default=True
        Whether to fit all rows at the ``C`` with the best mean score. Otherwise coefficients,
        intercepts and ``C`` are means of the best of each fold.
    verbose : int or "bar", default=0
        1 prints a line per round, ``"bar"`` draws a progress bar (needs rich).
    <coding parameters>
    <running parameters>

    Attributes
    ----------
    C_ : float
        The ``C`` with the best score.
    Cs_ : ndarray of shape (n_cs,)
        All that were tried.
    l1_ratio_, l1_ratios_ : float, ndarray of shape (1,)
        Zero.
    scores_ : ndarray of shape (n_folds, 1, n_cs)
        Of each model on the rows of the fold that it has not seen.
    coefs_paths_ : ndarray of shape (n_folds, 1, n_cs, 1 or n_classes, n_features + 1)
        Coefficients of each model, and last its intercepts, if there are any.
    n_iter_ : ndarray of shape (n_folds, 1, n_cs)
        Iterations of each fit.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; of two classes, those of ``classes_[1]``.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    <fit attributes>

    A round that all fits need at once has a gradient of each in every message. Its record in
    ``history_`` has the mean of their objectives and the largest entry of their gradients; NaN, if
    it brought scores or products of columns alone. Shapes are those of scikit-learn with
    ``use_legacy_attributes=False``. Callbacks play no part, and ``verify="audit"`` is refused: the
    choice is by what rounds have said of fits that ended long before the last.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from dask_gradcode import CodedLogisticRegressionCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = CodedLogisticRegressionCV(Cs=[0.01, 0.1, 1, 10], cv=3, scoring="neg_log_loss")
    >>> model = model.fit(scale(X), y)
    >>> model.C_, model.scores_.mean(axis=(0, 1)).round(2)
    (1.0, array([-0.19, -0.11, -0.09, -0.16]))
    >>> model.n_iter_.sum() > 3 * len(model.history_)
    np.True_
    """

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: CodedEstimator._parameter_constraints[name] for name in _SHARED},
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratios": ["array-like", None],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "solver": [StrOptions(set(SOLVERS)), Optimizer],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "refit": ["boolean"],
    }

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = None,
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: str | None = None,
        solver: Any = "lbfgs",
        tol: float = 1e-4,
        max_iter: int = 100,
        class_weight: Any = None,
        refit: bool = True,
        verbose: Any = 0,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        random_state: Any = None,
        transport: str = "auto",
        verify: int | str = 0,
        client: Any = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.refit = refit
        self.verbose = verbose
        self.code = code
        self.n_stragglers = n_stragglers
        self.n_workers = n_workers
        self.random_state = random_state
        self.transport = transport
        self.verify = verify
        self.client = client

    def _trainer(self, X: Any, y: Any) -> Callable[[Any, Any, Any], Solution | None]:
        return self._train_candidates

    def _train_candidates(self, X: Any, y: Any, sample_weight: Any) -> Solution:
        """Fit, and return the solution that is furthest from its minimum."""
        solver, Cs = self._checked_choice(X, y)
        with ExitStack() as stack:
            placed = self._with_folds(X, y, sample_weight)
            found = self._objective(X, placed, sample_weight, UntilExact(), stack)
            stack.enter_context(one_blas_thread())
            self.history_ = History(self.code_, found.transport, logs=found.logs)
            turns = Turns(self.history_, stack.enter_context(self._reporter()))
            layout, n_folds = self._layout(found.problem, self.n_features_in_), self._pairs.n_folds
            spaces = self._spaces(found, turns, Cs)

            def fitted(fold: int, C: float, start: Vector) -> Callable[[Objective], Fitted]:
                candidate = self._candidate(found, spaces[C], fold, C)
                return candidate.run(solver, start, turns, max_iter=self.max_iter, tol=self.tol)

            start = np.zeros(layout.size)
            runs = [fitted(fold, C, start) for fold in range(n_folds) for C in Cs]
            fits = in_step(Distinct(found.objective), runs)
            weights = self._pairs.weights(found.targets).sum(axis=1)
            paths = Paths.of(Cs, fits, weights)
            self.C_, w = paths.best() if self.refit else paths.mean_of_bests()
            if self.refit:
                fits += in_step(found.objective, [fitted(n_folds, self.C_, w)])
                w = fits[-1].w
            turns.end()
            self._keep(layout, w, 0)
            self._keep_paths(paths, layout)
        return max((fit.solution for fit in fits), key=lambda it: np.abs(it.gradient).max())

    def _keep_paths(self, paths: Paths, layout: Layout) -> None:
        """Set what is told of all the fits."""
        self.Cs_, self.l1_ratio_, self.l1_ratios_ = paths.Cs, 0.0, np.zeros(1)
        self.scores_, self.n_iter_ = paths.scores[:, None], paths.n_iter[:, None]
        coefs = paths.models.reshape(*self.scores_.shape, -1, layout.n_outputs)
        self.coefs_paths_ = np.ascontiguousarray(np.swapaxes(coefs, -1, -2))

    def _checked_choice(self, X: Any, y: Any) -> tuple[Optimizer, Vector]:
        """Return the solver and the strengths, or raise for parameters that cannot be used."""
        self._validate_params()
        self._check_given(X, y)
        check_coding(self, UntilExact())
        refuse_audit(self)
        check_verbose(self.verbose)
        if self._is_placed(X):
            raise ValueError(
                f"{type(self).__name__} needs to place rows with the numbers of their folds: pass "
                "X and y themselves."
            )
        refuse_other_penalties(self.l1_ratios, type(self).__name__)
        search = "CodedLogisticRegression(), {'C': Cs}"
        refuse_other_scores(self.scoring, SCORES, "means over rows", search, type(self).__name__)
        return self._solver(), strengths(self.Cs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score by which the model was chosen, as a float.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows; in memory but for the accuracy.
        y : array-like or dask array of shape (n_samples,)
            Their labels.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Weighted mean over the rows.
        """
        if self.scoring in (None, DEFAULT_SCORING):
            return super().score(X, y, sample_weight)
        if is_dask(X) or is_dask(y):
            raise ValueError(
                f"scoring={self.scoring!r} is for rows in memory; of dask data there is the "
                "accuracy. Use predict_proba(X), which is lazy, and a score of it."
            )
        y, z = as_targets(y, type(self).__name__), self.decision_function(X)
        check_consistent_length(z, y, sample_weight)
        unseen = np.setdiff1d(y, self.classes_)
        if unseen.size:
            raise ValueError(f"y contains previously unseen labels: {unseen.tolist()}")
        scores = SCORES[self.scoring](z, np.searchsorted(self.classes_, y))
        return float(np.average(scores, weights=sample_weight))

    def to_sklearn(self) -> LogisticRegressionCV:
        """Return a fitted scikit-learn ``LogisticRegressionCV``, for use without Dask."""
        check_is_fitted(self, "coef_")
        names = {*LogisticRegressionCV().get_params()}
        shared = {name: getattr(self, name) for name in names & self.get_params().keys()}
        if "use_legacy_attributes" in names:  # from scikit-learn 1.8 on
            shared |= {"use_legacy_attributes": False, "l1_ratios": (0.0,)}
        shared.pop("solver"), shared.pop("verbose")
        model = self._to(LogisticRegressionCV(**shared))
        for name in _TOLD:
            setattr(model, name, getattr(self, name))
        return model
