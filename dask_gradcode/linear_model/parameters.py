"""The parameters that all coded estimators have: of coding, of solvers, of how a fit runs."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.auto import AUTO, CODES
from dask_gradcode.optimizers import LBFGS, GradientDescent, Nesterov, NewtonCholesky, Optimizer
from dask_gradcode.rounds import WaitRule
from dask_gradcode.rounds.audit import AUDIT
from dask_gradcode.rounds.syndrome import SYNDROME

__all__ = ["SECOND_ORDER_SOLVERS", "SOLVERS", "CodingParameters"]

SOLVERS: dict[str, type[Optimizer]] = {
    "lbfgs": LBFGS,
    "nesterov": Nesterov,
    "gradient-descent": GradientDescent,
}

SECOND_ORDER_SOLVERS = SOLVERS | {"newton-cholesky": NewtonCholesky}


class CodingParameters(BaseEstimator):
    """Holds the parameters that all coded estimators have, and knows which values they take."""

    _solvers: ClassVar[dict[str, type[Optimizer]]] = SOLVERS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "code": [StrOptions({AUTO, *CODES}), GradientCode],
        "n_stragglers": [Interval(Integral, 0, None, closed="left"), None],
        "n_workers": [Interval(Integral, 1, None, closed="left"), None],
        "wait": [StrOptions({"exact"}), WaitRule],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions(set(SOLVERS)), Optimizer],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose", StrOptions({"bar"})],
        "checkpoint": [str, HasMethods(["__fspath__"]), None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "transport": [StrOptions({"auto", "tasks", "stream"})],
        "verify": [Interval(Integral, 0, None, closed="left"), StrOptions({AUDIT, SYNDROME})],
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
        verbose: Any,
        checkpoint: Any,
        checkpoint_every: int,
        transport: str,
        verify: int | str = 0,
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
        self.verify = verify
        self.client = client

    def _solver(self) -> Optimizer:
        return self.solver if isinstance(self.solver, Optimizer) else self._solvers[self.solver]()

    def __sklearn_clone__(self) -> Any:
        # The copy has dropped its client, which cannot be copied; the clone shares it.
        twin = super(CodingParameters, copy.copy(self)).__sklearn_clone__()
        twin.client = self.client
        return twin

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        if not isinstance(self.client, str):
            state["client"] = None  # a connection cannot be pickled; an address can
        return state
