"""A question to each of some workers; a worker that does not answer in time is left out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from distributed import Client

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.mailbox import Letter, Mailbox

__all__ = ["survey"]

Answer = TypeVar("Answer")


def survey(
    client: Client, addresses: Sequence[str], question: Callable[..., Answer], *arguments: Any
) -> dict[str, Answer]:
    """Return what a function says on each of some workers, by worker, in their order.

    Workers that do not answer for ``gradcode.timeouts.workers``, or by an error, are left out.

    Parameters
    ----------
    client : distributed.Client
        The client.
    addresses : sequence of str
        The workers.
    question : callable
        Runs as a task on each of them.
    *arguments : object
        What it is called with.
    """
    uid = uuid.uuid4().hex[:12]
    futures = {
        address: client.submit(
            question,
            *arguments,
            key=task_key("survey", uid, index),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        for index, address in enumerate(addresses)
    }
    mailbox, letters = Mailbox(client), dict[str, Letter]()
    mailbox.expect(futures)
    end = time.monotonic() + max(0.1, seconds("gradcode.timeouts.workers"))
    try:
        while len(letters) < len(futures) and (left := end - time.monotonic()) > 0.0:
            letters |= {letter.ticket: letter for letter in mailbox.take(left)}
    finally:
        mailbox.close()
        for future in futures.values():
            future.release()
    answered = [a for a in addresses if a in letters and letters[a].error is None]
    return {address: letters[address].result for address in answered}
