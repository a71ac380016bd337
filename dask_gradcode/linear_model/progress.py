"""How far a fit has come: its best point, and the checkpoint from which another fit goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dask_gradcode.checkpoint import Checkpoint, Fact
from dask_gradcode.coordinates import Coordinates
from dask_gradcode.fingerprint import Moments
from dask_gradcode.linear_model.callbacks import Stopped
from dask_gradcode.optimizers import L1, Callback, Memory, Optimizer, Solution
from dask_gradcode.rounds.journal import AuditedObjective, to_the_end
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["Progress", "describe_data", "describe_fit"]

logger = logging.getLogger("dask_gradcode")

FREE = {
    *("checkpoint", "checkpoint_every", "client", "max_iter", "tol", "transport", "verbose"),
    "verify",
}
"""Parameters that move no iterate: a resumed fit may have others."""

OTHERWISE = {"code", "n_stragglers", "n_workers", "random_state", "solver", "warm_start"}
"""Parameters that stand for something which is compared itself, or for the start."""

_MANY = 20  # labels that are listed


class Progress:
    """An optimizer's callback and its memory; as a context it saves what has been reached.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Where to save.
    every : int
        Iterations between two saves.
    memory : dict
        The optimizer's, as the checkpoint had it, or empty.
    penalty : L1
        Belongs to the objective, in the solver's coordinates.
    coordinates : Coordinates
        Of the solver. Callbacks are told the model's parameters and the objective's own value; the
        gradient is the one that the solver compares with ``tol``.
    reports : sequence of callable
        The next callbacks.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        every: int,
        memory: Memory,
        penalty: L1,
        coordinates: Coordinates,
        reports: Sequence[Callback],
    ) -> None:
        self._checkpoint, self._every, self.memory = checkpoint, every, memory
        self._penalty, self._coordinates, self._reports = penalty, coordinates, reports
        self._repeats: Callable[[], bool] = lambda: False  # what the callbacks were told before
        self._first = dict(memory)
        self._begin()

    def _begin(self) -> None:
        self._best: Vector | None = self.memory.get("w")
        self._lowest = self.memory.get("value", float("inf"))
        if self._best is not None:
            self._lowest += self._penalty.value(self._best)

    def until_right(self, objective: Objective, solve: Callable[[], Solution]) -> Solution:
        """Solve, and again from the beginning where some of what the solver was told was wrong.

        Parameters
        ----------
        objective : Objective
            Of the model's parameters.
        solve : callable
            Runs the solver, with the memory and the callback that are here.

        Raises
        ------
        Stopped
            If a callback has ended the fit, and nothing was wrong.
        """
        ended: Solution | Stopped | None = None

        def run() -> Solution | Stopped:
            nonlocal ended
            if ended is not None or self.memory.get("n_iter") != self._first.get("n_iter"):
                self._begin_again()
            try:
                ended = solve()
            except Stopped as stopped:
                ended = stopped
            return ended

        def where(ended: Solution | Stopped) -> Vector:
            return (
                self.newest if isinstance(ended, Stopped) else self._coordinates.to_model(ended.w)
            )

        if isinstance(objective, AuditedObjective):
            self._repeats = lambda: objective.is_repeating
        found = to_the_end(objective, run, where)
        if isinstance(found, Stopped):
            raise found
        return found

    def _begin_again(self) -> None:
        """Go back to the beginning, and save nothing that was wrong."""
        self.memory.clear()
        self.memory.update(self._first)
        self._begin()
        if self._checkpoint is not None:
            self._checkpoint.discard()  # it may be of what was wrong
            self._save()

    @property
    def best(self) -> Vector | None:
        """The model's parameters at the accepted point with the lowest objective."""
        return None if self._best is None else self._coordinates.to_model(self._best)

    @property
    def newest(self) -> Vector:
        """The model's parameters at the newest accepted point."""
        return self._coordinates.to_model(self.memory["w"])

    @property
    def n_iter(self) -> int:
        """Accepted iterations."""
        return int(self.memory.get("n_iter", 0))

    def say_how(self, solver: Optimizer) -> None:
        """Log how the fit goes on, if it does."""
        if self.memory:
            how = "bit for bit" if solver.resumes_exactly else "as a warm start"
            logger.info("%r goes on %s after iteration %d.", solver, how, self.n_iter)

    def __call__(self, n_iter: int, w: Vector, seen: Evaluation) -> None:
        """Note an accepted iteration."""
        value = seen.value + self._penalty.value(w)
        if value <= self._lowest:
            self._lowest, self._best = value, w
        if n_iter % self._every == 0:
            self._save()
        if self._repeats():
            return
        told = replace(seen, value=seen.value * self._coordinates.size)
        for report in self._reports:
            report(n_iter, self._coordinates.to_model(w), told)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._save()
        if error is not None and self._checkpoint is not None:
            saved = self._checkpoint.n_iter
            what = "holds no iteration yet" if saved is None else f"is of iteration {saved}"
            error.add_note(
                f"The checkpoint {str(self._checkpoint.path)!r} {what}: the same fit with the "
                "same checkpoint goes on from there."
            )

    def _save(self) -> None:
        if self._checkpoint is not None and self.memory:
            self._checkpoint.save(self.memory | self._coordinates.state)


def describe_fit(name: str, parameters: Mapping[str, Any], solver: Optimizer) -> dict[str, Fact]:
    """Return what must be the same when a fit is resumed and is known before any work.

    Parameters
    ----------
    name : str
        The estimator.
    parameters : mapping of str to object
        As ``get_params`` gives them.
    solver : Optimizer
        In use.
    """
    compared = {key: parameters[key] for key in parameters.keys() - FREE - OTHERWISE}
    texts = {key: repr(held) for key, held in sorted((compared | {"solver": solver}).items())}
    # Functions are the same wherever this process happens to hold them.
    nowhere = {key: re.sub(r" at 0x[0-9a-f]+", "", text) for key, text in texts.items()}
    return {"estimator": name, **nowhere}


def describe_data(targets: Targets, moments: Moments) -> dict[str, Fact]:
    """Return by which facts a data set is known again.

    Parameters
    ----------
    targets : Targets
        Of the whole data set.
    moments : Moments
        Of the features' rows.
    """
    facts: dict[str, Fact] = {"number of rows": str(moments.n_rows)}
    if targets.labels is not None and len(targets.labels) <= _MANY:
        facts["labels"] = str(targets.labels.tolist())
        facts["rows of each label"] = str(targets.counts.tolist())
    return facts | {
        "sums over X": moments,
        "sums over y": targets.moments,
        "sums over sample_weight": targets.weight_moments,
    }
