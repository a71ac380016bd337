"""The objective on a cluster: each call is one coded round."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numpy.typing import ArrayLike

from dask_gradcode.cluster.court import Court
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.placement.slowness import Slowness
from dask_gradcode.cluster.port import ClusterPort
from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.rounds import (
    Engine,
    Everybody,
    Logbook,
    Policy,
    RoundRecord,
    UntilExact,
    WaitRule,
)
from dask_gradcode.rounds.referee import Hearing, Referee, check_verify
from dask_gradcode.rounds.rules import rule_for
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import WorkLike, as_work

__all__ = ["ClusterObjective"]

logger = logging.getLogger("dask_gradcode")


def _checked(verify: int, code: GradientCode, wait: WaitRule, plan: Policy | None) -> int:
    """Return how many faulty workers are to be found, or raise if that cannot be done."""
    verify = check_verify(code, verify)
    if verify and not isinstance(wait, UntilExact):
        raise ValueError(f"verify={verify} needs exact sums, which wait={wait!r} does not give.")
    if verify and not isinstance(plan, Everybody | None):
        raise ValueError(
            f"verify={verify} needs several answers to each sum, and {plan!r} asks for one. "
            "Leave the plan out, or use Everybody()."
        )
    return verify


class ClusterObjective:
    """Value and gradient of a sum over placed data, by one coded round a call.

    A call returns as soon as the messages that have arrived determine the sum; slow, frozen and
    dead workers are not waited for while the others are enough.

    Parameters
    ----------
    data : Placement
        From :func:`dask_gradcode.place`.
    work : Loss, callable or Work
        A loss of a linear model, or any function ``(w, block) -> (value, gradient)`` of sums over
        the rows of a :class:`~dask_gradcode.work.Block`, or a :class:`~dask_gradcode.work.Work`.
        Workers compute with all their threads, several blocks at once.
    wait : WaitRule, optional
        When a round has enough messages. None: until it is exact.
    plan : Policy, optional
        Who is asked, and when. None: :class:`~dask_gradcode.rounds.Balancing` where the wait rule
        is exact, else :class:`~dask_gradcode.rounds.Everybody`.
    transport : {"auto", "tasks", "stream"}, default="auto"
        How messages travel.
    verify : int, default=0
        How many of the workers that hold a block may be faulty, and send wrong sums. If ``b``, a
        sum is believed once ``b + 1`` of them agree on it, so that a round costs ``b + 1`` times
        the work of one. Of two that differ the one that is wrong is found out by computing one
        chunk of rows here, and is expelled: its role plays no part as long as the objective lives.
        It needs a code by which ``b + 1`` workers or more send the same messages
        (:class:`~dask_gradcode.codes.FractionalRepetition` with ``n_stragglers >= b``; as many as
        are more may be silent), exact sums, and everybody asked. A sum that too few are left to
        confirm is waited for as long as ``gradcode.timeouts.recover`` says, then taken, and its
        blocks are in the record's ``unverified``.

    Raises
    ------
    ValueError
        If the transport is unknown, the wait rule does not fit the code, or the code, the rule or
        the plan does not fit ``verify``.
    RuntimeError
        If sums are to be verified, and workers hold different copies of the same rows.
    TypeError
        If ``work`` is none of these, or ``wait`` is no wait rule.

    Examples
    --------
    >>> import numpy as np
    >>> from distributed import Client
    >>> from dask_gradcode import place
    >>> from dask_gradcode.losses import Logistic
    >>> X, y = np.array([[1.0], [-1.0], [2.0], [-3.0]]), np.array([1, 0, 1, 0])
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     with place(X, y, n_stragglers=1, client=client) as data:
    ...         with ClusterObjective(data, Logistic()) as objective:
    ...             gradient = objective(np.zeros(1)).gradient
    >>> gradient
    array([-3.5])
    """

    def __init__(
        self,
        data: Placement,
        work: WorkLike,
        *,
        wait: WaitRule | None = None,
        plan: Policy | None = None,
        transport: str = "auto",
        verify: int = 0,
    ) -> None:
        data.check_open()
        wait = rule_for(data.code, wait)
        verify = _checked(verify, data.code, wait, plan)
        self._data, self._told = data, set[Doubt]()
        self._is_first, self._slowness = True, Slowness()
        self._incomplete = False  # the first round began without some of the roles
        work = as_work(work)
        self._port = ClusterPort.to(data, work, transport)
        try:
            referee = Referee(data.code, verify, Court(data, work, verify)) if verify else None
        except BaseException:
            self._port.close()
            raise
        self._referee = referee
        rest = data.block_rows, work, referee
        self._engine = Engine(data.code, self._port, wait, plan, *rest)
        logger.info("%r: messages travel as %s", data, self.transport)

    @property
    def transport(self) -> str:
        """The transport in use."""
        return self._port.transport.name

    @property
    def logs(self) -> Logbook:
        """What happened in the last 64 rounds, and in those that ended in an error or a doubt."""
        return self._engine.logs

    @property
    def hearings(self) -> list[Hearing]:
        """Who sent different sums and what was found, where sums are verified; in order."""
        return [] if self._referee is None else self._referee.hearings

    def __enter__(self) -> ClusterObjective:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self._port.close()

    @one_blas_thread()  # OpenBLAS's others would spin on between messages, and slow workers here
    def __call__(self, w: Vector) -> Evaluation:
        """Run one round.

        Raises
        ------
        InsufficientWorkersError
            If too many workers are dead, or frozen for longer than ``gradcode.timeouts.recover``.
        TimeoutError
            If living workers do not answer within ``gradcode.timeouts.round``.
        Exception
            The original error, where a loss or block function raises on every replica of a block.
        """
        [seen] = self._run(lambda: [self._engine(w)])
        return seen

    @one_blas_thread()
    def exactly(self, w: Vector) -> Evaluation:
        """Run one round that is exact, also where older sums stand in for others."""
        [seen] = self._run(lambda: [self._engine.exactly(w)])
        return seen

    @one_blas_thread()
    def second_order(self, w: Vector) -> Evaluation:
        """Run one round, for a Hessian, too; raises TypeError if the work has none."""
        [seen] = self._run(lambda: [self._engine.second_order(w)])
        return seen

    @one_blas_thread()
    def many(self, W: ArrayLike) -> list[Evaluation]:
        """Evaluate at several points in one round, or in as few as their bytes ask for.

        Parameters
        ----------
        W : array-like of shape (n_points, n_parameters)
            A point in each row.

        Returns
        -------
        list of Evaluation
            Those of single calls within rounding, as each pass over the rows serves all points. Of
            what has no such pass, as a block function, bit for bit. Evaluations of a round share
            its record.

        Raises
        ------
        ValueError
            If ``W`` has another shape.
        Exception
            As for a call.
        """
        return self._run(lambda: self._engine.many(W))

    def _run(self, evaluate: Callable[[], list[Evaluation]]) -> list[Evaluation]:
        self._data.check_open()
        if self._is_first:
            self._warn_if_incomplete()
        with self._interrupts():
            seen = evaluate()
        for one in seen:
            self._tell_if_complete(one.record)
        self._tell()
        self._note_slowness(seen[-1].record)
        return seen

    def drain(self, timeout: float = 0.0) -> None:
        """Enter the answers that have come since the last round in the records of their rounds.

        Parameters
        ----------
        timeout : float, default=0.0
            For how many seconds to wait, if nothing has come.
        """
        self._data.check_open()
        with self._interrupts():
            self._engine.drain(timeout)
        self._tell()

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Have an interrupt leave nothing behind that a later round could stumble over."""
        try:
            yield
        except Exception:
            raise
        except BaseException:  # Ctrl-C, anywhere
            self._port.interrupted()
            raise

    def _warn_if_incomplete(self) -> None:
        """Warn that a fit begins below the tolerance that was asked for."""
        self._is_first = False
        self._data.roles.tend()
        lost = self._data.lost
        if not lost:
            return
        self._incomplete = True
        which = "; ".join(f"role {role}: {why}" for role, why in sorted(lost.items()))
        text = (
            f"Rounds begin before all roles are placed ({which}). The code tolerates "
            f"{self._data.code.tolerance}; until all are placed it tolerates fewer. "
            "history_.events says from which round on it is complete."
        )
        logger.warning(text)
        warnings.warn(text, stacklevel=5)  # of whoever called for the round

    def _note_slowness(self, record: RoundRecord) -> None:
        """Have roles go elsewhere, if they can, whose workers have been slow for long."""
        if self._data.code.divides:
            return  # others do their work
        before = set(self._slowness.slow)
        self._slowness.look(record, self._port.reached, self._port.now())
        for role in before ^ self._slowness.slow.keys():
            self._data.roles.note_slow(role, self._slowness.slow.get(role))

    def _tell_if_complete(self, record: RoundRecord) -> None:
        """Say once that all roles are placed, after a beginning without some of them."""
        if self._incomplete and not (record.unplaced or record.lost):
            self._incomplete = False
            logger.warning(
                "Round %d: all roles are placed; tolerated from now on: %s",
                record.round,
                self._data.code.tolerance,
            )

    def _tell(self) -> None:
        """Warn once of each thing that a worker has sent and that cannot be right."""
        for number, doubt in self._engine.doubts:
            if doubt in self._told:
                continue
            self._told.add(doubt)
            where = " and ".join(
                f"role {role} on {self._data.addresses[role]}" for role in doubt.roles
            )
            text = f"Round {number}, blocks {list(doubt.blocks)}, {where}: {doubt.what}."
            logger.warning(text)
            if len(doubt.roles) > 1:
                warnings.warn(f"{text} One of them may be faulty.", stacklevel=3)
        self._engine.doubts.clear()
