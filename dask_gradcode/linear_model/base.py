"""What all coded estimators share: parameters, the solver, the history."""

from __future__ import annotations

import copy
import warnings
from contextlib import ExitStack
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from dask_gradcode.codes import GradientCode
from dask_gradcode.history import History, Recorder
from dask_gradcode.linear_model.inputs import TakesAnyInput
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.losses import Layout
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import L1, LBFGS, GradientDescent, Nesterov, Optimizer, Solution
from dask_gradcode.rounds import UntilExact, WaitRule
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["CodedEstimator"]

SOLVERS: dict[str, type[Optimizer]] = {
    "lbfgs": LBFGS,
    "nesterov": Nesterov,
    "gradient-descent": GradientDescent,
}


class CodedEstimator(TakesAnyInput):
    """Trains a penalised linear model by coded rounds; a subclass says what it minimises."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "code": [StrOptions({"auto", "fractional", "cyclic", "uncoded"}), GradientCode],
        "n_stragglers": [Interval(Integral, 0, None, closed="left"), None],
        "n_workers": [Interval(Integral, 1, None, closed="left"), None],
        "wait": [StrOptions({"exact"}), WaitRule],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions(set(SOLVERS)), Optimizer],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "checkpoint": [str, HasMethods(["__fspath__"]), None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "transport": [StrOptions({"auto", "tasks", "stream"})],
    }

    def __init__(
        self,
        *,
        code: Any,
        n_stragglers: int | None,
        n_workers: int | None,
        wait: Any,
        fit_intercept: bool,
        solver: Any,
        max_iter: int,
        tol: float,
        warm_start: bool,
        random_state: Any,
        verbose: int,
        checkpoint: Any,
        checkpoint_every: int,
        transport: str,
        client: Any,
    ) -> None:
        self.code = code
        self.n_stragglers = n_stragglers
        self.n_workers = n_workers
        self.wait = wait
        self.fit_intercept = fit_intercept
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

    # ---- fitting

    def _train(self, X: Any, y: Any, sample_weight: Any) -> tuple[Layout, Vector]:
        """Fit and return the parameters, and where in them the coefficients are."""
        self._validate_params()
        self._refuse_what_comes_later()
        solver = self._solver()
        wait = UntilExact() if self.wait == "exact" else self.wait
        if solver.needs_exact and not wait.exact:
            raise ValueError(
                f"solver={solver!r} needs exact sums, which wait={wait!r} does not give. "
                "Use solver='nesterov' with a fixed step, or wait='exact'."
            )
        if y is None and not self._is_placed(X):
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        with ExitStack() as stack:
            objective, problem, transport = self._objective(X, y, sample_weight, wait, stack)
            loss = problem.loss
            layout = Layout(
                self.n_features_in_, loss.n_outputs, loss.n_own, bool(self.fit_intercept)
            )
            penalty = L1(problem.l1, layout.n_slopes)
            self.history_ = History(self.code_, transport)
            smooth = Penalised(
                objective,
                scale=problem.scale,
                alpha=problem.alpha,
                n_penalised=layout.n_slopes,
            )
            solution = solver.minimize(
                Recorder(smooth, self.history_, penalty),
                self._start(problem, layout),
                max_iter=self.max_iter,
                tol=self.tol,
                callback=self._report if self.verbose else None,
                penalty=penalty,
            )
        self.n_iter_: Any = solution.n_iter
        self._warn_unless_converged(solution)
        return layout, solution.w

    def _solver(self) -> Optimizer:
        return self.solver if isinstance(self.solver, Optimizer) else SOLVERS[self.solver]()

    def _start(self, problem: Problem, layout: Layout) -> Vector:
        """Return where the solver starts."""
        w = np.zeros(layout.size)
        if not (self.warm_start and hasattr(self, "coef_")):
            layout.intercept(w)[:] = problem.start
            return w
        coef = np.atleast_2d(self.coef_).T
        for what, previous, now in (
            ("features", len(coef), layout.n_features),
            ("outputs", coef.shape[1], layout.n_outputs),
        ):
            if previous != now:
                raise ValueError(
                    f"warm_start needs the {previous} {what} of the previous fit, got {now}. "
                    "Use warm_start=False."
                )
        layout.coef(w)[:] = coef
        layout.intercept(w)[:] = self.intercept_ if self.fit_intercept else 0.0
        layout.own(w)[:] = self._own_start()
        return w

    def _own_start(self) -> Vector:
        """Return the loss's own parameters after the previous fit."""
        return np.empty(0)

    def _refuse_what_comes_later(self) -> None:
        if self.checkpoint is not None:
            raise ValueError("checkpoint is not available in this version. Use checkpoint=None.")

    def _report(self, n_iter: int, w: Vector, seen: Evaluation) -> None:
        value, norm = seen.value, np.abs(seen.gradient).max(initial=0.0)
        text = ""
        if seen.record is not None:
            record = seen.record
            value, norm = record.value, record.grad_norm
            text = f", {record.seconds:.3f} s, late {record.late}, lost {record.lost}"
        text = f"iteration {n_iter}: value {value:.8g}, max |gradient| {norm:.2e}{text}"
        print(f"[{type(self).__name__}] {text}")

    def _warn_unless_converged(self, solution: Solution) -> None:
        if solution.converged:
            return
        name = self.solver if isinstance(self.solver, str) else repr(self.solver)
        more = ""
        if solution.n_iter >= self.max_iter:
            more = (
                "\nIncrease the number of iterations to improve the convergence "
                f"(max_iter={self.max_iter})."
            )
        warnings.warn(
            f"{name} failed to converge after {solution.n_iter} iteration(s):\n"
            f"{solution.message}\n{more}\nYou might also want to scale the data.",
            ConvergenceWarning,
            stacklevel=4,
        )

    def _to(self, model: Any) -> Any:
        """Give a scikit-learn model the fitted attributes, and return it."""
        names = ("coef_", "intercept_", "classes_", "scale_", "n_iter_", "n_features_in_")
        for name in (*names, "feature_names_in_"):
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- a client as a parameter

    def __sklearn_clone__(self) -> Any:
        # The copy has dropped its client, which cannot be copied; the clone shares it.
        twin = super(CodedEstimator, copy.copy(self)).__sklearn_clone__()
        twin.client = self.client
        return twin

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        if not isinstance(self.client, str):
            state["client"] = None  # a connection cannot be pickled; an address can
        return state
