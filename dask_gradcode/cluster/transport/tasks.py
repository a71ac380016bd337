"""Transport ``tasks``: one pinned Dask task per message, visible on the dashboard."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import Client, Future
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.client.config import large_arguments
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.mailbox import Letter, Mailbox, Vanished
from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.transport.passage import Passage
from dask_gradcode.cluster.worker.message_task import (
    MessageOrder,
    answer,
    digest_of_sum,
    slice_of_sum,
)
from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.codes.slices import WHOLE
from dask_gradcode.rounds import Announced, Arrived, Event, Failed, Lost
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Work

__all__ = ["TaskTransport", "Ticket"]

MAX_UNANSWERED = 4
"""Rounds a role may leave unanswered before it gets no new ``w`` until it answers an old one."""


@dataclass(frozen=True)
class Ticket:
    """What a task answers: a message of a role in a round."""

    round: int
    role: int
    message: int


@dataclass
class _Role:
    number: int  # of the attachment, in keys: tasks let go by an older one may not have ended yet
    shard: Future[Any]
    address: str
    asked: dict[int, tuple[Ticket, Future[Any]]] = field(default_factory=dict)  # by message
    unanswered: int = 0  # rounds in a row
    waiting: Sequence[int] = ()  # what of the current round is to be asked once it answers
    # what stays on the worker as more slices of it may be asked for, by round and blocks
    sums: dict[tuple[int, tuple[int, ...]], Future[Any]] = field(default_factory=dict)

    def release(self) -> None:
        """Let go of the sums, once the slices that were asked for have been made."""
        for future in self.sums.values():
            future.release()
        self.sums.clear()


class TaskTransport:
    """Sends ``w`` as an argument of one pinned task per message.

    Tasks of an older round are released once their role is asked for something newer, so that no
    queue grows on a slow worker, and a task that is running gives up at the next chunk of rows. A
    sum of which slices or the digest are sent is a task of its own, whose result stays on the
    worker. To a worker that stays silent, such as a frozen one, the scheduler would have to keep
    every ``w`` ever sent; so after ``MAX_UNANSWERED`` such rounds the last task is left with it,
    and it rejoins when it has answered that.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client.
    fit : str
        Distinguishes the keys of this transport's tasks from all others.
    code : GradientCode
        Which messages there are.
    work : Work
        What to compute on each block.
    columns : Columns, optional
        Which columns each role sees. None: ``w`` and messages travel whole.
    """

    name = "tasks"

    def __init__(
        self,
        client: Client,
        fit: str,
        code: GradientCode,
        work: Work,
        columns: Columns | None = None,
    ) -> None:
        self._client, self._fit, self._code, self._work = client, fit, code, work
        self._job = dumps((code, work))  # once, not with every message
        self._mailbox = Mailbox(client)
        self._liveness = Liveness.of(client)
        self._roles: dict[int, _Role] = {}
        self._attachments = itertools.count()
        self._passage = Passage(work, columns)

    def prepare(self, role: int, shard: Future[Any], address: str) -> bool:
        return True  # there is nothing to be opened

    def attach(self, role: int, shard: Future[Any], address: str) -> None:
        self._roles[role] = _Role(next(self._attachments), shard, address)
        self._liveness.watch(address, self._on_death)

    def detach(self, role: int) -> None:
        state = self._roles.pop(role)
        self._drop(state)
        if all(other.address != state.address for other in self._roles.values()):
            self._liveness.unwatch(state.address, self._on_death)

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        self._passage.begin(round, w, order)
        for state in self._roles.values():
            state.waiting = ()
            state.release()

    def ask(self, role: int, messages: Sequence[int]) -> None:
        self._ask(role, messages)

    def announce(self, role: int, messages: Sequence[int]) -> None:
        self._ask(role, [~message for message in messages])

    def _ask(self, role: int, messages: Sequence[int]) -> None:
        state = self._roles.get(role)
        if state is None:
            return
        if not state.waiting and any(t.round != self._round for t, _ in state.asked.values()):
            state.unanswered += 1
            if state.unanswered < MAX_UNANSWERED:
                self._drop(state)
        if any(ticket.round != self._round for ticket, _ in state.asked.values()):
            state.waiting = (*state.waiting, *messages)
        else:
            self._submit(role, messages)

    def yield_(self, role: int) -> None:
        """Do nothing: a task cannot be told to send a part of its message."""

    def drop(self, role: int, messages: Sequence[int]) -> None:
        state = self._roles.get(role)
        if state is None:
            return
        state.waiting = tuple(i for i in state.waiting if max(i, ~i) not in messages)
        for message in state.asked.keys() & set(messages):
            ticket, future = state.asked[message]
            if ticket.round == self._round:
                del state.asked[message]
                self._mailbox.drop(future)

    def withheld(self) -> Collection[int]:
        return [role for role, state in self._roles.items() if state.waiting]

    def in_tasks(self) -> Collection[int]:
        return self._roles.keys()

    def poll(self, timeout: float | None) -> Sequence[Event]:
        events: list[Event] = []
        for letter in self._mailbox.take(timeout):
            if isinstance(letter, Letter):
                events += self._open(letter)
            elif isinstance(letter, str):
                events += self._lost(letter)
        return events

    def close(self) -> None:
        for role in list(self._roles):
            self.detach(role)
        self._mailbox.close()

    # ---- in the caller's thread

    @property
    def _round(self) -> int:
        return self._passage.round

    def _submit(self, role: int, asks: Sequence[int]) -> None:
        """Submit what is asked of a role: a message, or the digest of message ``i`` by ``~i``."""
        futures = {}
        with large_arguments():
            for ask in asks:
                ticket = Ticket(self._round, role, max(ask, ~ask))
                futures[ticket] = self._send(ticket) if ask >= 0 else self._announce(ticket)
            self._mailbox.expect(futures)

    def _send(self, ticket: Ticket) -> Future[Any]:
        state, message = self._roles[ticket.role], self._code.messages[ticket.message]
        is_kept = (ticket.round, message.blocks) in state.sums
        if (message.slices.is_whole and not is_kept) or not message.slices.is_plain:
            future = self._compute("message", ticket, message)
        else:
            args = self._sum(ticket), message.slices
            future = self._task("message", ticket, slice_of_sum, *args)
        state.asked[ticket.message] = ticket, future
        return future

    def _announce(self, ticket: Ticket) -> Future[Any]:
        future = self._task("digest", ticket, digest_of_sum, self._sum(ticket))
        self._roles[ticket.role].asked[ticket.message] = ticket, future
        return future

    def _sum(self, ticket: Ticket) -> Future[Any]:
        """Return the sum that a message is sent of, which stays on the worker for the round."""
        sums, message = self._roles[ticket.role].sums, self._code.messages[ticket.message]
        which = ticket.round, message.blocks
        if which not in sums:
            sums[which] = self._compute("sum", ticket, replace(message, slices=WHOLE))
        return sums[which]

    def _compute(self, what: str, ticket: Ticket, message: Message) -> Future[Any]:
        """Have a role compute a message."""
        shard, passage = self._roles[ticket.role].shard, self._passage
        sent = None if self._code.children(ticket.message) else message
        order = MessageOrder(
            self._job, ticket.message, sent, passage.order, passage.n_points, what == "message"
        )
        return self._task(what, ticket, answer, shard, order, passage.part(ticket.role))

    def _task(self, what: str, ticket: Ticket, function: Any, *args: Any) -> Future[Any]:
        """Submit a task to the worker of a role."""
        state = self._roles[ticket.role]
        which = ticket.round, state.number, ticket.role, ticket.message
        future: Future[Any] = self._client.submit(
            function,
            *args,
            key=task_key(what, self._fit, *which),
            workers=[state.address],
            allow_other_workers=False,
            pure=False,
        )
        return future

    def _drop(self, state: _Role) -> None:
        for _, future in state.asked.values():
            self._mailbox.drop(future)
        state.asked.clear()
        state.release()

    def _open(self, letter: Letter) -> list[Event]:
        ticket = letter.ticket
        assert isinstance(ticket, Ticket)
        state = self._roles.get(ticket.role)
        if state is None or state.asked.get(ticket.message, (None,))[0] != ticket:
            return []
        _, future = state.asked.pop(ticket.message)
        future.release()
        state.unanswered = 0
        if not state.asked and state.waiting:
            waiting, state.waiting = state.waiting, ()
            self._submit(ticket.role, waiting)
        if isinstance(letter.error, Vanished):  # not the work's: it may be asked anew
            self.detach(ticket.role)
            return [Lost(ticket.role, f"{state.address}: {letter.error}")]
        if letter.error is not None:
            return [Failed(ticket.round, ticket.role, ticket.message, letter.error)]
        if letter.result is None:  # it gave up stale work
            return []
        return [self._answered(ticket, letter.result)]

    def _answered(self, ticket: Ticket, result: Any) -> Event:
        """Return what the result of a message's task is to a round."""
        if isinstance(result, bytes):
            return Announced(ticket.round, ticket.role, ticket.message, result)
        slices = self._code.messages[ticket.message].slices
        payload = self._passage.received(ticket.round, ticket.role, result, slices)
        return Arrived(ticket.round, ticket.role, ticket.message, payload)

    def _lost(self, address: str) -> list[Event]:
        gone = [role for role, state in self._roles.items() if state.address == address]
        for role in gone:
            # At once: for a task that can never run Dask would rebuild its blocks elsewhere.
            self.detach(role)
        return [Lost(role, f"{address}: it left the cluster") for role in gone]

    def _on_death(self, address: str, why: str) -> None:
        self._mailbox.put(address)  # on the client's loop: the caller's thread does the rest
