"""Where the data of a fit goes: into this process, or to the workers as a placement."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from dask_gradcode.checks import refuse_missing, refuse_words
from dask_gradcode.codes import GradientCode, Uncoded
from dask_gradcode.codes.auto import AUTO, CODES
from dask_gradcode.containers import check_containers
from dask_gradcode.fingerprint import Moments, project
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.progress import describe_data
from dask_gradcode.linear_model.sum import Sum
from dask_gradcode.linear_model.verifying import coding, explained
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.rounds import WaitRule
from dask_gradcode.spread import Spread
from dask_gradcode.targets import Targets, describe_targets
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Centred, WorkLike

__all__ = ["TakesAnyInput", "is_dask"]


def is_dask(array: Any) -> bool:
    """Say whether something is a dask collection, without loading Dask to find out."""
    dask = sys.modules.get("dask")
    return dask is not None and bool(dask.is_dask_collection(array))


class TakesAnyInput(BaseEstimator):
    """Turns whatever data a user has into an objective: the sum of a loss over all rows.

    On a cluster where there is a client, given or current, or where the data is dask's; otherwise
    in this process, by the same code.
    """

    _numbers_only: ClassVar[bool] = False
    """Whether targets must be numbers, as those of a regression."""
    verbose: Any = 0  # of an estimator that has no such parameter
    verify: int | str = 0

    def _problem(self, targets: Targets) -> Problem:
        """Return what to minimise, or raise for targets that cannot be used."""
        raise NotImplementedError

    def _check_size(self, problem: Problem, n_features: int) -> None:
        """Raise for a model that is too large for the solver."""

    def _work(self, problem: Problem, about: Vector | None) -> WorkLike:
        """Return what is computed on each block."""
        return problem.loss if about is None else Centred(problem.loss, about)

    def _about(self, problem: Problem, spread: Spread, X: Any) -> Vector | None:
        """Return what shall be taken from the columns of rows like ``X`` in Hessians, if any."""
        raise NotImplementedError

    def _checked_problem(self, targets: Targets, n_features: int) -> Problem:
        """Return what to minimise, or raise before anything is placed."""
        problem = self._problem(targets)
        self._check_size(problem, n_features)
        return problem

    def _objective(
        self, X: Any, y: Any, sample_weight: Any, wait: WaitRule, stack: ExitStack
    ) -> Sum:
        """Return the sum over rows."""
        check_containers(X=X, y=y, sample_weight=sample_weight)
        if not self._needs_cluster(X):
            return self._in_process(X, y, sample_weight, wait)
        from distributed import span

        from dask_gradcode.cluster import ClusterObjective

        stack.enter_context(span(f"{type(self).__name__}.fit"))
        data = self._placed(X, y, sample_weight, stack)
        problem = self._checked_problem(data.targets, data.n_features)
        self.code_ = data.code
        about = self._about(problem, data.spread, data.roles.meta)
        how: dict[str, Any] = {"wait": wait, "transport": self.transport, "verify": self.verify}

        def of(work: WorkLike) -> ClusterObjective:
            return stack.enter_context(ClusterObjective(data, work, **how))

        objective = of(self._work(problem, about))
        return Sum(
            objective,
            problem,
            objective.transport,
            data.targets,
            data.spread,
            lambda: describe_data(data.targets, data.moments),
            objective.logs,
            about,
            of,
            objective.found,
        )

    def _in_process(self, X: Any, y: Any, sample_weight: Any, wait: WaitRule) -> Sum:
        X, y = self._validate(X, y)
        problem = self._checked_problem(targets := self._describe(y, sample_weight), X.shape[1])
        if sample_weight is not None:
            sample_weight = np.broadcast_to(np.asarray(sample_weight, dtype=float), y.shape)
        self.code_ = Uncoded(1)
        self._warn_of_what_is_not_used(self.code_)
        block = Block(X, targets.encode(y), sample_weight)
        spread = Spread.of(X, sample_weight)
        about = self._about(problem, spread, X)

        def of(work: WorkLike) -> InProcessObjective:
            return InProcessObjective(self.code_, {0: block}, work, wait)

        objective = of(self._work(problem, about))
        return Sum(
            objective,
            problem,
            "in-process",
            targets,
            spread,
            lambda: describe_data(targets, Moments.of(project(X))),
            objective.logs,
            about,
            of,
        )

    def _warn_of_what_is_not_used(self, used: GradientCode) -> None:
        """Warn of parameters that ask for more than a fit in this process gives."""
        kind = CODES.get(self.code) if isinstance(self.code, str) else None
        given = {
            "code": None if self.code == AUTO or kind is Uncoded else self.code,
            "n_stragglers": self.n_stragglers,
            "n_workers": self.n_workers,
            "transport": None if self.transport == "auto" else self.transport,
            "verify": self.verify or None,
        }
        unused = [
            f"{name}={value!r}"
            for name, value in given.items()
            if value not in (None, used if name == "code" else getattr(used, name, ""))
        ]
        if not unused:
            return
        why = "there is no Dask client"
        if "distributed" in sys.modules:
            from dask_gradcode.cluster.client.session import why_no_client

            why = why_no_client()
        warnings.warn(
            f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used, as {why}: the "
            "data is in memory, and the fit runs in this process, uncoded. Pass client=, or create "
            "a distributed.Client first.",
            UserWarning,
            stacklevel=7,
        )

    def _placed(self, X: Any, y: Any, sample_weight: Any, stack: ExitStack) -> Any:
        from dask_gradcode.cluster.placement.place import place_data

        if self._is_placed(X):
            if y is not None or sample_weight is not None:
                raise ValueError("y and sample_weight are part of the placed data: leave them out.")
            (data := X).check_open()
            self._check_same_code(X.code)
        else:
            if not is_dask(X):
                X, y = self._validate(X, y)
                # raises before any work is sent
                self._checked_problem(self._describe(y, sample_weight), X.shape[1])
            with explained(self):
                placement = place_data(
                    X,
                    y,
                    sample_weight=sample_weight,
                    **coding(self),
                    n_workers=self.n_workers,
                    random_state=self._seed(),
                    verbose=self.verbose,
                    client=self.client,
                    estimator=type(self).__name__,
                    check=self._checked_problem,
                )
            data = stack.enter_context(placement)
        if is_dask(X) or data is X:
            self.n_features_in_ = data.n_features
            self.__dict__.pop("feature_names_in_", None)
            if data.feature_names is not None:
                self.feature_names_in_ = data.feature_names
        return data

    def _validate(self, X: Any, y: Any, *, multi_output: bool = False) -> tuple[Any, Any]:
        refuse_missing(y, "y")
        try:
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                order="C",
                accept_large_sparse=True,
                y_numeric=self._numbers_only,
                multi_output=multi_output,
            )
        except (ValueError, TypeError):
            refuse_words(X)
            raise
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
        from dask_gradcode.cluster.client.session import current_client

        return current_client() is not None

    @staticmethod
    def _is_placed(X: Any) -> bool:
        placement = sys.modules.get("dask_gradcode.cluster.placement.placement")
        return placement is not None and isinstance(X, placement.Placement)

    def _check_same_code(self, placed: GradientCode) -> None:
        wanted = {"n_workers": self.n_workers, "n_stragglers": self.n_stragglers}
        is_name = isinstance(self.code, str)
        kind = CODES.get(self.code, type(placed)) if is_name else type(placed)
        differs = [
            f"{key}={value}"
            for key, value in wanted.items()
            if value not in (None, getattr(placed, key))
        ]
        if kind is not type(placed) or (not is_name and self.code != placed):
            differs.append(f"code={self.code!r}")
        if differs:
            raise ValueError(
                f"{', '.join(differs)} contradicts the placed data, whose code is {placed!r}. "
                "Leave it out, or place the data anew."
            )

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, Integral):
            return int(self.random_state or 0)
        return int(check_random_state(self.random_state).randint(2**31))
