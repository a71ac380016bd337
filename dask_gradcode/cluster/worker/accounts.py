"""Tasks by which a worker tells how it came to a sum, and what rows it holds."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.delays import truthful
from dask_gradcode.cluster.worker.errors import harmless
from dask_gradcode.cluster.worker.message_task import read_job
from dask_gradcode.cluster.worker.turns import turns
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Piece, Work, compute_message, of_order, pieces_of
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

__all__ = [
    "Copy",
    "Question",
    "compute_again",
    "look_through",
    "show",
    "show_ends",
    "show_rows",
    "tell",
]

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
    wide : bool, default=False
        Whether the point and what is computed are of all columns, not of those that a role sees.
    """

    job: bytes
    message: int
    round: int
    derivatives: int
    n_points: int
    seed: int
    wide: bool = False


def look_through(shard: Shard, job: bytes, describe: Callable[[], str], wide: bool = False) -> Copy:
    """Return what a role holds, as the work of a fit sees it."""

    def look() -> Copy:
        blocks = _seen(shard, read_job(job)[1], wide)
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


def compute_again(
    shard: Shard, question: Question, w: Vector, messages: Sequence[int]
) -> list[Vector]:
    """Return messages of a question's round, computed as they are sent; rounds come first."""

    def compute() -> list[Vector]:
        code, _ = read_job(question.job)
        found, give_way = [], turns.gives_way()
        for message in messages:
            payload = compute_message(
                code,
                message,
                lambda leaf: _pieces(shard, replace(question, message=leaf), w),
                give_way,
            )
            assert payload is not None  # nobody told it to stop
            found.append(payload)
        return found

    return _harmlessly(compute)


class _Widened(Mapping[int, Block]):
    """The blocks of a shard with all columns, each made when it is asked for."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def __getitem__(self, index: int) -> Block:
        return self._shard.widened(index)

    def __iter__(self) -> Iterator[int]:
        return iter(self._shard.blocks)

    def __len__(self) -> int:
        return len(self._shard.blocks)


def _seen(shard: Shard, work: Work, wide: bool) -> Mapping[int, Block]:
    return _Widened(shard) if wide else shard.seen_by(work)


def _pieces(shard: Shard, question: Question, w: Vector) -> Sequence[Piece]:
    code, works = read_job(question.job)
    work = of_order(works, question.derivatives, question.n_points)
    message = code.messages[question.message]
    pieces = pieces_of(code, message, _seen(shard, work, question.wide), work, w)
    return truthful(pieces, shard.role, question.round)


def _harmlessly(compute: Callable[[], _Told]) -> _Told:
    try:
        return compute()
    except BaseException as error:  # SystemExit would end the worker, for one
        told = harmless(error)
    raise told
