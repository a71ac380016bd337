"""Wrong sums on real workers, as faulty processors send them: for tests and experiments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Piece, Work
from dask_gradcode.work.account import ChunkedWork

__all__ = ["KINDS", "Lies", "Lying", "falsified"]

KINDS = ("random", "sign", "chunk", "copy")

_Alter = Callable[[Vector], None]


@dataclass(frozen=True)
class Lies:
    """Makes workers compute wrong sums, which nothing but another worker's sum shows to be wrong.

    For :func:`~dask_gradcode.cluster.inject`. A worker lies in the same way when it is asked how it
    came to what it has sent.

    Parameters
    ----------
    kind : {"random", "sign", "chunk", "copy"}
        ``"random"``: random numbers, as large as the sums, are added. ``"sign"``: the sum has the
        wrong sign. ``"chunk"``: one entry is wrong after one chunk of rows, by a thousandth.
        ``"copy"``: the sums are those of wrong rows, in one block.
    workers : sequence of int
        The code workers that lie, by their number.
    from_round : int, default=0
        The first round with a lie.
    together : bool, default=False
        Whether all tell the same lie, so that workers that hold the same rows agree.
    seed : int, default=0
        Of random numbers.

    Raises
    ------
    ValueError
        If the kind is unknown, or a number is none.

    Examples
    --------
    >>> Lies("sign", workers=[1])
    Lies(kind='sign', workers=(1,), from_round=0, together=False, seed=0)
    """

    kind: str
    workers: Sequence[int]
    from_round: int = 0
    together: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Lies needs one of the kinds {', '.join(KINDS)}, got {self.kind!r}.")
        workers = self.workers if isinstance(self.workers, Iterable) else ()
        numbers = [*workers, self.from_round, self.seed]
        if not workers or not all(isinstance(i, Integral) and i >= 0 for i in numbers):
            raise ValueError(
                "Lies needs whole numbers from 0 as workers (one or more, in a list), from_round "
                f"and seed, got workers={self.workers!r}, from_round={self.from_round!r}, "
                f"seed={self.seed!r}."
            )
        object.__setattr__(self, "workers", tuple(map(int, self.workers)))


class Lying:
    """Lies on one worker, for as long as they are to last."""

    def __init__(self, lies: Lies) -> None:
        self.lies, self._over = lies, threading.Event()

    def end(self) -> None:
        """Be truthful from now on; from any thread."""
        self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether they have ended."""
        return self._over.is_set()

    def wait(self) -> None:
        """Wait for the end."""
        self._over.wait()


def falsified(lies: Lies, pieces: Sequence[Piece], role: int, round: int) -> Sequence[Piece]:
    """Return the pieces of a message as a role computes them that may lie.

    Parameters
    ----------
    lies : Lies
        Which workers lie, and how.
    pieces : sequence of Piece
        From ``pieces_of``.
    role : int
        The role.
    round : int
        The round's number.
    """
    if role not in lies.workers or round < lies.from_round or not pieces:
        return pieces
    first, *others = pieces
    if lies.kind == "copy":
        return [first._replace(sums=_of_wrong_rows(first.sums)), *others]
    rng = np.random.default_rng((lies.seed, round, 0 if lies.together else role + 1))
    alter = {"random": _random(rng), "sign": _flip, "chunk": _nudge(rng)}[lies.kind]
    if lies.kind == "chunk":
        index, block, coefficient, work = first.sums[0]
        chunks = _chunks(work, block, first.w)
        where = chunks[len(chunks) // 2] if chunks else None
        one = index, block, coefficient, _Altered(work, alter, where)
        return [first._replace(sums=[one, *first.sums[1:]]), *others]
    return [_altered_at_the_end(piece, alter) for piece in pieces]


def _altered_at_the_end(piece: Piece, alter: _Alter) -> Piece:
    *before, (index, block, coefficient, work) = piece.sums
    last = [None, *_chunks(work, block, piece.w)][-1]
    return piece._replace(sums=[*before, (index, block, coefficient, _Altered(work, alter, last))])


def _of_wrong_rows(sums: Any) -> Any:
    (index, block, coefficient, work), *others = sums
    block = block.loaded(slice(0, block.n_rows))
    return [
        (index, Block(block.X * 1.001, block.y, block.sample_weight), coefficient, work),
        *others,
    ]


def _random(rng: np.random.Generator) -> _Alter:
    seed = int(rng.integers(2**32))

    def alter(out: Vector) -> None:
        noise = np.random.default_rng(seed).standard_normal(out.size)
        out += noise * max(float(np.abs(out).max(initial=0.0)), 1.0)

    return alter


def _flip(out: Vector) -> None:
    np.negative(out, out=out)


def _nudge(rng: np.random.Generator) -> _Alter:
    draw = float(rng.random())

    def alter(out: Vector) -> None:
        largest = max(float(np.abs(out).max(initial=0.0)), 1.0)
        out[int(draw * out.size)] += largest * 1e-3 * (1.0 + draw)

    return alter


def _chunks(work: Work, block: Block, w: Vector) -> Sequence[slice | None]:
    return work.chunks(block, w) if isinstance(work, ChunkedWork) else [None]


@dataclass(frozen=True, eq=False)
class _Altered(ChunkedWork):
    """A work that computes as another does, but for what is altered after one of its chunks."""

    work: Work
    alter: _Alter
    after: slice | None  # which chunk; None: all of them

    def statistic(self, w: Vector) -> Statistic:
        return self.work.statistic(w)

    @property
    def per_column(self) -> int | None:
        return self.work.per_column

    @property
    def is_foreign(self) -> bool:
        return self.work.is_foreign

    def chunks(self, block: Block, w: Vector) -> Sequence[slice | None]:
        return [None] if self.after is None else _chunks(self.work, block, w)

    def on(self, rows: slice | None) -> Work:
        assert isinstance(self.work, ChunkedWork)
        alone = self.work.on(rows)
        return _Altered(alone, self.alter, None) if rows == self.after else alone

    def add(
        self,
        block: Block,
        w: Vector,
        coefficient: float,
        out: Vector,
        should_stop: Callable[[], bool],
    ) -> bool:
        if self.after is None:
            done = self.work.add(block, w, coefficient, out, should_stop)
            if done:
                self.alter(out)
            return done
        whole = (block, w, coefficient, out, should_stop)
        return all(self.on(rows).add(*whole) for rows in self.chunks(block, w))
