"""What every coded classifier does: labels and their weights, prediction, score."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.containers import check_containers
from dask_gradcode.linear_model.bare import Classes, Linear
from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.prediction import predict_with
from dask_gradcode.losses import Layout
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedClassifier", "CodedProbabilisticClassifier"]


class CodedClassifier(SparseCoefMixin, LinearClassifierMixin, CodedEstimator):
    """Predicts with a linear model of each class, lazily for dask input."""

    class_weight: Any
    classes_: Any
    intercept_: Any
    n_iter_: Any

    def _weigh(self, targets: Targets) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Set ``classes_``, and return the labels as blocks hold them and the classes' weights."""
        labels = targets.labels
        if labels is None:
            raise ValueError(
                f"Unknown label type: {targets.kind}. Maybe you are trying to fit a classifier, "
                "which expects discrete classes on a regression target with continuous values."
                + (" Labels of dtype object must be strings." if targets.kind == "unknown" else "")
            )
        if len(labels) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class: {labels.tolist()[0]!r}"
            )
        if targets.encoded is None and len(np.unique(labels.astype(np.float64))) < len(labels):
            raise ValueError(
                "Some labels are whole numbers too large to be told apart as float64, as which "
                "workers hold them. Use y.astype(str)."
            )
        if self.class_weight == "balanced":
            absent = targets.weights == 0  # whatever a class without weight is multiplied by
            class_weight = targets.weight / (len(labels) * np.where(absent, 1.0, targets.weights))
        else:
            class_weight = compute_class_weight(self.class_weight, classes=labels, y=labels)
        if not (class_weight * targets.weights).any():
            raise ValueError(
                f"No row counts with class_weight={self.class_weight!r}: a class whose rows have "
                "sample weight needs a weight above 0."
            )
        self.classes_ = labels
        held = labels if targets.encoded is None else range(len(labels))
        return tuple(map(float, held)), tuple(map(float, class_weight))

    def _keep(self, layout: Layout, w: Vector, n_iter: int) -> None:
        self.coef_ = layout.coef(w).T.copy()
        self.intercept_ = (
            layout.intercept(w).copy() if self.fit_intercept else np.zeros(layout.n_outputs)
        )
        self.n_iter_ = np.array([n_iter], dtype=np.int32)

    def decision_function(self, X: Any) -> Any:
        """Return the signed distance of each row from the decision boundaries, times ``||coef_||``.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_classes)
            Of two classes, positive for ``classes_[1]``. Lazy for dask input: an array, or for a
            frame a Series or DataFrame.
        """
        bare = self._bare()
        if len(self.classes_) == 2:
            return predict_with(self, bare.scores, X, np.empty(0))
        return predict_with(self, bare.scores, X, self._by_class(), self.classes_)

    def predict(self, X: Any) -> Any:
        """Return the label of each row.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,)
            Labels. Lazy for dask input: an array, or for a frame a Series.
        """
        return predict_with(self, self._bare().labels, X, self.classes_[:0])

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
        check_containers(X=X, y=y, sample_weight=sample_weight)
        if not (is_dask(X) or is_dask(y)):
            return float(super().score(X, y, sample_weight))
        from dask_gradcode.cluster.client.computing import computing
        from dask_gradcode.cluster.predict import mean_agreement

        with computing(self.client, X=X, y=y, sample_weight=sample_weight):
            return mean_agreement(y, self.predict(X), sample_weight)

    def _bare(self) -> Classes:
        check_is_fitted(self, "coef_")
        coef = self._dense_coef()
        if len(self.classes_) == 2:
            linear = Linear(coef[0], float(np.ravel(self.intercept_)[0]))
        else:
            linear = Linear(coef.T, self.intercept_)
        return Classes(linear, self.classes_)

    def _by_class(self) -> Any:
        return np.empty((0, len(self.classes_)))


class CodedProbabilisticClassifier(CodedClassifier):
    """Predicts the probabilities of classes, too."""

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes)
            In the order of ``classes_``. Lazy for dask input: an array, or for a frame a DataFrame
            with the classes as columns.
        """
        bare = self._bare()
        return predict_with(self, bare.probabilities, X, self._by_class(), self.classes_)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of ``predict_proba``.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes)
            In the order of ``classes_``; lazy like ``predict_proba``.
        """
        return np.log(self.predict_proba(X))
