"""scikit-learn's callbacks, where scikit-learn has them (from 1.9): each iteration is a task."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from dask_gradcode.losses import Layout
from dask_gradcode.typing import Evaluation, Objective, Vector, exactly, second_order

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _managed
except ImportError:
    _managed = None

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks, and no ``set_callbacks``."""


__all__ = ["CallbackSupportMixin", "FitTasks", "Stopped", "with_callbacks"]

logger = logging.getLogger("dask_gradcode")


_Method = TypeVar("_Method", bound=Callable[..., Any])


def with_callbacks(method: _Method) -> _Method:
    """Have the callbacks' ``teardown`` called after a method that fits, come what may."""
    return method if _managed is None else cast(_Method, _managed(method))


class Stopped(Exception):
    """A callback asks for the fit to end after this iteration."""


class FitTasks:
    """Calls the hooks of an estimator's callbacks: of the fit, and of each of its iterations.

    scikit-learn calls its protocol experimental, so nothing of it is touched for an estimator that
    has no callbacks.

    Parameters
    ----------
    estimator : CodedEstimator
        Its fit has begun.
    X, y, sample_weight
        What it fits, as it was given to ``fit``.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self._estimator = estimator
        self._root: Any = None
        self._iteration: Any = None
        self._layout: Layout | None = None
        self._reached: Callable[[], dict[str, Any]] | None = None  # attributes after the last one
        self._n_begun, self._most = 0, max(1, estimator.max_iter)
        if getattr(estimator, "_skl_callbacks", None):
            weights = None if sample_weight is None else {"sample_weight": sample_weight}
            self._data = {"estimator": estimator, "X": X, "y": y, "metadata": weights}
            self._root = estimator._init_callback_context(max_subtasks=self._most)
            self._root.call_on_fit_task_begin(**self._data)

    def watched(self, objective: Objective, layout: Layout) -> Objective:
        """Return an objective whose first evaluation after an iteration begins the next."""
        if self._root is None:
            return objective
        self._layout = layout
        return _Watched(objective, self._begin)

    def _begin(self) -> None:
        """Begin an iteration, unless one has begun."""
        if self._iteration is None and self._n_begun < self._most:
            self._n_begun += 1
            self._iteration = self._root.subcontext(task_name="iteration")
            self._iteration.call_on_fit_task_begin(
                **self._data, reconstruction_attributes=self._reached
            )

    def accepted(self, n_iter: int, w: Vector, seen: Evaluation) -> None:
        """End an iteration; the optimizer's callback.

        Raises
        ------
        Stopped
            If a callback returns True.
        """
        if self._iteration is None:
            return
        iteration, self._iteration = self._iteration, None
        reached = w.copy()  # the callback of the next iteration is told of it, too
        self._reached = lambda: self._fitted(reached, n_iter)
        if iteration.call_on_fit_task_end(**self._data, reconstruction_attributes=self._reached):
            logger.info("A callback ends the fit after iteration %d.", n_iter)
            raise Stopped

    def end(self) -> None:
        """End the fit; the estimator is fitted."""
        if self._iteration is not None:  # its line search has failed
            self._iteration.call_on_fit_task_end(**self._data, reconstruction_attributes={})
            self._iteration = None
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._data, reconstruction_attributes={})

    def _fitted(self, w: Vector, n_iter: int) -> dict[str, Any]:
        """Return the fitted attributes as they would be if the fit ended here."""
        twin: Any = copy.copy(self._estimator)
        twin._keep(self._layout, w, n_iter)
        return {
            name: held
            for name, held in vars(twin).items()
            if name.endswith("_") and not name.startswith("_")
        }


class _Watched:
    """An objective that says when it is about to be evaluated."""

    def __init__(self, objective: Objective, tell: Callable[[], None]) -> None:
        self._objective, self._tell = objective, tell

    def __call__(self, w: Vector) -> Evaluation:
        self._tell()
        return self._objective(w)

    def exactly(self, w: Vector) -> Evaluation:
        self._tell()
        return exactly(self._objective, w)

    def second_order(self, w: Vector) -> Evaluation:
        self._tell()
        return second_order(self._objective, w)
