"""The objective on a cluster: each call is one coded round."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sequence

from dask_gradcode.cluster.client.mailbox import Vanished
from dask_gradcode.cluster.crew import Crew
from dask_gradcode.cluster.patience import Patience
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.transport import Transport
from dask_gradcode.inspection import Doubt
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.losses import Loss
from dask_gradcode.messages import Work
from dask_gradcode.objective import evaluation
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Done,
    Event,
    InsufficientWorkersError,
    Lost,
    Round,
    RoundRecord,
    Stuck,
    Unplaced,
    UntilExact,
    Wait,
    WaitRule,
)
from dask_gradcode.rounds.lateness import Lateness
from dask_gradcode.rounds.spares import Spares, Turn
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["ClusterObjective"]

logger = logging.getLogger("dask_gradcode")


class ClusterObjective:
    """Value and gradient of a sum over placed data, by one coded round a call.

    A call returns as soon as the messages that have arrived determine the sum; slow, frozen and
    dead workers are not waited for while the others are enough.

    Parameters
    ----------
    data : Placement
        From :func:`dask_gradcode.place`.
    work : Loss or callable
        A loss of a linear model, or any function ``(w, block) -> (value, gradient)`` of sums over
        the rows of a :class:`~dask_gradcode.messages.Block`.
    wait : WaitRule, optional
        When a round has enough messages. None: until it is exact.
    transport : {"auto", "tasks", "stream"}, default="auto"
        How messages travel.

    Raises
    ------
    ValueError
        If the transport is unknown or the wait rule does not fit the code.

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
        work: Work,
        *,
        wait: WaitRule | None = None,
        transport: str = "auto",
    ) -> None:
        data.check_open()
        self._data, self._wait = data, wait or UntilExact()
        self._wait.check(data.code)
        self._n_rounds = 0
        # A loss lets other threads run, a function of the user's need not.
        self._may_be_busy_since = math.inf if isinstance(work, Loss) else time.monotonic()
        self._recent: dict[int, tuple[Round, RoundRecord]] = {}
        self._told: set[Doubt] = set()
        self._spares, self._lateness = Spares(data.code), Lateness(data.code)
        self._turn = Turn(())
        self._interrupted = False  # the last round: nothing is known of the transport's state
        self._incomplete = False  # the first round began without some of the roles
        self._crew = Crew(data, work, transport)
        logger.info("%r: messages travel as %s", data, self._transport.name)

    @property
    def transport(self) -> str:
        """The transport in use."""
        return self._transport.name

    @property
    def _transport(self) -> Transport:
        return self._crew.transport

    def __enter__(self) -> ClusterObjective:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self._transport.close()

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
        if self._interrupted:
            self._crew.reopen()
            self._interrupted = False
        try:
            return self._run(w)
        except Exception:
            raise
        except BaseException:  # Ctrl-C, anywhere
            self._interrupted = True
            raise

    def _run(self, w: Vector) -> Evaluation:
        data = self._data
        data.check_open()
        round_ = Round(self._n_rounds, data.code, self._wait, time.monotonic(), data.block_rows, w)
        self._n_rounds += 1
        by_tasks = self.transport == "tasks"
        patience = Patience(data, round_, self._may_be_busy_since, by_tasks=by_tasks)
        now = round_.started
        step = self._begin(round_, w)
        events: Sequence[Event] = ()
        while not isinstance(step, Done):
            if isinstance(step, Stuck):
                data.check_open()  # what a restart has dropped does not come back
            if isinstance(step, Stuck) and (self._is_final(round_) or patience.is_over(now)):
                step = round_.accept(now)
                if isinstance(step, Stuck):
                    raise self._why_stuck(round_)
                continue
            events = self._transport.poll(patience.next_look(step, time.monotonic()))
            now = time.monotonic()
            for event in events:
                self._note(event, now)
            news: Sequence[Event | None] = events
            if not events:
                data.check_open()  # what has been cancelled is waited for in vain
                news = self._crew.renew() or patience.look(now) or [None]
            for one in news:
                step = round_.feed(one, now)
                if isinstance(step, Ask):
                    self._transport.ask(step.role, step.messages)
        self._judge(round_)
        seen = evaluation(round_)
        self._spares.end(seen.record)
        self._tell_if_complete(seen.record)
        round_.forget()
        self._tell(round_)
        self._recent[round_.number] = round_, seen.record
        self._recent.pop(round_.number - 64, None)
        for event in events:  # some may have come together with the last that was needed
            self._note(event, now)
        return seen

    def _begin(self, round_: Round, w: Vector) -> Done | Wait | Ask | Stuck:
        """Send ``w`` to all roles that are placed, and tell the round of the others."""
        step: Done | Wait | Ask | Stuck = Wait(self._wait.until(round_.started))
        for change in self._crew.renew():
            step = round_.feed(change, round_.started)
        turn = Turn(self._crew.roles)
        if self._wait.exact:  # else the same workers' rows would be left out in every round
            turn = self._spares.begin(turn.roles)
        self._turn, unplaced, lost = turn, self._data.roles.unplaced, self._data.lost
        for role in sorted(set(range(self._data.code.n_workers)) - set(turn.roles)):
            why = lost.get(role, "its connection has ended")
            absence = Unplaced(role, why) if role in unplaced else Lost(role, why)
            step = round_.feed(absence, round_.started)
        if round_.number == 0 and round_.losses:
            self._warn_incomplete(round_)
        messages = self._data.code.messages_of
        asks = {role: messages[role] for role in turn.roles}
        self._transport.begin(round_.number, w, asks, turn.n_likely, turn.wait)
        return step

    def _judge(self, round_: Round) -> None:
        """Say who was spared in a round that is done, and who of the silent is late."""
        round_.spared.update(self._transport.spared())
        asked = self._turn.asked(round_.started, round_.spared)
        round_.late.update(self._lateness.end(round_, asked))

    def _warn_incomplete(self, round_: Round) -> None:
        """Warn that a fit begins below the tolerance that was asked for."""
        self._incomplete = True
        which = "; ".join(f"role {role}: {why}" for role, why in sorted(round_.losses.items()))
        text = (
            f"Rounds begin before all roles are placed ({which}). The code tolerates "
            f"{self._data.code.tolerance}; until all are placed it tolerates fewer. "
            "history_.events says from which round on it is complete."
        )
        logger.warning(text)
        warnings.warn(text, stacklevel=6)  # of whoever called for the round

    def _tell_if_complete(self, record: RoundRecord) -> None:
        """Say once that all roles are placed, after a beginning without some of them."""
        if self._incomplete and not (record.unplaced or record.lost):
            self._incomplete = False
            logger.warning(
                "Round %d: all roles are placed; tolerated from now on: %s",
                record.round,
                self._data.code.tolerance,
            )

    def _note(self, event: Event, now: float) -> None:
        """Remember what a transport's event means beyond the round that is running."""
        if isinstance(event, Lost):
            self._crew.left(event.role)
        elif isinstance(event, Arrived) and event.round in self._recent:
            round_, _ = self._recent[event.round]
            round_.feed(event, now)
            self._lateness.heard(round_, event.role, now)
            self._tell(round_)

    def _tell(self, round_: Round) -> None:
        """Warn once of each thing that a worker has sent and that cannot be right."""
        for doubt in round_.doubts:
            if doubt in self._told:
                continue
            self._told.add(doubt)
            where = " and ".join(
                f"role {role} on {self._data.addresses[role]}" for role in doubt.roles
            )
            text = f"Round {round_.number}, blocks {list(doubt.blocks)}, {where}: {doubt.what}."
            logger.warning(text)
            if len(doubt.roles) > 1:
                warnings.warn(f"{text} One of them may be faulty.", stacklevel=3)
        round_.doubts.clear()

    def _is_final(self, round_: Round) -> bool:
        """Say whether waiting cannot help: the work on some block has failed on all who have it."""
        code = self._data.code
        able = {
            block
            for role in range(code.n_workers)
            if role not in round_.errors or isinstance(round_.errors[role], Vanished)
            for block in code.blocks_of(role)
        }
        return len(able) < code.n_blocks

    def _why_stuck(self, round_: Round) -> BaseException:
        data = self._data
        for role, error in round_.errors.items():
            if not isinstance(error, Vanished):
                error.add_note(f"raised on worker {data.addresses[role]} (role {role})")
                return error
        reasons = {role: str(error) for role, error in round_.errors.items()} | round_.losses
        missing = "\n".join(f"  role {role}: {reasons[role]}" for role in sorted(reasons))
        return InsufficientWorkersError(
            f"The sum cannot be decoded without the workers that are missing:\n{missing}\n"
            f"The code is {data.code!r}.\n"
            f"It tolerates {data.code.tolerance}. Place the data anew on the workers that are "
            "left, or use a code with more n_stragglers."
        )
