"""What all coded estimators share: parameters, where the data goes, the solver, the history."""

from __future__ import annotations

import copy
import sys
import warnings
from contextlib import ExitStack
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import validate_data

from dask_gradcode.codes import GradientCode, Uncoded
from dask_gradcode.history import History, Recorder
from dask_gradcode.losses import Loss
from dask_gradcode.messages import Block
from dask_gradcode.objective import InProcessObjective, Penalised
from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov, Optimizer, Solution
from dask_gradcode.rounds import UntilExact, WaitRule
from dask_gradcode.targets import Targets, describe_targets
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["CodedEstimator", "is_dask"]

SOLVERS: dict[str, type[Optimizer]] = {
    "lbfgs": LBFGS,
    "nesterov": Nesterov,
    "gradient-descent": GradientDescent,
}


def is_dask(array: Any) -> bool:
    """Say whether something is a dask collection, without loading Dask to find out."""
    dask = sys.modules.get("dask")
    return dask is not None and bool(dask.is_dask_collection(array))


class CodedEstimator(BaseEstimator):
    """Trains a penalised linear model by coded rounds; a subclass brings the loss.

    On a cluster where there is a client, given or current, or where the data is dask's; otherwise
    in this process, by the same code.
    """

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

    # ---- for subclasses

    def _loss(self, targets: Targets) -> tuple[Loss, float]:
        """Return the loss and the sum of all row weights in it, or raise for bad targets."""
        raise NotImplementedError

    def _start(self, n_parameters: int) -> Vector:
        """Return where the solver starts."""
        raise NotImplementedError

    # ---- fitting

    def _train(self, X: Any, y: Any, sample_weight: Any, *, C: float) -> Vector:
        """Fit and return the parameters: coefficients, then the intercept if there is one."""
        self._validate_params()
        self._refuse_what_comes_later()
        solver = self.solver if isinstance(self.solver, Optimizer) else SOLVERS[self.solver]()
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
            objective, loss_weight, transport = self._objective(X, y, sample_weight, wait, stack)
            self.history_ = History(self.code_, transport)
            recorded = Recorder(
                Penalised(
                    objective,
                    scale=1.0 / loss_weight,
                    alpha=1.0 / (C * loss_weight),
                    n_penalised=self.n_features_in_,
                ),
                self.history_,
            )
            solution = solver.minimize(
                recorded,
                self._start(self.n_features_in_ + self.fit_intercept),
                max_iter=self.max_iter,
                tol=self.tol,
                callback=self._report if self.verbose else None,
            )
        self.n_iter_ = np.array([solution.n_iter], dtype=np.int32)
        self._warn_unless_converged(solution)
        return solution.w

    def _objective(
        self, X: Any, y: Any, sample_weight: Any, wait: WaitRule, stack: ExitStack
    ) -> tuple[Any, float, str]:
        """Return the sum over rows, the sum of their weights, and how messages travel."""
        if not self._needs_cluster(X):
            return self._in_process(X, y, sample_weight, wait)
        from dask_gradcode.cluster import ClusterObjective

        data = self._placed(X, y, sample_weight, stack)
        loss, weight = self._loss(data.targets)
        self.code_ = data.code
        objective = stack.enter_context(
            ClusterObjective(data, loss, wait=wait, transport=self.transport)
        )
        return objective, weight, objective.transport

    def _in_process(
        self, X: Any, y: Any, sample_weight: Any, wait: WaitRule
    ) -> tuple[Any, float, str]:
        X, y = self._validate(X, y)
        targets = self._describe(y, sample_weight)
        loss, weight = self._loss(targets)
        if sample_weight is not None:
            sample_weight = np.broadcast_to(np.asarray(sample_weight, dtype=float), y.shape)
        self.code_ = Uncoded(1)
        block = Block(X, targets.encode(y), sample_weight)
        return InProcessObjective(self.code_, {0: block}, loss, wait), weight, "in-process"

    def _placed(self, X: Any, y: Any, sample_weight: Any, stack: ExitStack) -> Any:
        from dask_gradcode.cluster.placing import place_data

        if self._is_placed(X):
            if y is not None or sample_weight is not None:
                raise ValueError("y and sample_weight are part of the placed data: leave them out.")
            X.check_open()
            self._check_same_code(X.code)
            data = X
        else:
            if not is_dask(X):
                X, y = self._validate(X, y)
                self._loss(self._describe(y, sample_weight))  # raises before any work is sent
            data = stack.enter_context(
                place_data(
                    X,
                    y,
                    sample_weight=sample_weight,
                    code=self.code,
                    n_stragglers=self.n_stragglers,
                    n_workers=self.n_workers,
                    random_state=self._seed(),
                    client=self.client,
                    estimator=type(self).__name__,
                )
            )
        if is_dask(X) or data is X:
            self.n_features_in_ = data.n_features
            if data.feature_names is not None:
                self.feature_names_in_ = data.feature_names
            elif hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        return data

    def _validate(self, X: Any, y: Any) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
            accept_large_sparse=True,
        )
        return (csr_array(X) if issparse(X) else X), y

    def _describe(self, y: Any, sample_weight: Any) -> Targets:
        targets = Targets.merge([describe_targets(y, sample_weight, type(self).__name__)])
        if targets.weight <= 0:
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return targets

    def _needs_cluster(self, X: Any) -> bool:
        if self.client is not None or is_dask(X) or self._is_placed(X):
            return True
        if "distributed" not in sys.modules:
            return False  # then there can be no current client
        from dask_gradcode.cluster.session import current_client

        return current_client() is not None

    @staticmethod
    def _is_placed(X: Any) -> bool:
        placement = sys.modules.get("dask_gradcode.cluster.placement")
        return placement is not None and isinstance(X, placement.Placement)

    def _check_same_code(self, placed: GradientCode) -> None:
        wanted = {"n_workers": self.n_workers, "n_stragglers": self.n_stragglers}
        names = {"fractional": "FractionalRepetition", "cyclic": "CyclicRepetition"}
        name = self.code if isinstance(self.code, GradientCode) else names.get(self.code)
        differs = [
            f"{key}={value}"
            for key, value in wanted.items()
            if value is not None and value != getattr(placed, key)
        ]
        if isinstance(name, GradientCode) and name != placed:
            differs.append(f"code={name!r}")
        if isinstance(name, str) and name != type(placed).__name__:
            differs.append(f"code={self.code!r}")
        if self.code == "uncoded" and not isinstance(placed, Uncoded):
            differs.append("code='uncoded'")
        if differs:
            raise ValueError(
                f"{', '.join(differs)} contradicts the placed data, whose code is {placed!r}. "
                "Leave it out, or place the data anew."
            )

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, Integral):
            return int(self.random_state or 0)
        return int(check_random_state(self.random_state).randint(2**31))

    def _refuse_what_comes_later(self) -> None:
        if self.checkpoint is not None:
            raise ValueError("checkpoint is not available in this version. Use checkpoint=None.")

    def _report(self, n_iter: int, w: Vector, seen: Evaluation) -> None:
        norm = np.abs(seen.gradient).max(initial=0.0)
        text = f"iteration {n_iter}: value {seen.value:.8g}, max |gradient| {norm:.2e}"
        if seen.record is not None:
            record = seen.record
            text += f", {record.seconds:.3f} s, late {record.late}, lost {record.lost}"
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
