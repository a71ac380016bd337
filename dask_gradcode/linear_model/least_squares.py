"""What models of least squares share: one round is enough for them where features are few."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from dask_gradcode.coordinates import Coordinates
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.linear_model.inputs import Sum
from dask_gradcode.linear_model.one_round import Cholesky, CoordinateDescent
from dask_gradcode.linear_model.parameters import SOLVERS
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.linear_model.regressor import CodedRegressor
from dask_gradcode.losses import Layout, Squared
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import LBFGS, Optimizer
from dask_gradcode.targets import Targets

__all__ = ["LeastSquares"]

_ONE_ROUND = (Cholesky, CoordinateDescent)

_SOLVERS: dict[str, type[Optimizer]] = {"auto": Cholesky, "cholesky": Cholesky, **SOLVERS}


class LeastSquares(CodedRegressor):
    """A regressor with squared errors; ``solver="auto"`` solves it in one round where it can."""

    _solvers: ClassVar[dict[str, type[Optimizer]]] = _SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CodedRegressor._parameter_constraints,
        "solver": [StrOptions(set(_SOLVERS)), Optimizer],
    }

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

    def _seen(self, X: Any, y: Any, sample_weight: Any) -> Quadratic:
        """Return the objective without penalties, as a function of coefficients, by one round."""
        _, wait = self._checked(X, y)
        with ExitStack() as stack:
            found = self._objective(X, y, sample_weight, wait, stack)
            problem = replace(found.problem, alpha=0.0, l1=0.0)
            layout = self._layout(problem, self.n_features_in_)
            coordinates = problem.coordinates(layout, found.spread, separate=True)
            plain = Penalised(found.objective, scale=problem.scale, alpha=0.0, n_penalised=0)
            stack.enter_context(one_blas_thread())
            start = coordinates.to_solver(self._start(problem, layout))
            model = Quadratic.seen(coordinates.objective(plain, found.about), start)
        return model.leading(layout.n_slopes).scaled(coordinates.lengths, coordinates.size)

    def _measured(self, solver: Optimizer, coordinates: Coordinates) -> Optimizer:
        if isinstance(solver, _ONE_ROUND):
            return replace(solver, lengths=coordinates.lengths)
        return solver

    def _coordinates(self, solver: Optimizer, found: Sum, layout: Layout) -> Coordinates:
        separate = isinstance(solver, _ONE_ROUND)
        return found.problem.coordinates(layout, found.spread, separate=separate)
