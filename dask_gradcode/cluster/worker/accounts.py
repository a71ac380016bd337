"""Tasks by which a worker tells how it came to a sum, and what rows it holds."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.delays import truthful
from dask_gradcode.cluster.worker.errors import harmless
from dask_gradcode.cluster.worker.message_task import read_job
from dask_gradcode.typing import Vector
from dask_gradcode.work import Piece, of_order, pieces_of
from dask_gradcode.work.account import (
    Account,
    Evidence,
    Exhibit,
    account_of,
    digests_of_rows,
    ends_of,
    evidence_of,
    rows_of,
)

__all__ = ["Copy", "Question", "look_through", "show", "show_ends", "show_rows", "tell"]

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Copy:
    """What a role holds.

    Parameters
    ----------
    how : str
        By which libraries and instructions its worker computes.
    digests : mapping of int to sequence of bytes
        By block, of its rows.
    """

    how: str
    digests: Mapping[int, Sequence[bytes]]


@dataclass(frozen=True)
class Question:
    """Which message a worker is asked about.

    Parameters
    ----------
    job : bytes
        Code and work, pickled.
    message, round : int
        Which message of which round.
    derivatives, n_points : int
        Their highest order, and at how many points.
    seed : int
        Of the vector of marks.
    """

    job: bytes
    message: int
    round: int
    derivatives: int
    n_points: int
    seed: int


def look_through(shard: Shard, job: bytes, describe: Callable[[], str]) -> Copy:
    """Return what a role holds, as the work of a fit sees it."""

    def look() -> Copy:
        blocks = shard.seen_by(read_job(job)[1])
        digests = {index: digests_of_rows(block) for index, block in blocks.items()}
        libc = " ".join(platform.libc_ver())  # some functions of NumPy's are its
        return Copy(f"{describe()}, {libc}, {platform.machine()}", digests)

    return _harmlessly(look)


def tell(shard: Shard, question: Question, w: Vector) -> Account:
    """Compute a message again, and return how."""
    return _harmlessly(lambda: account_of(_pieces(shard, question, w), question.seed))


def show(shard: Shard, question: Question, w: Vector, number: int) -> Evidence:
    """Return one step of that."""
    return _harmlessly(lambda: evidence_of(_pieces(shard, question, w), number))


def show_rows(shard: Shard, question: Question, w: Vector, number: int) -> Exhibit:
    """Return the rows of that step."""
    return _harmlessly(lambda: rows_of(_pieces(shard, question, w), number))


def show_ends(shard: Shard, question: Question, w: Vector) -> list[Vector]:
    """Return what each piece of the message comes to."""
    return _harmlessly(lambda: ends_of(_pieces(shard, question, w)))


def _pieces(shard: Shard, question: Question, w: Vector) -> Sequence[Piece]:
    code, works = read_job(question.job)
    work = of_order(works, question.derivatives, question.n_points)
    message = code.messages[question.message]
    pieces = pieces_of(code, message, shard.seen_by(work), work, w)
    return truthful(pieces, shard.role, question.round)


def _harmlessly(compute: Callable[[], _Told]) -> _Told:
    try:
        return compute()
    except BaseException as error:  # SystemExit would end the worker, for one
        told = harmless(error)
    raise told
