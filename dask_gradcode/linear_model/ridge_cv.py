"""Ridge regression with built-in cross-validation, by one coded round or two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.containers import check_containers
from dask_gradcode.history import History, Recorder
from dask_gradcode.kernels import RidgeModels, one_blas_thread
from dask_gradcode.linear_model.choice import refuse_other_scores
from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.folds import beside_folds, beside_lazy_folds
from dask_gradcode.linear_model.held_out import (
    DEFAULT_SCORING,
    SCORES,
    Folded,
    check_sizes,
    strengths,
)
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.least_squares import LeastSquares
from dask_gradcode.linear_model.one_round import Cholesky
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.quadratic import refuse_infinite
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.linear_model.several import n_targets_of
from dask_gradcode.linear_model.verifying import check_coding, found_by, once
from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import Optimizer, Solution
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import UntilExact, WaitRule
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import Folds, LeftOut, WorkLike, as_work, of_order

__all__ = ["CodedRidgeCV"]

_MOST_NUMBERS = Statistic(4095, order=2).size
"""In a message: 64 MiB, as for other models of one round."""

_ALL = ("code", "n_stragglers", "n_workers", "fit_intercept", "random_state", "transport", "verify")
"""Parameters of all estimators: the others' are about iterations, of which there are none."""


@documented
class CodedRidgeCV(LeastSquares):
    """Ridge regression that chooses its penalty, without waiting for slow, frozen or dead workers.

    Minimises scikit-learn's objective, ``||y - X coef - intercept||^2 + alpha * ||coef||^2`` with a
    free intercept, for the ``alpha`` that cross-validation finds best, by rounds of gradient coding
    [1]_. With ``cv`` one round is enough for all folds and strengths: it brings a Gram matrix of
    each fold, by which the client fits and scores. Leave-one-out, the default, takes two: by the
    Gram matrix of the first one workers know how far each row is missed without it [2]_.

    Parameters
    ----------
    alphas : float or array-like of shape (n_alphas,), default=(0.1, 1.0, 10.0)
        Strengths of the penalty to try; above 0 for leave-one-out. Of equal scores the first wins.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    scoring : {"r2", "neg_mean_squared_error", "neg_root_mean_squared_error"}, default=None
        What is best; these are functions of sums that rounds can bring. None: ``"r2"``, or for
        leave-one-out the mean of squared errors, each times the weight of its row.
    cv : int, splitter or iterable, default=None
        None: leave-one-out. Otherwise folds that hold out each row once, as those of scikit-learn's
        ``KFold`` do; a number stands for these. Of dask data, whose chunks must then have known
        lengths, they are runs of rows: a number, or ``KFold`` without shuffle. Sample weights count
        in fits and in scores.
    <coding parameters>
    <running parameters>

    Attributes
    ----------
    alpha_ : float
        The strength with the best score.
    best_score_ : float
        Its score: the mean of the folds' scores.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the model of all rows.
    intercept_ : numpy.float64
        Intercept; 0.0 without one.
    <fit attributes>

    A message has a Gram matrix of each fold, together up to 64 MiB. Dense columns far from zero are
    centred for it, by a shift that is fixed when the data is placed. Sparse ones are not, nor are
    any without an intercept: of a column of mean ``m`` and standard deviation ``s`` the digits of
    ``(m / s)^2`` are lost. Squared errors of folds are exact to rounding of the targets' variance.
    Leave-one-out loses digits where columns nearly add up to others and ``alpha`` is tiny beside
    their squares. Callbacks play no part.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.
    .. [2] Rifkin and Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_gradcode import CodedRidgeCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = CodedRidgeCV(alphas=[1e-3, 1e-2, 1e-1, 1]).fit(X, y)
    >>> model.alpha_, round(model.score(X, y), 3), len(model.history_)
    (0.01, 0.517, 2)
    >>> model = CodedRidgeCV(alphas=[1e-3, 1e-2, 1e-1, 1], cv=5).fit(X, y)
    >>> model.alpha_, round(model.best_score_, 3), len(model.history_)
    (0.001, np.float64(0.482), 1)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: LeastSquares._parameter_constraints[name] for name in _ALL},
        "alphas": ["array-like", Interval(Real, 0, None, closed="neither")],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
    }
    _n_folds: int | None = None
    """For a round with folds: how many."""

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        scoring: str | None = None,
        cv: Any = None,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        random_state: Any = None,
        transport: str = "auto",
        verify: int | str = 0,
        client: Any = None,
    ) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.scoring = scoring
        self.cv = cv
        self.code = code
        self.n_stragglers = n_stragglers
        self.n_workers = n_workers
        self.random_state = random_state
        self.transport = transport
        self.verify = verify
        self.client = client

    def to_sklearn(self) -> RidgeCV:
        """Return a fitted scikit-learn ``RidgeCV``, for use without Dask."""
        check_is_fitted(self, "coef_")
        names = ("alphas", "fit_intercept", "scoring", "cv")
        model = self._to(RidgeCV(**{name: getattr(self, name) for name in names}))
        model.alpha_, model.best_score_ = self.alpha_, self.best_score_
        return model

    def _trainer(self, X: Any, y: Any) -> Callable[[Any, Any, Any], Solution | None]:
        return self._train_left_out if self.cv is None else self._train_folds

    def _train_left_out(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit by two rounds: a Gram matrix, and the errors of leave-one-out."""
        _, wait = self._checked(X, y)
        alphas = strengths(self.alphas, may_be_zero=False)
        with ExitStack() as stack:
            found = self._objective(X, y, sample_weight, wait, stack)
            stack.enter_context(one_blas_thread())
            slopes, lengths, mean = self._look(found)
            coefs = np.column_stack([slopes.ridge(alpha, lengths) for alpha in alphas])
            targets, share = found.targets, 1.0 / found.targets.weight
            mean_target = targets.mean
            if not self.fit_intercept:
                mean, mean_target, share = np.zeros_like(mean), 0.0, 0.0
            models = RidgeModels.of(slopes.hessian, coefs, alphas, mean, mean_target, share)
            first = len(self.history_)
            seen = once(summed := found.of(LeftOut(models)), alphas, self.history_)
        self.history_.found = [*found.found, *found_by(summed, first)]
        squares = seen.gradient
        if not np.isfinite(squares).all():
            raise ValueError(
                "The errors of leave-one-out are not finite: there is but one sample, or one with "
                "a sample weight, or alphas are nothing beside the squares of the columns."
            )
        self._record(seen, float(squares.min()), np.zeros(1))
        if self.scoring is None:
            scores = -squares / seen.value
        else:
            assert targets.spread is not None
            scores = SCORES[self.scoring](squares, targets.weight, float(targets.spread.squares[0]))
        best = self._choose(alphas, scores)
        self.coef_ = coefs[:, best].copy()
        self.intercept_ = mean_target - mean @ self.coef_

    def _train_folds(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit by one round, with a Gram matrix of each fold."""
        _, wait = self._checked(X, y)
        alphas = strengths(self.alphas, may_be_zero=True)
        twin = type(self)(**{**self.get_params(deep=False), "cv": None})
        rows, y, twin._n_folds = self._beside_folds(X, y)
        with ExitStack() as stack:
            found = twin._objective(rows, y, sample_weight, wait, stack)
            stack.enter_context(one_blas_thread())
            self.code_ = twin.code_
            self.history_ = History(self.code_, found.transport, logs=found.logs, found=found.found)
            problem, n = found.problem, self.n_features_in_
            layout = Layout(n + 1, 1, 0, has_intercept=True)  # which scores need in any case
            coordinates = problem.coordinates(
                self._layout(problem, n + 1), found.spread, separate=True
            )
            coordinates = replace(coordinates, layout=layout)
            w = np.zeros(layout.size)
            w[-1] = problem.start if self.fit_intercept else 0.0
            seen = once(found.objective, w, self.history_)
            refuse_infinite(seen.gradient)
            sums = seen.gradient.reshape(-1, Statistic.at(w, order=2).size)
            folded = Folded.told(
                sums, coordinates, w, found.about, has_intercept=self.fit_intercept
            )
            whole = folded.whole
            self._record(seen, whole.value, whole.gradient)
            scores = folded.scores(alphas, SCORES[self.scoring or DEFAULT_SCORING])
            best = self._choose(alphas, scores.mean(axis=0))
            (model,) = folded.models(whole, alphas[[best]])
        self.coef_ = model[:n]
        self.intercept_ = model[n] - coordinates.shift[:n] @ model[:n]

    def _beside_folds(self, X: Any, y: Any) -> tuple[Any, Any, int]:
        """Return rows with their fold numbers as a further column, targets, and how many folds."""
        if self._is_placed(X):
            raise ValueError(
                f"cv={self.cv!r} needs to place rows with the numbers of their folds: pass X and y "
                "themselves, or use cv=None, which is leave-one-out."
            )
        check_containers(X=X, y=y)
        if is_dask(X):
            self._keep_names(X)
            rows, sizes = beside_lazy_folds(self.cv, X)
        else:
            X, y = self._validate(X, y)
            rows, sizes = beside_folds(self.cv, X, y)
        check_sizes(self.scoring, sizes)
        return rows, y, len(sizes)

    def _choose(self, alphas: Vector, scores: Vector) -> int:
        """Keep the best strength and its score, and return which it is."""
        best = int(np.argmax(scores))
        self.alpha_, self.best_score_ = float(alphas[best]), scores[best]
        return best

    def _record(self, seen: Evaluation, value: float, gradient: Vector) -> None:
        """Keep a round in the history, with numbers that mean something there."""
        record = replace(seen.record, round=len(self.history_))
        told = replace(seen, value=value, gradient=gradient, record=record)
        Recorder(lambda w: told, self.history_)(gradient)

    def _checked(self, X: Any, y: Any) -> tuple[Optimizer, WaitRule]:
        self._validate_params()
        search = "CodedRidge(), {'alpha': alphas}"
        refuse_other_scores(self.scoring, SCORES, "functions of sums", search, type(self).__name__)
        self._check_given(X, y)
        check_coding(self, wait := UntilExact())
        if n_targets_of(y) > 1:
            raise ValueError(
                f"{type(self).__name__} takes one target, got y of shape {np.shape(y)}. Fit a "
                "model of each column; CodedRidge fits all at one strength."
            )
        return self._solver(), wait

    def _solver(self) -> Optimizer:
        return Cholesky()

    def _start(self, problem: Problem, layout: Layout) -> Vector:
        w = np.zeros(layout.size)
        layout.intercept(w)[:] = problem.start
        return w

    def _problem(self, targets: Targets) -> Problem:
        return self._squares(targets, scale=1.0, alpha=0.0)

    def _work(self, problem: Problem, about: Vector | None) -> WorkLike:
        work = super()._work(problem, about)
        return work if self._n_folds is None else Folds(of_order(as_work(work), 2), self._n_folds)

    def _check_size(self, problem: Problem, n_features: int) -> None:
        n_grams = self._n_folds or 1
        size = n_grams * Statistic(n_features + 1, order=2).size
        if size > _MOST_NUMBERS:
            n_features -= self._n_folds is not None  # which are one of the columns
            raise ValueError(
                f"Each message carries {n_grams} Gram matrices of {n_features} features, together "
                f"{size * 8 / 2**20:.0f} MiB, and at most 64 MiB. Use fewer folds or features, or "
                "GridSearchCV(CodedRidge(), {'alpha': alphas}, cv=cv), whose fits iterate."
            )

    def __sklearn_tags__(self) -> Any:
        return CodedRegressor.__sklearn_tags__(self)
