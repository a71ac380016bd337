"""The body of a message task, for the transport ``tasks``."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from distributed import get_worker

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.crews import crew_of_worker
from dask_gradcode.cluster.worker.delays import paced, truthful, upload
from dask_gradcode.cluster.worker.errors import harmless
from dask_gradcode.cluster.worker.released import Released
from dask_gradcode.cluster.worker.sending import of_all_columns, sent_of
from dask_gradcode.codes import GradientCode, Message, Slices
from dask_gradcode.typing import Vector
from dask_gradcode.work import Piece, Work, compute_message, of_order, pieces_of
from dask_gradcode.work.account import digest_of

__all__ = ["MessageOrder", "answer", "read_job"]


@dataclass(frozen=True)
class MessageOrder:
    """What one task shall compute. One object, since Dask would search a tuple for keys.

    Parameters
    ----------
    job : bytes
        Code and work, pickled.
    index : int
        Which message.
    message : Message or None
        What it is a sum of. None: the code makes its messages when they are asked for.
    derivatives : int
        Their highest order.
    n_points : int
        At how many points.
    is_sent : bool
        Whether the result travels: if not, it is the sum of which slices will be sent.
    """

    job: bytes
    index: int
    message: Message | None
    derivatives: int
    n_points: int
    is_sent: bool


def answer(shard: Shard, order: MessageOrder, w: Vector) -> Vector | None:
    """Compute a message on a worker; the body of a message task."""
    try:
        return _compute(shard, order, w)
    except BaseException as error:  # SystemExit would end the worker, for one
        told = harmless(error)
    raise told


def _compute(shard: Shard, order: MessageOrder, w: Vector) -> Vector | None:
    code, works = read_job(order.job)
    work = of_order(works, order.derivatives, order.n_points)
    stop = threading.Event()
    worker: Any = get_worker()
    fit, round_, _, role, _ = worker.get_current_task()

    blocks = shard.seen_by(work)

    def cut(leaf: int) -> Sequence[Piece]:
        message = code.messages[leaf] if order.message is None else order.message
        return truthful(pieces_of(code, message, blocks, work, w), role, round_)

    with Released.told(stop.set), crew_of_worker() as crew:
        payload = paced(
            lambda should_stop: compute_message(code, order.index, cut, should_stop, crew),
            stop.is_set,
            (fit, role),
            role,
            round_,
            code.n_workers,
        )
    if payload is None:
        return None
    if code.exchanges:  # other workers, which add it to others, have other columns
        return of_all_columns(payload, shard, work, w)
    if not order.is_sent:
        return payload
    if order.message is not None:
        payload = sent_of(order.message, payload, shard, work, w)
    upload(payload.nbytes)
    return payload


def slice_of_sum(whole: Vector | None, slices: Slices) -> Vector | None:
    """Return a slice of a sum that is on this worker; None if that was given up."""
    if whole is None:
        return None
    sent = slices.of(whole)
    upload(sent.nbytes)
    return sent


def digest_of_sum(whole: Vector | None) -> bytes | None:
    """Return the digest of a sum that is on this worker; None if that was given up."""
    return None if whole is None else digest_of(whole)


@lru_cache(maxsize=16)
def read_job(job: bytes) -> tuple[GradientCode, Work]:
    """Return the code and the work of a fit."""
    # Read here, not by Dask: a loss that cannot be imported on a worker is then an error of the
    # task. Dask would read it while it reads the scheduler's messages, and lose the connection.
    code, work = pickle.loads(job)
    return code, work
