"""What a fit says: a line an iteration or a progress bar, and whether it has converged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dask_gradcode.history import History, moves
from dask_gradcode.html import ranges
from dask_gradcode.optimizers import Callback, Solution
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.verbose import bar, say

__all__ = ["advice", "complaint", "reporter"]

_NAMED = 8  # workers of a kind; more are counted


@contextmanager
def reporter(verbose: Any, name: str, history: History, max_iter: int) -> Iterator[Callback | None]:
    """Lend an optimizer's callback that says what ``verbose`` asks for, or None.

    Parameters
    ----------
    verbose : bool, int or "bar"
        True or a positive int prints a line per iteration, ``"bar"`` draws a progress bar.
    name : str
        The estimator.
    history : History
        Where its rounds are recorded.
    max_iter : int
        Most iterations.
    """
    if verbose == "bar":
        with _bar(history, max_iter) as draw:
            yield draw
    elif verbose:
        line = _Line(history)

        def tell(n_iter: int, w: Vector, seen: Evaluation) -> None:
            say(name, f"iteration {n_iter}: {line(seen)}")

        yield tell
    else:
        yield None


class _Line:
    """Puts in words what the rounds since the previous iteration did."""

    def __init__(self, history: History) -> None:
        self._history, self._n_told = history, 0
        self._is_waiting = False  # for workers that are not placed yet

    def __call__(self, seen: Evaluation) -> str:
        rounds = self._history.records[self._n_told :]
        self._n_told += len(rounds)
        if not rounds:  # all of it was known from an earlier round
            norm = np.abs(seen.gradient).max(initial=0.0)
            return f"value {seen.value:.8g}, max |gradient| {norm:.2e}"
        code, last = self._history.code, rounds[-1]
        used = set(np.flatnonzero(last.used).tolist())
        trials = "" if len(rounds) == 1 else f" in {len(rounds)} rounds"
        missing = [
            f"{what} {_who(workers)}"
            for what, workers in (
                ("late", last.late),
                ("lost", last.lost),
                ("not placed yet", last.unplaced),
            )
            if workers
        ]
        owners = sorted({move.owner for move in moves(code, [last])})
        if owners:
            missing.append(f"work of {_who(owners)} moved")
        if self._is_complete():
            missing.append("all workers are placed now")
        return ", ".join(
            [
                f"value {last.value:.8g}",
                f"max |gradient| {last.grad_norm:.2e}",
                f"{sum(record.seconds for record in rounds):.3f} s{trials}",
                f"{len(used)} of {code.n_workers} workers used",
                *missing,
            ]
        )

    def _is_complete(self) -> bool:
        """Say whether all workers have been placed since the last line, which not all were."""
        was_waiting, self._is_waiting = self._is_waiting, bool(self._history[-1].unplaced)
        return was_waiting and not self._is_waiting


def _who(workers: Sequence[int]) -> str:
    return f"{len(workers)} workers" if len(workers) > _NAMED else f"[{ranges(workers)}]"


@contextmanager
def _bar(history: History, max_iter: int) -> Iterator[Callback]:
    """Lend a callback that draws a bar in a terminal or a notebook."""
    with bar("iteration", max_iter) as drawn:

        def draw(n_iter: int, w: Vector, seen: Evaluation) -> None:
            # 80 characters in all; the time is on the left, and late workers are in the history
            record = history[-1]
            counts = {
                "late": len(record.late),
                "lost": len(record.lost),
                "not placed": len(record.unplaced),
            }
            missing = "".join(f", {n} {what}" for what, n in counts.items() if n)
            drawn.draw(n_iter, f"value {record.value:.6g}, |g| {record.grad_norm:.1e}{missing}")

        yield draw
        drawn.fill()  # it may have converged long before


def complaint(solution: Solution, left: float, estimator: Any, otherwise: str) -> str:
    """Return the warning that a fit has ended above its tolerance.

    Parameters
    ----------
    solution : Solution
        Where it ended.
    left : float
        The largest entry of the gradient there.
    estimator : CodedEstimator
        The estimator that was fitted.
    otherwise : str
        What to do, where more iterations are not the answer.
    """
    solver, most = estimator.solver, estimator.max_iter
    if solution.n_iter >= most:
        otherwise = (
            f"Increase the number of iterations to improve the convergence (max_iter={most})."
        )
        if solver == "lbfgs" and "newton-cholesky" in estimator._solvers:
            otherwise += " With few features solver='newton-cholesky' needs fewer, however scaled."
    return (
        f"{solver if isinstance(solver, str) else repr(solver)} failed to converge after "
        f"{solution.n_iter} iteration(s):\n{solution.message}\n\nThe largest entry of the "
        f"gradient, of scaled columns, is {left:.1e}; tol is {estimator.tol:.1e}. {otherwise}"
    )


def advice(left: float, *, has_intercept: bool) -> str:
    """Return what to do where a solver gets no further though it may iterate."""
    told = (
        "The solver gets no further, mostly because rounding hides what is left: allow that much "
        f"(tol={2 * left:.0e}), or leave out columns that others nearly add up to."
    )
    if has_intercept:
        return told
    return f"{told} Or fit an intercept: without one, columns far from zero are nearly alike."
