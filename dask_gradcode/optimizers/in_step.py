"""Several minimisations in step: they share rounds, each of which evaluates all their next points.

A solver calls its objective and waits for what that returns. So each minimisation has a thread of
its own; but one of them runs at a time, from one call of its objective to the next, as coroutines
do, in the order in which they were given. What they do has the same order in every run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from dask_gradcode.typing import Evaluation, Objective, Vector, many, second_order

__all__ = ["in_step"]

T = TypeVar("T")


def in_step(objective: Objective, runs: Sequence[Callable[[Objective], T]]) -> list[T]:
    """Run several minimisations, whose next points are evaluated together.

    Each goes its own way, as if it were alone: its points are those of a single run within
    rounding. Rounds are as many as the longest run needs by itself, unless a round is divided
    for the size of its points; a run that has ended takes no part any more.

    Parameters
    ----------
    objective : Objective
        What they share, with a method ``many(W)``. The calling thread calls it.
    runs : sequence of callable
        Each is called with an objective, in a thread of its own, of which one runs at a time. It
        may call :class:`~dask_gradcode.optimizers.Optimizer`, SciPy or anything else, and add to
        the objective what is its own, such as a penalty. A Hessian that it asks for takes a round
        by itself.

    Returns
    -------
    list
        What each has returned.

    Raises
    ------
    TypeError
        If the objective has no method ``many``.
    ValueError
        If the points of a turn differ in size.
    BaseException
        Whatever a run, or the objective, raises. All other runs are then ended where they are, by
        an exception in their call of the objective.

    Examples
    --------
    A path of penalties, in the rounds of the slowest:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.objective import InProcessObjective, Penalised
    >>> from dask_gradcode.optimizers import LBFGS
    >>> from dask_gradcode.work import Block
    >>> block = Block(np.eye(2), np.array([1.0, 2.0]))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Squared())
    >>> def ridge(alpha):
    ...     def run(seen):
    ...         penalised = Penalised(seen, scale=1.0, alpha=alpha, n_penalised=2)
    ...         return LBFGS().minimize(penalised, np.zeros(2), tol=1e-9)
    ...     return run
    >>> solutions = in_step(objective, [ridge(alpha) for alpha in (0.0, 1.0, 3.0)])
    >>> [solution.w.round(6).tolist() for solution in solutions]
    [[1.0, 2.0], [0.5, 1.0], [0.25, 0.5]]
    """
    paused = [_Paused(run) for run in runs]
    try:
        asked = {one: wanted for one in paused if (wanted := one.go_on(None)) is not None}
        while asked:
            seen = _evaluated(objective, [*asked.values()])
            answers = zip(asked, seen, strict=True)
            asked = {one: wanted for one, it in answers if (wanted := one.go_on(it)) is not None}
        return [one.result() for one in paused]
    finally:
        for one in paused:
            one.give_up()
        for one in paused:
            one.join()


class _Wanted(NamedTuple):
    w: Vector
    order: int


def _evaluated(objective: Objective, wanted: Sequence[_Wanted]) -> list[Evaluation]:
    """Evaluate a turn's points: all gradients together, then one Hessian after the other."""
    if len(sizes := {one.w.shape for one in wanted}) > 1:
        raise ValueError(
            f"Minimisations in step need points of the same size, got those of shapes "
            f"{sorted(sizes)}. Run those of other objectives apart."
        )
    points = [one.w for one in wanted if one.order == 1]
    gradients = iter(many(objective, np.array(points)) if points else [])
    return [next(gradients) if order == 1 else second_order(objective, w) for w, order in wanted]


class _GivenUp(BaseException):
    """Ends a run that nobody waits for; no solver catches it."""


class _Paused(Generic[T]):
    """A run in a thread of its own that stands still but for ``go_on``, which lets it call once.

    Parameters
    ----------
    run : callable
        ``run(objective)``.
    """

    def __init__(self, run: Callable[[Objective], T]) -> None:
        self._run, self._over = run, False
        self._asked: SimpleQueue[_Wanted | None] = SimpleQueue()  # None: it has ended
        self._answers: SimpleQueue[Evaluation | None] = SimpleQueue()
        self._returned: list[T] = []
        self._error: BaseException | None = None
        context = copy_context()  # NumPy's errstate is in it
        self._thread = threading.Thread(
            target=context.run, args=(self._live,), name="gradcode-in-step", daemon=True
        )

    def go_on(self, answer: Evaluation | None) -> _Wanted | None:
        """Let it run until it calls its objective the next time; None if it has ended.

        Raises
        ------
        BaseException
            What it raises.
        """
        if answer is None:
            self._thread.start()
        else:
            self._answers.put(answer)
        wanted = self._asked.get()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return wanted
        finally:
            del error  # which knows this frame

    def result(self) -> T:
        """Return what it has returned."""
        return self._returned[0]

    def give_up(self) -> None:
        """Have it end where it stands, unless it has ended."""
        self._over = True
        self._answers.put(None)

    def join(self) -> None:
        """Wait until its thread has ended, if that has begun."""
        if self._thread.ident is not None:
            self._thread.join()

    # ---- in its own thread

    def _live(self) -> None:
        try:
            self._returned.append(self._run(_Seen(self._ask)))
        except _GivenUp:
            pass
        except BaseException as error:
            self._error = error
        self._asked.put(None)

    def _ask(self, wanted: _Wanted) -> Evaluation:
        if not self._over:  # else it has caught what should have ended it
            self._asked.put(wanted)
            answer = self._answers.get()
            if answer is not None and not self._over:
                return answer
        raise _GivenUp


class _Seen:
    """The objective as a run sees it."""

    def __init__(self, ask: Callable[[_Wanted], Evaluation]) -> None:
        self._ask = ask

    def __call__(self, w: Vector) -> Evaluation:
        return self._ask(_Wanted(w, 1))

    def second_order(self, w: Vector) -> Evaluation:
        return self._ask(_Wanted(w, 2))
