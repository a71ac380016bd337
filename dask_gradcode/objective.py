"""Objectives that need no cluster: coded sums in this process, and the penalty around any sum."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.messages import Block, Work, compute_payload
from dask_gradcode.rounds import Arrived, Done, Round, RoundRecord, UntilExact, WaitRule
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["InProcessObjective", "Penalised", "evaluation"]


def evaluation(round_: Round) -> Evaluation:
    """Return what a finished round says about the objective.

    Parameters
    ----------
    round_ : Round
        A round that is done.

    Returns
    -------
    Evaluation
        With the round's :class:`~dask_gradcode.rounds.RoundRecord`.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> round_ = Round(0, Uncoded(1), UntilExact(), started=0.0)
    >>> round_.feed(Arrived(0, 0, 0, np.array([3.0, 0.5])), now=0.1)
    Done()
    >>> evaluation(round_).gradient
    array([0.5])
    """
    total = round_.result()
    value, gradient = float(total[0]), total[1:]
    record: RoundRecord = round_.record(value, float(np.abs(gradient).max(initial=0.0)))
    # Decoding multiplies the rounding of the messages, which are sums about as large as the value.
    rounding = 4 * np.finfo(np.float64).eps * max(1.0, record.amplification) * abs(value)
    return Evaluation(value, gradient, record, rounding)


class InProcessObjective:
    """The coded sum over all blocks, computed in this process.

    The same messages are computed and decoded as on a cluster, so that a fit agrees bit for bit
    with the one on workers where the code promises it.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    blocks : mapping of int to Block
        All ``code.n_blocks`` blocks.
    work : Loss or callable
        What to compute on each block.
    wait : WaitRule, optional
        When a round has enough messages.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Logistic
    >>> block = Block(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0]))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, Logistic())
    >>> objective(np.zeros(1)).gradient
    array([-1.])
    """

    def __init__(
        self,
        code: GradientCode,
        blocks: Mapping[int, Block],
        work: Work,
        wait: WaitRule | None = None,
    ) -> None:
        self._code, self._blocks, self._work = code, blocks, work
        self._wait = wait or UntilExact()
        self._wait.check(code)
        self._block_rows = np.array([blocks[i].n_rows for i in range(code.n_blocks)], dtype=float)
        weights = code.decode(np.ones(len(code.messages), dtype=bool)).weights
        # Messages that decoding would use come first: replicas need not be computed twice here.
        self._order = np.argsort(weights == 0.0, kind="stable")
        self._n_rounds = 0

    def __call__(self, w: Vector) -> Evaluation:
        """Run one round."""
        round_ = Round(
            self._n_rounds, self._code, self._wait, time.perf_counter(), self._block_rows, w
        )
        self._n_rounds += 1
        for index in map(int, self._order):
            message = self._code.messages[index]
            payload = compute_payload(self._code, message, self._blocks, self._work, w)
            assert payload is not None  # nobody told it to stop
            event = Arrived(round_.number, message.worker, index, payload)
            if isinstance(round_.feed(event, time.perf_counter()), Done):
                break
        return evaluation(round_)


class Penalised:
    """A sum over rows, scaled, plus a ridge penalty: scikit-learn's objective.

    ``scale * sum + 0.5 * alpha * ||w[:n_penalised]||^2``. With ``scale = 1 / sum(sample_weight)``
    and ``alpha = 1 / (C * sum(sample_weight))`` that is scikit-learn's objective divided by
    ``C * sum(sample_weight)``, which is what its L-BFGS minimises.

    Parameters
    ----------
    objective : Objective
        The sum over rows.
    scale : float
        What the sum is multiplied by.
    alpha : float
        Strength of the penalty.
    n_penalised : int
        How many of the leading parameters are penalised; an intercept is not.

    Examples
    --------
    >>> import numpy as np
    >>> square = lambda w: Evaluation(float(w @ w), 2 * w)
    >>> Penalised(square, scale=0.5, alpha=1.0, n_penalised=1)(np.array([2.0])).value
    4.0
    """

    def __init__(
        self, objective: Objective, *, scale: float, alpha: float, n_penalised: int
    ) -> None:
        self._objective, self._scale, self._alpha = objective, scale, alpha
        self._n_penalised = n_penalised

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate the sum, scale it and add the penalty."""
        seen = self._objective(w)
        slopes = w[: self._n_penalised]
        gradient = self._scale * seen.gradient
        gradient[: self._n_penalised] += self._alpha * slopes
        value = self._scale * seen.value + 0.5 * self._alpha * float(slopes @ slopes)
        return Evaluation(value, gradient, seen.record, self._scale * seen.rounding)
