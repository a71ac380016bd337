"""The sum that an estimator minimises, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dask_gradcode.checkpoint import Fact
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.rounds import Discovery, Logbook
from dask_gradcode.spread import Spread
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Objective, Vector
from dask_gradcode.work import WorkLike

__all__ = ["Sum"]


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of a loss over all rows, and what is known of them.

    Parameters
    ----------
    objective : Objective
        The sum, as a function of the model's parameters.
    problem : Problem
        What to minimise.
    transport : str
        How messages travel.
    targets : Targets
        What the targets are.
    spread : Spread
        Of the columns of the features.
    describe : callable
        Returns the facts by which the data is known again.
    logs : Logbook
        What happens in the rounds.
    about : ndarray of shape (n_features,) or None
        What is taken from columns in Hessians.
    of : callable
        Returns the sum of another work over the same rows, as long as the fit lasts.
    found : sequence of Discovery
        Which workers an audit has expelled, and what was taken back, also later.
    """

    objective: Objective
    problem: Problem
    transport: str
    targets: Targets
    spread: Spread
    describe: Callable[[], dict[str, Fact]]
    logs: Logbook
    about: Vector | None
    of: Callable[[WorkLike], Objective]
    found: Sequence[Discovery] = ()
