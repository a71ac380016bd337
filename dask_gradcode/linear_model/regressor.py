"""What every coded regressor does: parameters, prediction, score."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from dask_gradcode.containers import check_containers
from dask_gradcode.linear_model.bare import Linear
from dask_gradcode.linear_model.base import CodedEstimator
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.prediction import predict_with
from dask_gradcode.losses import Layout, Loss, Squared
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["CodedRegressor"]


class CodedRegressor(RegressorMixin, CodedEstimator):
    """Has a ridge penalty and predicts with a linear model, lazily for dask input."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedEstimator._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
    }
    _numbers_only = True

    def __init__(
        self,
        *,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        alpha: float = 1.0,
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
        self.alpha = alpha

    def _keep(self, layout: Layout, w: Vector, n_iter: int) -> None:
        self.coef_ = layout.coef(w)[:, 0].copy()
        self.intercept_ = layout.intercept(w)[0] if self.fit_intercept else 0.0
        self.n_iter_ = n_iter

    def predict(self, X: Any) -> Any:
        """Return the prediction for each row.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_targets)
            Predictions. Lazy for dask input: an array, or for a frame a Series or a DataFrame.
        """
        check_is_fitted(self, "coef_")
        return self._predicted(X, self._mean_of)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return scikit-learn's score, as a float for any kind of input.

        Parameters
        ----------
        X : array-like, CSR array or dask collection of shape (n_samples, n_features)
            Rows.
        y : array-like or dask array of shape (n_samples,)
            Their targets.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            The share of the loss of the mean that the model explains: ``R^2``, or ``D^2`` for
            Poisson, gamma and Tweedie regression. 1 is best. Of several targets it is the mean.
        """
        check_containers(X=X, y=y, sample_weight=sample_weight)
        if not (is_dask(X) or is_dask(y)):
            return float(self._score_in_memory(X, y, sample_weight))
        from dask_gradcode.cluster.client.computing import computing
        from dask_gradcode.cluster.predict import share_explained

        check_is_fitted(self, "coef_")
        with computing(self.client, X=X, y=y, sample_weight=sample_weight):
            linear = self._predicted(X, lambda linear: linear)
            columns = [(y, linear)]
            if self.coef_.ndim > 1:
                columns = [(_column(y, j), _column(linear, j)) for j in range(len(self.coef_))]
            shares = [
                share_explained(self._score_loss, self._link, target, found, sample_weight)
                for target, found in columns
            ]
            return float(np.mean(shares))

    def _predicted(self, X: Any, mean_of: Callable[[Linear], Any]) -> Any:
        """Return what a function of the linear model says of each row."""
        linear = Linear(self.coef_.T, self.intercept_)
        like = np.empty((0, *self.coef_.shape[:-1]))  # a column for each of several targets
        names = np.arange(like.shape[1]) if like.ndim > 1 else None
        return predict_with(self, mean_of(linear), X, like, names)

    # ---- for subclasses

    _score_loss: ClassVar[Loss] = Squared()

    @staticmethod
    def _link(mean: float) -> float:
        """Return the linear predictor of a mean."""
        return mean

    @staticmethod
    def _mean_of(linear: Linear) -> Any:
        """Return the function from rows to predictions."""
        return linear

    def _score_in_memory(self, X: Any, y: Any, sample_weight: Any) -> float:
        return float(super().score(X, y, sample_weight))

    def _check_numbers(self, targets: Targets) -> None:
        if np.isnan(targets.smallest):
            raise ValueError(
                "dtype='numeric' is not compatible with arrays of bytes/strings. Convert your "
                "targets to numeric values explicitly instead."
            )


def _column(array: Any, j: int) -> Any:
    """Return a column of a frame or of an array."""
    return array[array.columns[j]] if hasattr(array, "columns") else array[:, j]
