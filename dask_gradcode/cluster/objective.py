"""The objective on a cluster: each call is one coded round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.placement.slowness import Slowness
from dask_gradcode.cluster.port import ClusterPort
from dask_gradcode.cluster.refereeing import audit_of, check_verifying, referee_of
from dask_gradcode.cluster.telling import Telling
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.rounds import (
    Discovery,
    Engine,
    Logbook,
    Policy,
    WaitRule,
)
from dask_gradcode.rounds.recounting import MANY, SECOND_ORDER, VALUE
from dask_gradcode.rounds.referee import Hearing, Referee
from dask_gradcode.rounds.rules import rule_for
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import WorkLike, as_work

__all__ = ["ClusterObjective"]

logger = logging.getLogger("dask_gradcode")
Result = TypeVar("Result")


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
        Who is asked, and when. None: :class:`~dask_gradcode.rounds.Confirming` with ``verify``;
        otherwise ``Balancing`` where the wait rule is exact, or ``Everybody``.
    transport : {"auto", "tasks", "stream"}, default="auto"
        How messages travel.
    verify : int, "audit" or "syndrome", default=0
        Whether to look for workers that send wrong sums. Such a worker is expelled: its role plays
        no part as long as the objective lives.

        - ``b``, a number: how many of the workers that hold a block may be faulty. A sum is
          believed once ``b + 1`` of them agree on it, so a round costs ``b + 1`` times the work of
          one. When two differ, one chunk of rows is computed here to find the one that is wrong. It
          needs exact sums, all workers asked, and a code by which at least ``b + 1`` send the same
          messages: :class:`~dask_gradcode.codes.FractionalRepetition` with
          ``n_stragglers >= b``. What is above ``b`` may be silent. A sum that too few are left to
          confirm is waited for as long as ``gradcode.timeouts.recover`` says. Then it is taken, and
          its blocks are in the record's ``unverified``.
        - ``"audit"``: sums are believed as they come, and beside the rounds others compute again
          what one worker after another has sent. A call in which a wrong sum is found raises
          :class:`~dask_gradcode.rounds.TakenBackError`: call the objective through ``audited``.
        - ``"syndrome"``, for :class:`~dask_gradcode.codes.CyclicRepetition`: a sum is believed once
          one answer more than decoding needs has come and all agree within rounding. If they do
          not, all workers that live are waited for, as two answers more than needed tell which one
          is wrong. Where that cannot be told, the call raises.

    Attributes
    ----------
    audit : Auditing or None
        What has been computed again, where sums are audited.

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
        verify: int | str = 0,
    ) -> None:
        data.check_open()
        wait = rule_for(data.code, wait)
        check_verifying(verify, data.code, wait, plan)
        self._data, self._telling, self._slowness = data, Telling(data), Slowness()
        work = as_work(work)
        self._port = ClusterPort.to(data, work, transport)
        try:
            self.audit = audit_of(data, work, verify)
            self._referee = referee_of(data, work, verify, self.audit)
        except BaseException:
            self._port.close()
            raise
        books = None if self.audit is None else self.audit.recounting.books
        rest = data.block_rows, work, self._referee, books
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
        """Workers with different sums, and what was found, where sums are verified; in order."""
        return self._referee.hearings if isinstance(self._referee, Referee) else []

    @property
    def found(self) -> Sequence[Discovery]:
        """Which workers were expelled, and which rounds taken back, where sums are audited."""
        return [] if self.audit is None else self.audit.found

    @property
    def is_repeating(self) -> bool:
        """Whether the last call was answered as it had been before: see ``audited``."""
        return self.audit is not None and self.audit.journal.is_repeating

    def __enter__(self) -> ClusterObjective:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        if self.audit is not None:
            self.audit.close()
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
        WrongSumsError
            With ``verify="syndrome"``: some workers sent wrong sums, and it cannot be told which.
        Exception
            The original error, where a loss or block function raises on every replica of a block.
        """
        [seen] = self._run(VALUE, w, lambda: [self._engine(w)])
        return seen

    @one_blas_thread()
    def exactly(self, w: Vector) -> Evaluation:
        """Run one round that is exact, also where older sums stand in for others."""
        [seen] = self._run(VALUE, w, lambda: [self._engine.exactly(w)])
        return seen

    @one_blas_thread()
    def second_order(self, w: Vector) -> Evaluation:
        """Run one round, for a Hessian, too; raises TypeError if the work has none."""
        [seen] = self._run(SECOND_ORDER, w, lambda: [self._engine.second_order(w)])
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
            What single calls return, within rounding, as each pass over the rows serves all points.
            Where there is no such pass, as of a block function, bit for bit. Evaluations of a
            round share its record.

        Raises
        ------
        ValueError
            If ``W`` has another shape.
        Exception
            As for a call.
        """
        return self._run(MANY, W, lambda: self._engine.many(W))

    def audited(self, run: Callable[[], Result], where: Callable[[Result], Vector]) -> Result:
        """Run a fit; where its sums are audited, until all that it was told was right.

        Parameters
        ----------
        run : callable
            Calls the objective, and returns where that has led. It is called again, from the
            beginning, when something that it was told was wrong; as long as it comes by the same
            way it is told the same by this process.
        where : callable
            Returns the point at which a result of ``run`` is: what workers have sent for that, and
            for the last point, is all computed again.

        Returns
        -------
        object
            What ``run`` has returned at last.
        """
        return run() if self.audit is None else self.audit.audited(run, where, self.drain)

    def _run(
        self, kind: str, point: ArrayLike, evaluate: Callable[[], list[Evaluation]]
    ) -> list[Evaluation]:
        self._data.check_open()
        at = np.asarray(point, dtype=np.float64)
        if self.audit is not None and (known := self.audit.begin(kind, at)) is not None:
            return known
        self._telling.begin()
        first = self._engine.n_rounds
        with self._interrupts():
            seen = evaluate()
        for one in seen:
            self._telling.end(one.record)
        self._telling.doubt(self._engine.doubts)
        if not self._data.code.divides:  # otherwise others do the work of slow workers
            looked = seen[-1].record, self._port.reached, self._port.now()
            for role, why in self._slowness.news(*looked).items():
                self._data.roles.note_slow(role, why)
        if self.audit is not None:
            self.audit.end(kind, at, seen, range(first, self._engine.n_rounds))
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
        self._telling.doubt(self._engine.doubts)

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
