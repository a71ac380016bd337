"""The body of a task that adds up what other workers have computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dask_gradcode.cluster.worker.delays import lossy_links, upload
from dask_gradcode.codes import Message
from dask_gradcode.typing import Vector
from dask_gradcode.work import Exchanged, exchanged_sum

__all__ = ["ExchangeOrder", "add_exchanged"]


@dataclass(frozen=True)
class ExchangeOrder:
    """What one task shall add up. One object, since Dask would search a tuple for keys.

    Parameters
    ----------
    message : Message
        The sum.
    blocks : tuple of int
        The blocks of which payloads are sent to the task; of others nothing can come.
    round, transmission, role, n_workers : int
        What links lose depends on these.
    """

    message: Message
    blocks: tuple[int, ...]
    round: int
    transmission: int
    role: int
    n_workers: int


def add_exchanged(parts: Sequence[Vector | None], order: ExchangeOrder) -> Exchanged | None:
    """Add up a message on a worker.

    Parameters
    ----------
    parts : sequence of ndarray or None
        The payloads of single blocks, from their workers; None of one that was given up.
    order : ExchangeOrder
        What is wanted.

    Returns
    -------
    Exchanged or None
        Without any block, if an injected link loses it on its way to the client, or nothing has
        come. None if it was given up.
    """
    received, uploaded = {}, bool(parts)
    which = order.round, order.transmission, order.n_workers
    there = np.ones(order.n_workers, dtype=bool)
    for links in lossy_links():
        there &= links.received(*which)[order.role]
        uploaded &= bool(links.uploaded(*which)[order.role])
    for block, part in zip(order.blocks, parts, strict=True):
        if part is None:
            return None
        if there[block]:  # a block is on the worker of its own number
            received[block] = part
    if not uploaded or not received:
        return Exchanged(np.zeros(0), ())
    sent = exchanged_sum(order.message, received)
    upload(sent.payload.nbytes)
    return sent
