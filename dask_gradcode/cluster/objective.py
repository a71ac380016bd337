"""The objective on a cluster: each call is one coded round."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dask_gradcode.cluster.config import seconds
from dask_gradcode.cluster.liveness import Liveness
from dask_gradcode.cluster.placement import Placement
from dask_gradcode.cluster.transport import StreamTransport, TaskTransport, Transport
from dask_gradcode.cluster.waiting import LOOK_EVERY
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
    UntilExact,
    Wait,
    WaitRule,
)
from dask_gradcode.typing import Evaluation, Vector

__all__ = ["ClusterObjective", "open_transport"]

logger = logging.getLogger("dask_gradcode")

_fits = itertools.count()


def open_transport(name: str, data: Placement, work: Work) -> Transport:
    """Return a transport to which all roles are attached.

    Parameters
    ----------
    name : {"auto", "tasks", "stream"}
        ``"auto"`` is the stream where this process reaches the workers over plain TCP.
    data : Placement
        The data.
    work : Loss or callable
        What to compute on each block.

    Raises
    ------
    ValueError
        If the name is unknown, or the stream cannot work here.
    """
    if name not in ("auto", "tasks", "stream"):
        raise ValueError(f"transport must be 'auto', 'tasks' or 'stream', got {name!r}.")
    columns = data.columns if isinstance(work, Loss) else None
    plain = [address.startswith("tcp://") for address in data.addresses.values()]
    if name == "stream" and not all(plain):
        raise ValueError(
            "transport='stream' needs workers at tcp:// addresses, got "
            f"{next(a for a in data.addresses.values() if not a.startswith('tcp://'))}. "
            "Use transport='tasks'."
        )
    if name == "stream" or (name == "auto" and all(plain)):
        stream = StreamTransport(data.client, data.code, work, data.serving, columns)
        _attach(stream, data)
        if name == "stream" or stream.wait_until_open(seconds("gradcode.timeouts.connect")):
            return stream
        stream.close()
        logger.warning("No worker can be reached from here: messages travel as tasks.")
    fit = f"{data.uid}-{next(_fits)}"
    tasks = TaskTransport(data.client, fit, data.code, work, columns)
    _attach(tasks, data)
    return tasks


def _attach(transport: Transport, data: Placement) -> None:
    for role, shard in data.shards.copy().items():
        transport.attach(role, shard, data.addresses[role])


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
        self._lost: dict[int, str] = {}
        self._recent: dict[int, tuple[Round, RoundRecord]] = {}
        self._transport = open_transport(transport, data, work)
        logger.info("%r: messages travel as %s", data, self._transport.name)

    @property
    def transport(self) -> str:
        """The transport in use."""
        return self._transport.name

    def __enter__(self) -> ClusterObjective:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything on the workers but the placed data."""
        self._transport.close()

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
        data = self._data
        data.check_open()
        round_ = Round(self._n_rounds, data.code, self._wait, time.monotonic(), data.block_rows)
        self._n_rounds += 1
        events: Sequence[Event] = ()
        now = round_.started
        step: Done | Wait | Ask | Stuck = Wait(self._wait.until(round_.started))
        for role, why in (self._lost | data.lost).items():
            step = round_.feed(Lost(role, why), round_.started)
        if not isinstance(step, Stuck):
            asks = {role: data.code.messages_of[role] for role in self._order()}
            self._transport.begin(round_.number, w, asks)
        patience = _Patience(data, round_)
        while not isinstance(step, Done):
            match step:
                case Stuck():
                    raise self._why_stuck(round_)
                case Ask(role, messages):
                    self._transport.ask(role, messages)
            events = self._transport.poll(patience.next_look(step, time.monotonic()))
            now = time.monotonic()
            for event in events:
                self._note(event, now)
            for event in events or patience.look(now):
                step = round_.feed(event, now)
            if not events:
                step = round_.feed(None, now)
        seen = evaluation(round_)
        self._recent[round_.number] = round_, seen.record
        self._recent.pop(round_.number - 64, None)
        for event in events:  # some may have come together with the last that was needed
            self._note(event, now)
        return seen

    def _order(self) -> list[int]:
        """Return the roles, first those whose answers came first and were used in the last round.

        Sending takes time: whoever is likely to be needed shall get ``w`` before whoever is not.
        """
        roles = sorted(self._data.shards)
        if self._n_rounds - 2 not in self._recent:
            return roles
        _, last = self._recent[self._n_rounds - 2]
        final = {role: self._data.code.messages_of[role][-1] for role in roles}
        return sorted(roles, key=lambda role: not last.used[final[role]])

    def _note(self, event: Event, now: float) -> None:
        """Remember what a transport's event means beyond the round that is running."""
        if isinstance(event, Lost):
            self._lost[event.role] = event.why
        elif isinstance(event, Arrived) and event.round in self._recent:
            round_, record = self._recent[event.round]
            if np.isnan(record.arrived_at[event.message]):
                record.arrived_at[event.message] = now - round_.started

    def _why_stuck(self, round_: Round) -> BaseException:
        data = self._data
        for role, error in round_.errors.items():
            if not isinstance(error, ConnectionError):
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


class _Patience:
    """Looks at heartbeats while a round waits, and gives up on frozen workers in the end."""

    def __init__(self, data: Placement, round_: Round) -> None:
        self._data, self._round = data, round_
        self._helpless_since: float | None = None

    def next_look(self, step: Any, now: float) -> float:
        until = step.until if isinstance(step, Wait) else None
        return LOOK_EVERY if until is None else max(0.0, min(LOOK_EVERY, until - now))

    def look(self, now: float) -> Sequence[Event]:
        """Return the losses to assume now, after nothing has come for a while."""
        round_, data = self._round, self._data
        if now - round_.started < 2 * LOOK_EVERY:
            return ()
        time_out = seconds("gradcode.timeouts.round")
        if now - round_.started > time_out:
            waited_for = {role: data.addresses[role] for role in round_.missing_roles()}
            raise TimeoutError(
                f"Round {round_.number} is not done after {time_out:.0f} s, although its "
                f"workers live (dask.config key gradcode.timeouts.round). Waiting for {waited_for}."
            )
        roles = [role for role in round_.missing_roles() if role not in round_.losses]
        gone, frozen = Liveness.of(data.client).absent(data.addresses[role] for role in roles)
        if gone:
            return self._losses(roles, gone)
        losses = self._losses(roles, frozen)
        possible = round_.arrived | round_.pending
        for loss in losses:
            held = list(data.code.messages_of[loss.role])
            possible[held] = round_.arrived[held]
        if round_.decodable:
            return losses  # there is a sum already, and none of these will better it
        if not losses or data.code.can_decode(possible):
            self._helpless_since = None
            return ()  # those that live are enough, they are only slow
        if self._helpless_since is None:
            self._helpless_since = now
            logger.warning("Round %d waits for %s", round_.number, [loss.why for loss in losses])
        limit = seconds("gradcode.timeouts.recover")
        return losses if now - self._helpless_since > limit else ()

    def _losses(self, roles: Sequence[int], absent: Mapping[str, str]) -> list[Lost]:
        where = {role: self._data.addresses[role] for role in roles}
        return [
            Lost(role, f"{address}: {absent[address]}")
            for role, address in where.items()
            if address in absent
        ]
