"""Objectives that need no cluster: coded sums in this process, and the penalty around any sum."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Engine,
    Event,
    Everybody,
    Logbook,
    Lost,
    Order,
    Patience,
    Round,
    WaitRule,
)
from dask_gradcode.several import abreast, n_points_of
from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector, exactly, many, second_order
from dask_gradcode.work import (
    Block,
    Piece,
    Sums,
    Work,
    WorkLike,
    as_work,
    compute_message,
    of_order,
    pieces_of,
)

__all__ = ["Anchored", "InProcessObjective", "Penalised"]


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
    work : Loss, callable or Work
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
        work: WorkLike,
        wait: WaitRule | None = None,
    ) -> None:
        rows = np.array([blocks[i].n_rows for i in range(code.n_blocks)], dtype=float)
        work = as_work(work)
        port = _Here(code, blocks, work)
        self._engine = Engine(code, port, wait, Everybody(), rows, work)

    @property
    def logs(self) -> Logbook:
        """What happened in the last 64 rounds, and in those that ended in an error or a doubt."""
        return self._engine.logs

    def __call__(self, w: Vector) -> Evaluation:
        """Run one round."""
        return self._engine(w)

    def exactly(self, w: Vector) -> Evaluation:
        """Run one round that is exact."""
        return self._engine.exactly(w)

    def second_order(self, w: Vector) -> Evaluation:
        """Run one round, for a Hessian, too."""
        return self._engine.second_order(w)

    def many(self, W: ArrayLike) -> list[Evaluation]:
        """Evaluate at several points in one round, or in as few as their bytes ask for.

        Parameters
        ----------
        W : array-like of shape (n_points, n_parameters)
            A point in each row.

        Returns
        -------
        list of Evaluation
            What single calls return, within rounding, as each pass over the rows serves all points.
            Where there is no such pass, as of a block function, bit for bit. Evaluations of a
            round share its record.
        """
        return self._engine.many(W)


class _Here:
    """A port to this process: computes a message whenever the round waits for one."""

    def __init__(self, code: GradientCode, blocks: Mapping[int, Block], work: Work) -> None:
        self._code, self._blocks = code, blocks
        self._works = self._work = work
        used = code.decode(np.ones(len(code.messages), dtype=bool)).used
        # Messages that decoding would use come first, each of them once.
        order = np.argsort(~used, kind="stable")
        self._rank = dict(zip(order.tolist(), range(order.size), strict=True))
        self._round, self._w = -1, np.zeros(0)
        # heap of whether it is a replica, rank, role and message
        self._asked: list[tuple[bool, int, int, int]] = []
        self._met: set[int] = set()  # messages asked for in this round
        self._sums = Sums(n_kept=1)  # slices of one sum come one after another
        self._reached: dict[int, float] = {}  # when a role's first message was begun

    def now(self) -> float:
        return time.perf_counter()

    def patience(self) -> Patience:
        return Patience()  # a silent worker stays silent

    def begin(self, round: int, w: Vector | Matrix, order: int) -> Sequence[Lost]:
        self._round, self._w, self._asked = round, abreast(w), []
        self._work = of_order(self._works, order, n_points_of(w))
        self._met.clear()
        self._sums.clear()
        self._reached = {}
        return []

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            for message in order.messages if isinstance(order, Ask) else ():
                entry = message in self._met, self._rank[message], order.role, message
                heapq.heappush(self._asked, entry)
                self._met.add(message)

    def events(self, until: float | None) -> Sequence[Event]:
        *_, role, index = heapq.heappop(self._asked)
        self._reached.setdefault(role, self.now())
        message = self._code.messages[index]
        payload = self._sums.get(message, lambda: compute_message(self._code, index, self._cut))
        assert payload is not None  # nobody told it to stop
        sent = message.slices.carried(message.slices.of(payload), payload.size)
        return [Arrived(self._round, role, index, sent)]

    def _cut(self, leaf: int) -> list[Piece]:
        message = self._code.messages[leaf]
        return pieces_of(self._code, message, self._blocks, self._work, self._w)

    def reached(self) -> Mapping[int, float]:
        return self._reached

    def explain(self, round: Round) -> BaseException:
        raise AssertionError(f"{round.outcome} with every message here")


class Penalised:
    """A sum over rows, scaled, plus a ridge penalty: scikit-learn's objective.

    ``scale * sum + 0.5 * alpha * ||w[:n_penalised]||^2``, with an ``alpha`` of each parameter where
    several are given. With ``scale = 1 / sum(sample_weight)`` and ``alpha = 1 / (C *
    sum(sample_weight))`` that is scikit-learn's objective divided by ``C * sum(sample_weight)``,
    which is what its L-BFGS minimises.

    Parameters
    ----------
    objective : Objective
        The sum over rows.
    scale : float
        What the sum is multiplied by.
    alpha : float or ndarray of shape (n_penalised,)
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
        self, objective: Objective, *, scale: float, alpha: float | Vector, n_penalised: int
    ) -> None:
        self._objective, self._scale, self._alpha = objective, scale, alpha
        self._n_penalised = n_penalised

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate the sum, scale it and add the penalty."""
        return self._penalised(w, self._objective(w))

    def exactly(self, w: Vector) -> Evaluation:
        """Evaluate exactly."""
        return self._penalised(w, exactly(self._objective, w))

    def second_order(self, w: Vector) -> Evaluation:
        """Evaluate with a Hessian."""
        return self._penalised(w, second_order(self._objective, w))

    def many(self, W: Matrix) -> list[Evaluation]:
        """Evaluate at several points, (n_points, n_parameters), in one round."""
        return [
            self._penalised(w, seen) for w, seen in zip(W, many(self._objective, W), strict=True)
        ]

    def _penalised(self, w: Vector, seen: Evaluation) -> Evaluation:
        slopes = w[: self._n_penalised]
        gradient, pull = self._scale * seen.gradient, self._alpha * slopes
        gradient[: self._n_penalised] += pull
        value = self._scale * seen.value + 0.5 * float(slopes @ pull)
        hessian = seen.hessian
        if hessian is not None:
            hessian = self._scale * hessian
            diagonal = np.einsum("ii->i", hessian)  # a view
            diagonal[: self._n_penalised] += self._alpha
        drift = None if seen.drift is None else self._scale * seen.drift
        rounding = self._scale * seen.rounding
        return Evaluation(value, gradient, seen.record, rounding, hessian, drift)


class Anchored:
    """An objective that stays the same where all outputs of a column change alike, held there.

    Of several classes only differences count, so without a penalty the Hessian is singular: here it
    is not, and yet Newton's step is the shortest of those that it would allow. Values and gradients
    stay as they are.

    Parameters
    ----------
    objective : Objective
        Parameters of a column are neighbours in its points, as are intercepts.
    n_outputs : int
        How many there are of each.
    first : int, default=0
        The first parameter for which that holds: those before it have a penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Multinomial
    >>> block = Block(np.array([[1.0], [3.0]]), np.array([0.0, 1.0]))
    >>> loss = Multinomial((0.0, 1.0))
    >>> objective = InProcessObjective(Uncoded(1), {0: block}, loss)
    >>> objective.second_order(np.zeros(2)).hessian
    array([[ 2.5, -2.5],
           [-2.5,  2.5]])
    >>> Anchored(objective, n_outputs=2).second_order(np.zeros(2)).hessian
    array([[ 3.75, -1.25],
           [-1.25,  3.75]])
    """

    def __init__(self, objective: Objective, *, n_outputs: int, first: int = 0) -> None:
        self._objective, self._n_outputs, self._first = objective, n_outputs, first

    def __call__(self, w: Vector) -> Evaluation:
        """Evaluate."""
        return self._objective(w)

    def exactly(self, w: Vector) -> Evaluation:
        """Evaluate exactly."""
        return exactly(self._objective, w)

    def second_order(self, w: Vector) -> Evaluation:
        """Evaluate with a Hessian."""
        seen, n = second_order(self._objective, w), self._n_outputs
        assert seen.hessian is not None
        hessian = seen.hessian.copy()
        for start in range(self._first, w.size, n):
            block = hessian[start : start + n, start : start + n]
            block += np.trace(block) / n**2  # as much curvature as in other directions
        return replace(seen, hessian=hessian)
