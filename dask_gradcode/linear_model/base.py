"""What all coded estimators share: how they are fitted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode.checkpoint import Checkpoint
from dask_gradcode.coordinates import Coordinates
from dask_gradcode.history import History, Recorder
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.linear_model.callbacks import (
    CallbackSupportMixin,
    FitTasks,
    Stopped,
    with_callbacks,
)
from dask_gradcode.linear_model.inputs import TakesAnyInput
from dask_gradcode.linear_model.parameters import CodingParameters
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.progress import Progress, describe_fit
from dask_gradcode.linear_model.report import advice, complaint, reporter
from dask_gradcode.linear_model.sum import Sum
from dask_gradcode.linear_model.verifying import check_coding
from dask_gradcode.losses import Layout
from dask_gradcode.optimizers import L1, Callback, Memory, Optimizer, Solution
from dask_gradcode.rounds import Remember, UntilExact, WaitRule
from dask_gradcode.spread import Spread
from dask_gradcode.typing import Vector
from dask_gradcode.verbose import check_verbose
from dask_gradcode.work import as_work, of_order

__all__ = ["CodedEstimator"]


class CodedEstimator(CodingParameters, CallbackSupportMixin, TakesAnyInput):
    """Trains a penalised linear model by coded rounds; a subclass says what it minimises."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model; returns when it is fitted.

        Parameters
        ----------
        X : dask array, ndarray, sparse array, frame or Placement of shape (n_samples, n_features)
            The features, or data placed by :func:`dask_gradcode.place`.
        y : array-like or dask array of shape (n_samples,)
            Labels of a classifier, numbers of a regressor; left out for placed data.
        sample_weight : array-like or dask array of shape (n_samples,) or float, default=None
            Weight of each row; left out for placed data.

        Returns
        -------
        self
            The fitted estimator itself.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        InsufficientWorkersError
            If the cluster has, or keeps, too few workers.
        KeyboardInterrupt
            After Ctrl-C: ``coef_`` and ``intercept_`` are then those of the best iteration so far,
            if there was one, and nothing stays on the workers.
        """
        solution = self._trainer(X, y)(X, y, sample_weight)
        if solution is not None:
            text = self._complaint(solution)
            if text is not None:
                warnings.warn(text, ConvergenceWarning, stacklevel=2)
        self._finish(X, y)
        return self

    def _complaint(self, solution: Solution) -> str | None:
        """Return what to warn of if the solver has ended too early."""
        left = float(np.abs(solution.gradient).max(initial=0.0))
        if solution.converged and left <= self.tol:  # whatever the solver thinks of that
            return None
        return complaint(solution, left, self, self._advice(left))

    def _note(self, solution: Solution, penalty: L1, coordinates: Coordinates) -> None:
        """Keep what more there is to tell of where the solver has ended."""

    def _trainer(self, X: Any, y: Any) -> Callable[[Any, Any, Any], Solution | None]:
        """Return what fits such data."""
        return self._train

    def _finish(self, X: Any, y: Any) -> None:
        """Set further attributes of the fitted model."""

    def _keep(self, layout: Layout, w: Vector, n_iter: int) -> None:
        """Set the fitted attributes: coefficients and what belongs to them."""
        raise NotImplementedError

    @with_callbacks
    def _train(self, X: Any, y: Any, sample_weight: Any) -> Solution | None:
        """Fit and set the fitted attributes, after Ctrl-C to the best that has been reached.

        Returns None if a callback of scikit-learn's has ended it.
        """
        solver, wait = self._checked(X, y)
        tasks = FitTasks(self, X, y, sample_weight)
        with ExitStack() as stack:
            checkpoint = self._checkpoint(solver, stack)
            found = self._objective(X, y, sample_weight, wait, stack)
            problem = found.problem
            layout = self._layout(problem, self.n_features_in_)
            self.history_ = History(self.code_, found.transport, logs=found.logs, found=found.found)
            solver = self._suited(solver, found, layout)
            memory, coordinates = self._begin(checkpoint, found, layout, solver)
            penalty = coordinates.penalty(problem.l1)
            smooth = problem.penalised(found.objective, layout)
            seen = problem.anchored(coordinates.objective(smooth, found.about), layout)
            recorder = Recorder(seen, self.history_, penalty, coordinates.size)
            # The solver's vectors are short: BLAS threads would spin on the workers' cores, or wait
            # for them.
            stack.enter_context(one_blas_thread())
            report = stack.enter_context(self._reporter())
            reports = [tasks.accepted] if report is None else [report, tasks.accepted]
            solution = None
            progress = Progress(
                checkpoint, self.checkpoint_every, memory, penalty, coordinates, reports
            )
            start = coordinates.to_solver(self._start(problem, layout))
            with progress, self._kept(layout, progress):
                progress.say_how(solver)
                solution = progress.until_right(
                    found.objective,
                    lambda: self._measured(solver, coordinates).minimize(
                        tasks.watched(recorder, layout),
                        start,
                        max_iter=self.max_iter,
                        tol=self.tol,
                        callback=progress,
                        penalty=penalty,
                        memory=memory,
                    ),
                )
                self._note(solution, penalty, coordinates)
                steepest = penalty.steepest(solution.w, solution.gradient)
                judged = problem.judged(steepest, coordinates, found.spread)
                solution = replace(solution, gradient=judged)
        if solution is not None:
            self._keep(layout, coordinates.to_model(solution.w), solution.n_iter)
        tasks.end()
        return solution

    @contextmanager
    def _kept(self, layout: Layout, progress: Progress) -> Iterator[None]:
        """Keep what has been reached when a callback ends the fit, or Ctrl-C does."""
        try:
            yield
        except Stopped:
            self._keep(layout, progress.newest, progress.n_iter)
        except KeyboardInterrupt:
            if progress.best is not None:
                self._keep(layout, progress.best, progress.n_iter)
            raise

    def _checked(self, X: Any, y: Any) -> tuple[Optimizer, WaitRule]:
        """Return the solver and the wait rule, or raise for parameters that cannot be used."""
        self._validate_params()
        solver = self._solver()
        wait = UntilExact() if self.wait == "exact" else self.wait
        if isinstance(wait, Remember) and not solver.takes_older:
            raise ValueError(
                f"solver={solver!r} does not take sums of older points, as wait={wait!r} has them "
                "stand in for those that are late. Use solver='gradient-descent' or "
                "solver='nesterov', or wait='exact'."
            )
        if solver.needs_exact and not wait.exact:
            raise ValueError(
                f"solver={solver!r} needs exact sums, which wait={wait!r} does not give. "
                "Use solver='nesterov' with a fixed step, or wait='exact'."
            )
        self._check_given(X, y)
        check_coding(self, wait)
        check_verbose(self.verbose)
        return solver, wait

    def _check_given(self, X: Any, y: Any) -> None:
        """Raise if there are no targets."""
        if y is None and not self._is_placed(X):
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )

    def _check_size(self, problem: Problem, n_features: int) -> None:
        solver = self._solver()
        solver.check_size(self._layout(problem, n_features).size)
        of_order(as_work(problem.loss), solver.order)

    def _about(self, problem: Problem, spread: Spread, X: Any) -> Vector | None:
        # what an intercept is about must be nothing where the intercept has a penalty
        if self._solver().order == 1 or issparse(X) or problem.intercept_alpha:
            return None
        return problem.coordinates(self._layout(problem, X.shape[1]), spread).about

    def _layout(self, problem: Problem, n_features: int) -> Layout:
        loss = problem.loss
        return Layout(n_features, loss.n_outputs, loss.n_own, bool(self.fit_intercept))

    def _suited(self, solver: Optimizer, found: Sum, layout: Layout) -> Optimizer:
        """Return the solver, or one that suits the data better, where that may be chosen."""
        return solver

    def _measured(self, solver: Optimizer, coordinates: Coordinates) -> Optimizer:
        """Return the solver, told how its points are measured, where it needs to know."""
        return solver

    def _coordinates(self, solver: Optimizer, found: Sum, layout: Layout) -> Coordinates:
        """Return the coordinates that a solver works in."""
        return found.problem.coordinates(layout, found.spread)

    def _begin(
        self, checkpoint: Checkpoint | None, found: Sum, layout: Layout, solver: Optimizer
    ) -> tuple[Memory, Coordinates]:
        """Return the solver's memory, empty for a new fit, and the coordinates it is in."""
        if checkpoint is not None:
            features = {"number of features": str(self.n_features_in_)}
            state = checkpoint.begin({"code": repr(self.code_), **features, **found.describe()})
            if state:
                coordinates = Coordinates.recalled(layout, state)
                return {k: v for k, v in state.items() if k not in coordinates.state}, coordinates
        return {}, self._coordinates(solver, found, layout)

    def _reporter(self) -> AbstractContextManager[Callback | None]:
        return reporter(self.verbose, type(self).__name__, self.history_, self.max_iter)

    def _checkpoint(self, solver: Optimizer, stack: ExitStack) -> Checkpoint | None:
        """Open the checkpoint, if there is one, and compare what can be compared already."""
        if self.checkpoint is None:
            return None
        checkpoint = stack.enter_context(Checkpoint(self.checkpoint))
        checkpoint.check(describe_fit(type(self).__name__, self.get_params(deep=False), solver))
        return checkpoint

    def _start(self, problem: Problem, layout: Layout) -> Vector:
        """Return where the solver starts."""
        w = np.zeros(layout.size)
        if not (self.warm_start and hasattr(self, "coef_")):
            layout.intercept(w)[:] = problem.start
            layout.own(w)[:] = problem.unit
            return w
        coef = np.atleast_2d(self._dense_coef()).T
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
        layout.own(w)[:] = self._own_start(problem)
        return w

    def _dense_coef(self) -> Any:
        """Return the coefficients as an array; ``sparsify`` may have made them sparse."""
        return self.coef_.toarray() if issparse(self.coef_) else self.coef_

    def _own_start(self, problem: Problem) -> Vector:
        """Return the loss's own parameters after the previous fit."""
        return np.empty(0)

    def _advice(self, left: float) -> str:
        """Return what to do where the solver gets no further and ``left`` of the gradient stays."""
        return advice(left, has_intercept=self.fit_intercept)

    def _to(self, model: Any) -> Any:
        """Give a scikit-learn model the fitted attributes, and return it."""
        names = ("coef_", "intercept_", "classes_", "scale_", "n_iter_", "n_features_in_")
        for name in (*names, "dual_gap_", "solver_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
