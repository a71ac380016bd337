"""Transport ``tasks`` for codes whose workers send each other what they compute."""

from __future__ import annotations

from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.transport.tasks import TaskTransport, Ticket
from dask_gradcode.cluster.worker.exchange_task import ExchangeOrder, add_exchanged
from dask_gradcode.codes import CooperativeRepetition, Message
from dask_gradcode.rounds import Absent, Arrived, Event
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work import Exchanged, Work

__all__ = ["ExchangeTransport"]


class ExchangeTransport(TaskTransport):
    """Has a task compute each block where it lies, and one add up each message on its worker.

    The payloads of blocks stay on their workers until the next round, and Dask takes them from
    worker to worker. A message that waits for the block of a role that is lost is asked for anew,
    without that block.

    Parameters
    ----------
    client, fit, work, columns
        As for :class:`TaskTransport`.
    code : CooperativeRepetition
        Which messages there are.
    """

    def __init__(
        self,
        client: Client,
        fit: str,
        code: CooperativeRepetition,
        work: Work,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(client, fit, code, work, columns)
        self._cooperative = code
        self._parts: dict[int, Future[Any]] = {}  # what was computed in this round, by block

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        super().begin(round, w, order)
        self._release(list(self._parts))

    def detach(self, role: int) -> None:
        super().detach(role)
        gone = {block for block in self._cooperative.blocks_of(role) if block in self._parts}
        self._release(gone)
        for other, state in self._roles.items():
            waiting = [
                message
                for message, (ticket, _) in state.asked.items()
                if ticket.round == self._round
                and not gone.isdisjoint(self._cooperative.messages[message].blocks)
            ]
            for message in waiting:
                _, future = state.asked.pop(message)
                self._mailbox.drop(future)
            if waiting:
                self._submit(other, waiting)

    def close(self) -> None:
        self._release(list(self._parts))
        super().close()

    def _release(self, blocks: list[int] | set[int]) -> None:
        for block in blocks:
            self._parts.pop(block).release()

    def _send(self, ticket: Ticket) -> Future[Any]:
        code, state = self._cooperative, self._roles[ticket.role]
        message = code.messages[ticket.message]
        there = tuple(b for b in message.blocks if code.holders[b][0] in self._roles)
        transmission = code.transmission(ticket.message)
        order = ExchangeOrder(
            message, there, ticket.round, transmission, ticket.role, code.n_workers
        )
        future: Future[Any] = self._client.submit(
            add_exchanged,
            [self._part(block) for block in there],
            order,
            # one that is asked for anew is another task: the old one may not have ended yet
            key=task_key(
                "exchange",
                self._fit,
                ticket.round,
                next(self._attachments),
                ticket.role,
                ticket.message,
            ),
            workers=[state.address],
            allow_other_workers=False,
            pure=False,
        )
        state.asked[ticket.message] = ticket, future
        return future

    def _part(self, block: int) -> Future[Any]:
        """Return what the holder of a block computes on it; that stays where it is."""
        if block not in self._parts:
            [holder] = self._cooperative.holders[block]
            ticket = Ticket(self._round, holder, block)
            self._parts[block] = self._compute("sum", ticket, Message((block,), (1.0,)))
        return self._parts[block]

    def _answered(self, ticket: Ticket, result: Exchanged) -> Event:
        payload, blocks = result
        if blocks == ():
            return Absent(ticket.round, ticket.role, ticket.message)
        return Arrived(ticket.round, ticket.role, ticket.message, payload, blocks)
