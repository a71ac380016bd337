"""Logistic regression by coded rounds, with scikit-learn's coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_gradcode.linear_model.base import CodedEstimator, is_dask
from dask_gradcode.losses import Logistic
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedLogisticRegression"]


class CodedLogisticRegression(ClassifierMixin, CodedEstimator):
    """Logistic regression that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective to the letter,
    ``C * sum_i sample_weight_i * loss_i + 0.5 * ||coef||^2`` with a free intercept, by exact
    full-batch gradients. Each is one round of gradient coding [1]_: blocks of the data are
    replicated on the workers, each sends one combination of its block gradients, and the full sum
    is decoded from the workers that were fastest.

    Parameters
    ----------
    code : {"auto", "fractional", "cyclic", "uncoded"} or GradientCode, default="auto"
        Which worker holds which blocks. ``"auto"`` is fractional repetition where
        ``n_stragglers + 1`` divides ``n_workers``, else cyclic repetition.
    n_stragglers : int, default=None
        How many workers may be silent in a round. None: the code object's, else 1 (0 on a single
        worker). Data and work grow ``n_stragglers + 1`` times.
    n_workers : int, default=None
        How many workers to use. None: the code object's, else all workers of the cluster.
    wait : "exact" or WaitRule, default="exact"
        When a round has enough messages.
    C : float, default=1.0
        Inverse of the strength of the penalty, as in scikit-learn.
    l1_ratio : float, default=0.0
        Only 0 (a ridge penalty) in this version.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn.
    solver : {"lbfgs", "nesterov", "gradient-descent"} or Optimizer, default="lbfgs"
        What chooses the points at which rounds are run.
    max_iter : int, default=100
        Most iterations of the solver.
    tol : float, default=1e-4
        Stop when ``max |gradient| / (C * sum(sample_weight)) <= tol``, for every solver.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.
    random_state : int, RandomState or None, default=None
        Seeds the code (cyclic repetition draws a matrix), nothing else.
    verbose : int, default=0
        1 prints a line per iteration.
    checkpoint : None
        Not available in this version.
    checkpoint_every : int, default=10
        Not available in this version.
    transport : {"auto", "tasks", "stream"}, default="auto"
        How messages travel; recorded in ``history_.transport``. ``"stream"`` is a connection to
        each worker, ``"tasks"`` a Dask task per message, and ``"auto"`` the stream where this
        process reaches the workers over plain TCP.
    client : distributed.Client or str, default=None
        A client or a scheduler's address. None: the current client. Where there is none, data in
        memory is fitted in this process, and dask data on a ``LocalCluster`` that lives as long as
        the fit. Clones share the client; pickles do not hold it.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features)
        Coefficients.
    intercept_ : ndarray of shape (1,)
        Intercept.
    classes_ : ndarray of shape (2,)
        The labels, sorted.
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if ``X`` had names that are all strings.
    history_ : History
        What every round did.
    code_ : GradientCode
        The code in use; ``Uncoded(1)`` for a fit in this process.

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

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedEstimator._parameter_constraints,
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
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: Any = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        transport: str = "auto",
        client: Any = None,
    ) -> None:
        self.code = code
        self.n_stragglers = n_stragglers
        self.n_workers = n_workers
        self.wait = wait
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.transport = transport
        self.client = client

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> CodedLogisticRegression:
        """Fit the model; returns when it is fitted.

        Parameters
        ----------
        X : dask array, ndarray, CSR array, frame or Placement of shape (n_samples, n_features)
            The features, or data placed by :func:`dask_gradcode.place`.
        y : array-like or dask array of shape (n_samples,)
            Labels of two classes; left out for placed data.
        sample_weight : array-like or dask array of shape (n_samples,) or float, default=None
            Weight of each row; left out for placed data.

        Returns
        -------
        CodedLogisticRegression
            The fitted estimator itself.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        InsufficientWorkersError
            If the cluster has, or keeps, too few workers.
        """
        w = self._train(X, y, sample_weight, C=self.C)
        self.coef_ = w[None, : self.n_features_in_].copy()
        self.intercept_ = w[-1:].copy() if self.fit_intercept else np.zeros(1)
        return self

    def _refuse_what_comes_later(self) -> None:
        super()._refuse_what_comes_later()
        if self.l1_ratio != 0:
            raise ValueError(
                f"l1_ratio={self.l1_ratio} is not available in this version. Use l1_ratio=0."
            )
        if np.isinf(self.C):
            raise ValueError(
                "C=inf (no penalty) is not available in this version. Use a large C, such as 1e6."
            )

    def _loss(self, targets: Targets) -> tuple[Logistic, float]:
        labels = targets.labels
        if labels is None:
            raise ValueError(
                f"Unknown label type: {targets.kind}. Maybe you are trying to fit a classifier, "
                "which expects discrete classes on a regression target with continuous values."
            )
        if len(labels) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class: {labels.tolist()[0]!r}"
            )
        if len(labels) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{targets.kind}, with {len(labels)} classes."
            )
        if self.class_weight == "balanced":
            absent = targets.weights == 0  # whatever a class without weight is multiplied by
            class_weight = targets.weight / (len(labels) * np.where(absent, 1.0, targets.weights))
        else:
            class_weight = compute_class_weight(self.class_weight, classes=labels, y=labels)
        self.classes_ = labels
        positive = float(labels[1]) if targets.encoded is None else 1.0
        weights = (float(class_weight[0]), float(class_weight[1]))
        return Logistic(positive, weights), float(class_weight @ targets.weights)

    def _start(self, n_parameters: int) -> Vector:
        w0 = np.zeros(n_parameters)
        if self.warm_start and hasattr(self, "coef_"):
            if self.coef_.shape != (1, self.n_features_in_):
                raise ValueError(
                    f"warm_start needs the {self.coef_.shape[1]} features of the previous fit, "
                    f"got {self.n_features_in_}. Use warm_start=False."
                )
            w0[: self.n_features_in_] = self.coef_[0]
            if self.fit_intercept:
                w0[-1] = self.intercept_[0]
        return w0

    # ---- prediction: lazy for dask input

    def decision_function(self, X: Any) -> Any:
        """Return the signed distance of each row from the decision boundary, times ``||coef_||``.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or dask array of shape (n_samples,)
            Positive for ``classes_[1]``. Lazy for dask input.
        """
        return self._apply("scores", X, np.float64)

    def predict(self, X: Any) -> Any:
        """Return the more probable label of each row.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or dask array of shape (n_samples,)
            Labels. Lazy for dask input.
        """
        check_is_fitted(self)
        return self._apply("labels", X, self.classes_.dtype)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or dask array of shape (n_samples, 2)
            In the order of ``classes_``. Lazy for dask input.
        """
        return self._apply("probabilities", X, np.float64, n_columns=2)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of ``predict_proba``.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or dask array of shape (n_samples, 2)
            In the order of ``classes_``. Lazy for dask input.
        """
        return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of ``predict``, as a float for any kind of input.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.
        y : array-like or dask array of shape (n_samples,)
            Their labels.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Share of the weight of rows predicted right.
        """
        if not (is_dask(X) or is_dask(y)):
            return float(super().score(X, y, sample_weight))
        from dask_gradcode.cluster.predict import as_array, mean_agreement

        return mean_agreement(as_array(y), self.predict(X), sample_weight)

    def to_sklearn(self) -> LogisticRegression:
        """Return a fitted scikit-learn ``LogisticRegression``, for use without Dask."""
        check_is_fitted(self)
        model = LogisticRegression(
            C=self.C,
            fit_intercept=self.fit_intercept,
            class_weight=self.class_weight,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        for name in ("coef_", "intercept_", "classes_", "n_iter_", "n_features_in_"):
            setattr(model, name, getattr(self, name))
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def _apply(self, what: str, X: Any, dtype: Any, n_columns: int = 0) -> Any:
        check_is_fitted(self)
        # The bare model, not this estimator: client and history need not travel to the workers.
        function = getattr(_Boundary(self.coef_[0], self.intercept_[0], self.classes_), what)
        if not is_dask(X):
            return function(validate_data(self, X, accept_sparse="csr", reset=False))
        from dask_gradcode.cluster.predict import as_array, by_rows

        X = as_array(X)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        return by_rows(function, X, dtype, n_columns)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = False
        return tags


@dataclass(frozen=True, eq=False)
class _Boundary:
    """A fitted model, bare: what prediction needs on a worker."""

    coef: Vector
    intercept: float
    classes: Any

    def scores(self, X: Any) -> Vector:
        scores: Vector = X @ self.coef + self.intercept
        return scores

    def labels(self, X: Any) -> Any:
        return self.classes[(self.scores(X) > 0).astype(int)]

    def probabilities(self, X: Any) -> Any:
        scores = self.scores(X)
        return np.column_stack([expit(-scores), expit(scores)])
