"""Whole runs on a virtual clock: rounds alone, or an objective that a solver can minimise."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.history import History
from dask_gradcode.rounds import Engine, Logbook, Policy, WaitRule
from dask_gradcode.several import abreast, n_points_of
from dask_gradcode.simulation.port import VirtualPort
from dask_gradcode.stragglers import StragglerModel
from dask_gradcode.typing import Evaluation, Matrix, Payload, Vector
from dask_gradcode.work import (
    Block,
    Piece,
    Sums,
    WorkLike,
    as_work,
    compute_message,
    of_order,
    pieces_of,
)

__all__ = ["SimulatedObjective", "simulate"]


def simulate(
    code: GradientCode,
    straggler_model: StragglerModel,
    *,
    wait: WaitRule | None = None,
    plan: Policy | None = None,
    n_rounds: int = 100,
    work: ArrayLike = 1.0,
    overhead: float = 0.0,
    upload: ArrayLike = 0.0,
) -> History:
    """Return how long rounds would take, without computing anything.

    Rounds, plans, decoders and wait rules are those of a cluster; only messages are empty and time
    is virtual. Stragglers carry over: a delay that is not over when a round ends keeps its worker
    from the next one.

    Parameters
    ----------
    code : GradientCode
        The code.
    straggler_model : StragglerModel
        When workers are late.
    wait : WaitRule, optional
        When a round has enough messages. None: until it is exact.
    plan : Policy, optional
        Who is asked, and when. None: as on a cluster, :class:`~dask_gradcode.rounds.Balancing`
        where the wait rule is exact, else :class:`~dask_gradcode.rounds.Everybody`.
    n_rounds : int, default=100
        Number of rounds, one directly after the other.
    work : float or array-like of shape (n_workers,), default=1.0
        Seconds in which one worker alone would compute the whole data set; a message over a tenth
        of the blocks takes a tenth of it.
    overhead : float, default=0.0
        Seconds of every message for all that is not computing.
    upload : float or array-like of shape (n_workers,), default=0.0
        Seconds in which a worker sends a whole payload: its bytes, divided by what its uplink
        takes a second. A slice takes its part of it.

    Returns
    -------
    History
        One record a round; value and gradient norm are NaN.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the wait rule or the model does not fit the code, or the
        code is cooperative: its workers wait for each other, which the virtual clock does not know.
    TypeError
        If ``straggler_model`` is none, or ``wait`` is no wait rule.
    InsufficientWorkersError
        If a round would never end.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition, Uncoded
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> late = FixedDelay(10.0, workers=[1])
    >>> simulate(Uncoded(4), late, n_rounds=1).columns["seconds"]
    [10.25]
    >>> simulate(FractionalRepetition(4, 1), late, n_rounds=1).columns["seconds"]
    [0.5]
    """
    if not isinstance(n_rounds, Integral) or isinstance(n_rounds, bool) or n_rounds < 1:
        raise ValueError(f"n_rounds must be an int in the range [1, inf), got {n_rounds!r}.")
    port = VirtualPort(code, straggler_model, work, overhead, _nothing, upload)
    engine = Engine(code, port, wait, plan)
    history = History(code, "simulated", logs=engine.logs)
    for _ in range(n_rounds):
        round_ = engine.run()
        history.records.append(round_.record(np.nan, np.nan))
        engine.conclude(round_, history.records[-1])
    return history


def _nothing(index: int, w: Vector | Matrix, order: int) -> Payload:
    return _EMPTY


_EMPTY: Vector = np.zeros(0)


class SimulatedObjective:
    """The coded sum over all blocks, computed here, at the speed of virtual workers.

    Interchangeable with the objectives of this process and of a cluster. Its records tell virtual
    time, so that a solver's whole run shows what it would take on the cluster.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    blocks : mapping of int to Block
        All ``code.n_blocks`` blocks.
    loss : Loss, callable or Work
        What to compute on each block.
    straggler_model : StragglerModel
        When workers are late.
    wait : WaitRule, optional
        When a round has enough messages. None: until it is exact.
    plan : Policy, optional
        Who is asked, and when. None: as on a cluster, :class:`~dask_gradcode.rounds.Balancing`
        where the wait rule is exact, else :class:`~dask_gradcode.rounds.Everybody`.
    work : float or array-like of shape (n_workers,), default=1.0
        Seconds in which one worker alone would compute the whole data set.
    overhead : float, default=0.0
        Seconds of every message for all that is not computing.
    upload : float or array-like of shape (n_workers,), default=0.0
        Seconds in which a worker sends a whole payload: its bytes, divided by what its uplink
        takes a second. A slice takes its part of it.

    Raises
    ------
    ValueError, TypeError
        As for :func:`simulate`.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> block = Block(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0]))
    >>> objective = SimulatedObjective(Uncoded(1), {0: block}, Logistic(), FixedDelay(3.0))
    >>> seen = objective(np.zeros(1))
    >>> seen.gradient, seen.record.seconds
    (array([-1.]), 4.0)
    """

    def __init__(
        self,
        code: GradientCode,
        blocks: Mapping[int, Block],
        loss: WorkLike,
        straggler_model: StragglerModel,
        *,
        wait: WaitRule | None = None,
        plan: Policy | None = None,
        work: ArrayLike = 1.0,
        overhead: float = 0.0,
        upload: ArrayLike = 0.0,
    ) -> None:
        self._code, self._blocks, self._work = code, blocks, as_work(loss)
        rows = np.array([blocks[i].n_rows for i in range(code.n_blocks)], dtype=float)
        known = code, straggler_model, work, overhead
        self._port = VirtualPort(*known, self._payload, upload)
        self._sums: tuple[Any, int, Sums] = (None, 0, Sums())  # of a point, by which derivatives
        self._engine = Engine(code, self._port, wait, plan, rows, self._work)

    @property
    def seconds(self) -> float:
        """Virtual time since the first round began."""
        return self._port.now()

    @property
    def logs(self) -> Logbook:
        """What happened in the last 64 rounds, and in those that ended in an error or a doubt."""
        return self._engine.logs

    def __call__(self, w: Vector) -> Evaluation:
        """Run one round.

        Raises
        ------
        InsufficientWorkersError
            If it would never end.
        """
        return self._engine(w)

    def exactly(self, w: Vector) -> Evaluation:
        """Run one round that is exact."""
        return self._engine.exactly(w)

    def second_order(self, w: Vector) -> Evaluation:
        """Run one round, for a Hessian, too."""
        return self._engine.second_order(w)

    def many(self, W: ArrayLike) -> list[Evaluation]:
        """Evaluate at several points in one round, which takes as long as one of a single point.

        Parameters
        ----------
        W : array-like of shape (n_points, n_parameters)
            A point in each row. They are divided among as few rounds as their bytes ask for.

        Returns
        -------
        list of Evaluation
            What single calls return, within rounding. Evaluations of a round share its record.
        """
        return self._engine.many(W)

    def _payload(self, index: int, w: Vector | Matrix, order: int) -> Payload:
        code, work, point = self._code, of_order(self._work, order, n_points_of(w)), abreast(w)

        def cut(leaf: int) -> list[Piece]:
            return pieces_of(code, code.messages[leaf], self._blocks, work, point)

        if self._sums[0] is not w or self._sums[1] != order:
            self._sums = w, order, Sums()
        message = code.messages[index]
        payload = self._sums[2].get(message, lambda: compute_message(code, index, cut))
        assert payload is not None  # nobody told it to stop
        return message.slices.carried(message.slices.of(payload), payload.size)
