"""What models of least squares share: one round is enough for them where features are few."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions

from dask_gradcode.containers import check_containers
from dask_gradcode.coordinates import Coordinates
from dask_gradcode.history import History, Recorder
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.linear_model.inputs import is_dask
from dask_gradcode.linear_model.one_round import Cholesky, CoordinateDescent
from dask_gradcode.linear_model.parameters import SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.linear_model.several import (
    beside,
    beside_lazily,
    flat,
    is_column,
    n_targets_of,
    of_target,
)
from dask_gradcode.linear_model.sum import Sum
from dask_gradcode.losses import Layout, Squared
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import LBFGS, Optimizer, Solution
from dask_gradcode.rounds.journal import to_the_end
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["LeastSquares"]


class Seen(NamedTuple):
    """What one round tells: of coefficients, of their units, and where columns lie."""

    slopes: Quadratic
    lengths: Vector
    mean: Vector


_ONE_ROUND = (Cholesky, CoordinateDescent)

_SOLVERS: dict[str, type[Optimizer]] = {"auto": Cholesky, "cholesky": Cholesky, **SOLVERS}


class LeastSquares(CodedRegressor):
    """A regressor with squared errors; ``solver="auto"`` solves it in one round where it can."""

    _solvers: ClassVar[dict[str, type[Optimizer]]] = _SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedRegressor._parameter_constraints,
        "solver": [StrOptions(set(_SOLVERS)), Optimizer],
    }

    n_iter_: Any
    _automatic: ClassVar[tuple[str, str]] = ("cholesky", "lbfgs")
    """What ``"auto"`` stands for: where one round is enough, and where it is not."""

    def _solver(self) -> Optimizer:
        return self._named(self.solver) if isinstance(self.solver, str) else super()._solver()

    def _named(self, name: str) -> Optimizer:
        return LBFGS(careful=True) if name == "lbfgs" else self._solvers[name]()

    def _squares(self, targets: Targets, *, scale: float, alpha: float, l1: float = 0.0) -> Problem:
        """Return ``scale`` times half the squared errors, and penalties, as what to minimise."""
        self._check_numbers(targets)
        unit = targets.unit(has_intercept=self.fit_intercept)
        return Problem(
            Squared(),
            scale=scale,
            alpha=alpha,
            l1=l1,
            start=targets.mean,
            unit=unit,
            size=scale * targets.weight * unit**2,
        )

    def _check_size(self, problem: Problem, n_features: int) -> None:
        if self.solver != "auto":
            super()._check_size(problem, n_features)

    def _suited(self, solver: Optimizer, found: Sum, layout: Layout) -> Optimizer:
        self.solver_ = self.solver
        most = solver.most_parameters
        if self.solver != "auto" or most is None:
            return solver
        # A Gram matrix of columns far from zero needs to be one of their deviations from the mean:
        # which needs an intercept, and rows that are dense.
        far = self._coordinates(solver, found, layout).about is not None and found.about is None
        far |= bool(not layout.has_intercept and found.spread.far.any())
        one, many = self._automatic
        self.solver_ = many if far or layout.size > most else one
        return solver if self.solver_ == one else self._named(many)

    def _seen(self, X: Any, y: Any, sample_weight: Any) -> Seen:
        """Return what one round tells of the objective without penalties."""
        _, wait = self._checked(X, y)
        with ExitStack() as stack:
            found = self._objective(X, y, sample_weight, wait, stack)
            stack.enter_context(one_blas_thread())
            return self._look(found)

    def _look(self, found: Sum) -> Seen:
        """Run the one round."""
        problem = replace(found.problem, alpha=0.0, l1=0.0)
        layout = self._layout(problem, self.n_features_in_)
        coordinates = problem.coordinates(layout, found.spread, separate=True)
        plain = Penalised(found.objective, scale=problem.scale, alpha=0.0, n_penalised=0)
        self.history_ = History(self.code_, found.transport, logs=found.logs, found=found.found)
        objective = Recorder(coordinates.objective(plain, found.about), self.history_)
        start = coordinates.to_solver(self._start(problem, layout))
        seen = to_the_end(
            found.objective,
            lambda: Quadratic.seen(objective, start),
            lambda _: coordinates.to_model(start),
        )
        slopes = seen.leading(layout.n_slopes)
        lengths = coordinates.lengths
        return Seen(slopes.scaled(lengths, coordinates.size), lengths, found.spread.mean)

    def _trainer(self, X: Any, y: Any) -> Callable[[Any, Any, Any], Solution | None]:
        if self._is_placed(X):
            return super()._trainer(X, y)
        check_containers(X=X, y=y)
        if n_targets_of(y) > 1:
            return self._train_several
        train = super()._trainer(X, y)
        if not self._takes_several:
            return train
        return lambda X, y, sample_weight: train(X, flat(y), sample_weight)

    @property
    def _takes_several(self) -> bool:
        return self.solver in ("auto", self._automatic[0])

    def _finish(self, X: Any, y: Any) -> None:
        super()._finish(X, y)
        if y is not None and is_column(y):
            self._keep_column()

    def _keep_column(self) -> None:
        """Give the fitted attributes the shapes that they have for a matrix of one column."""
        if self.fit_intercept:
            self.intercept_ = np.atleast_1d(self.intercept_)

    def _train_several(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit a model of each target, all from one round."""
        self._validate_params()
        self._check_several(n_targets_of(y))
        if is_dask(X):
            rows, first = beside_lazily(X, y)
        else:
            X, y = self._validate(X, y, multi_output=True)
            rows, first = beside(X, y), y[:, 0]
        one, _ = self._automatic
        twin = clone(self).set_params(solver=one, warm_start=False, checkpoint=None)
        seen = (twin.set_params(alpha=0.0) if hasattr(twin, "alpha") else twin)._seen(
            rows, first, sample_weight
        )
        self.code_, self.history_, self.solver_ = twin.code_, twin.history_, one
        if is_dask(X):
            self._keep_names(X)
        self._keep_several(seen, n_targets_of(y))

    def _keep_names(self, X: Any) -> None:
        """Set what the columns of a dask collection are called, and how many there are."""
        self.n_features_in_ = X.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        names = list(X.columns) if hasattr(X, "columns") else []
        if names and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.asarray(names, dtype=object)

    def _check_several(self, n_targets: int) -> None:
        """Raise where parameters do not fit several targets."""
        one, _ = self._automatic
        if not self._takes_several:
            raise ValueError(
                f"Several targets ({n_targets}) are fitted from one round, by solver={one!r} or "
                f"'auto', got {self.solver!r}."
            )
        self._alphas(n_targets)

    def _keep_several(self, seen: Seen, n_targets: int) -> None:
        """Set the fitted attributes, of each target."""
        n = self.n_features_in_
        slopes = (of_target(seen.slopes, n, target) for target in range(n_targets))
        pairs = zip(slopes, self._alphas(n_targets), strict=True)
        self.coef_ = np.array([self._solved(each, seen.lengths[:n], a) for each, a in pairs])
        self.intercept_ = 0.0
        if self.fit_intercept:
            self.intercept_ = seen.mean[n:] - self.coef_ @ seen.mean[:n]

    def _alphas(self, n_targets: int) -> Vector:
        """Return the strength of each target's penalty."""
        return np.zeros(n_targets)

    def _solved(self, slopes: Quadratic, lengths: Vector, alpha: float) -> Vector:
        """Return the coefficients of one of several targets."""
        self.n_iter_ = 1
        return slopes.ridge(alpha, lengths)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self._takes_several
        return tags

    def _measured(self, solver: Optimizer, coordinates: Coordinates) -> Optimizer:
        if isinstance(solver, _ONE_ROUND):
            return replace(solver, lengths=coordinates.lengths)
        return solver

    def _coordinates(self, solver: Optimizer, found: Sum, layout: Layout) -> Coordinates:
        separate = isinstance(solver, _ONE_ROUND)
        return found.problem.coordinates(layout, found.spread, separate=separate)
