"""How a worker came to a sum: step by step, so that one step is enough to judge it.

A message is computed in *pieces*, each an array to which its rows are added chunk after chunk. A
*step* is one such chunk. Workers that compute the same rows at the same point have the same states
in between. If two do not, one has made a mistake in the first step after which they differ. To
find it takes their digests, and to see which one has made it that step alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from scipy.sparse import issparse

from dask_gradcode.kernels import never, one_blas_thread
from dask_gradcode.typing import Matrix, Vector
from dask_gradcode.work.base import Block, Work
from dask_gradcode.work.pairs import Pairs
from dask_gradcode.work.payload import Piece

__all__ = [
    "ROWS_OF_DIGEST",
    "Account",
    "ChunkedWork",
    "Evidence",
    "Exhibit",
    "Step",
    "account_of",
    "digest_of",
    "digests_of_rows",
    "ends_of",
    "evidence_of",
    "rows_of",
    "sum_of_ends",
]

ROWS_OF_DIGEST = 256
"""Rows that share a digest: a chunk is checked with its neighbours that share one."""


@runtime_checkable
class ChunkedWork(Work, Protocol):
    """Work that goes through the rows of a block in chunks, each of which can be done alone."""

    @abstractmethod
    def chunks(self, block: Block, w: Vector) -> Sequence[slice | None]:
        """Return the chunks, in order; None is all rows in one."""

    @abstractmethod
    def on(self, rows: slice | None) -> Work:
        """Return the work on some rows of a block only; None: on all."""


class Step(NamedTuple):
    """One chunk of rows that is added to one piece of a message.

    Parameters
    ----------
    piece : int
        Which piece.
    block, part : int
        Which block, and which of the works that it has.
    rows : tuple of int or None
        The first of the rows and the one after the last; None if the work does not say which.
    """

    piece: int
    block: int
    part: int
    rows: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Account:
    """How a worker says that it has come to a payload.

    Parameters
    ----------
    steps : sequence of Step
        What it added, in order.
    digests : sequence of bytes
        Of the state of the piece after each step.
    marks : ndarray of shape (n_steps, 2)
        The norm of that state, and its product with a vector of which the asker has said how it is
        drawn: for workers that do not round alike.
    payload : bytes
        The digest of all pieces' sum.
    """

    steps: Sequence[Step]
    digests: Sequence[bytes]
    marks: Matrix
    payload: bytes


@dataclass(frozen=True, eq=False)
class Evidence:
    """One step of an account, to be judged.

    Parameters
    ----------
    before, after : ndarray of shape (n_entries,)
        The state of the piece.
    """

    before: Vector
    after: Vector

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return int(self.before.nbytes + self.after.nbytes)


@dataclass(frozen=True, eq=False)
class Exhibit:
    """The rows of a step, and the rows that share digests with them.

    Parameters
    ----------
    rows : Block
        The rows.
    first : int
        The number of the first of them in its block.
    """

    rows: Block
    first: int


def account_of(pieces: Sequence[Piece], seed: int) -> Account:
    """Compute a message, and return how.

    Parameters
    ----------
    pieces : sequence of Piece
        From :func:`pieces_of`.
    seed : int
        Of the vector of the marks.

    Examples
    --------
    Two hold the same rows, but for one, and differ after the second of two blocks:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.work import as_work, pieces_of
    >>> code, work, w = FractionalRepetition(2, 1), as_work(Squared()), np.ones(1)
    >>> X, y = np.array([[1.0], [3.0]]), np.zeros(2)
    >>> def told(last):
    ...     blocks = {0: Block(X, y), 1: Block(np.array([[2.0], [last]]), y)}
    ...     return account_of(pieces_of(code, code.messages[0], blocks, work, w), seed=0)
    >>> one, other = told(4.0), told(4.5)
    >>> one.steps
    [Step(piece=0, block=0, part=0, rows=(0, 2)), Step(piece=0, block=1, part=0, rows=(0, 2))]
    >>> [a == b for a, b in zip(one.digests, other.digests)]
    [True, False]
    """
    steps, digests, marks, ends = list[Step](), list[bytes](), list[Any](), dict[int, Vector]()
    probe = np.random.default_rng(seed).standard_normal(pieces[0].size)
    for step, state in _states(pieces):
        steps.append(step)
        digests.append(digest_of(state))
        marks.append((np.linalg.norm(state), probe @ state))
        ends[step.piece] = state
    total = sum_of_ends([ends.get(i, np.zeros(p.size)) for i, p in enumerate(pieces)])
    return Account(steps, digests, np.reshape(marks, (len(marks), 2)), digest_of(total))


def ends_of(pieces: Sequence[Piece]) -> list[Vector]:
    """Return what each piece of a message comes to."""
    ends = [np.zeros(piece.size) for piece in pieces]
    for step, state in _states(pieces):
        ends[step.piece] = state
    return ends


def sum_of_ends(ends: Sequence[Vector]) -> Vector:
    """Add up what the pieces of a message come to, as all do: in pairs; the bits are the same."""
    pairs, total = Pairs(len(ends)), None
    for place, end in enumerate(ends):
        total = pairs.put(place, end.copy())
    assert total is not None
    return total


def evidence_of(pieces: Sequence[Piece], number: int) -> Evidence:
    """Return one step of the account of a message.

    Parameters
    ----------
    pieces : sequence of Piece
        The pieces of the account.
    number : int
        Which of its steps.
    """
    piece, before = -1, np.zeros(0)
    for place, (step, state) in enumerate(_states(pieces)):
        if step.piece != piece:
            piece, before = step.piece, np.zeros(pieces[step.piece].size)
        if place == number:
            break
        if place == number - 1:
            before = state.copy()
    return Evidence(before, state.copy())


def rows_of(pieces: Sequence[Piece], number: int) -> Exhibit:
    """Return the rows of one step of the account of a message.

    Parameters
    ----------
    pieces : sequence of Piece
        The pieces of the account.
    number : int
        Which of its steps.
    """
    step = next(step for i, (step, _, _) in enumerate(_walk(pieces)) if i == number)
    block = next(one for i, one, _, _ in pieces[step.piece].sums if i == step.block)
    first, last = 0, block.n_rows
    if step.rows is not None:
        first = step.rows[0] // ROWS_OF_DIGEST * ROWS_OF_DIGEST
        last = min(-(-step.rows[1] // ROWS_OF_DIGEST) * ROWS_OF_DIGEST, last)
    return Exhibit(block.loaded(slice(first, last)), first)


def _walk(pieces: Sequence[Piece]) -> Iterator[tuple[Step, Piece, tuple[Block, float, Work]]]:
    seen: Counter[int] = Counter()
    for number, piece in enumerate(pieces):
        for index, block, coefficient, work in piece.sums:
            part = seen[index]
            seen[index] += 1
            if not isinstance(work, ChunkedWork):
                whole = block.loaded() if work.is_foreign else block
                yield Step(number, index, part, None), piece, (whole, coefficient, work)
                continue
            for rows in work.chunks(block, piece.w):
                which = None if rows is None else (rows.start, rows.stop)
                one = block, coefficient, work.on(rows) if rows is not None else work
                yield Step(number, index, part, which), piece, one


def _states(pieces: Sequence[Piece]) -> Iterator[tuple[Step, Vector]]:
    """Compute step by step; each state is written to in the steps that follow in its piece."""
    now, state = -1, np.zeros(0)
    with one_blas_thread():
        for step, piece, (block, coefficient, work) in _walk(pieces):
            if step.piece != now:
                now, state = step.piece, np.zeros(piece.size)
            work.add(block, piece.w, coefficient, state, never)
            yield step, state


def digest_of(*arrays: Any) -> bytes:
    """Return 16 bytes that differ if any bit of the arrays does."""
    digest = blake2b(digest_size=16)
    for array in arrays:
        whole = np.ascontiguousarray(array)
        digest.update(repr((whole.dtype.str, whole.shape)).encode())
        digest.update(whole.data.cast("B") if whole.size else b"")
    return digest.digest()


def digests_of_rows(block: Block) -> list[bytes]:
    """Return the digests of a block's rows, of each :data:`ROWS_OF_DIGEST` of them.

    Parameters
    ----------
    block : Block
        The rows.

    Examples
    --------
    >>> whole = Block(np.ones((3000, 2)), np.arange(3000))
    >>> some = digests_of_rows(whole.loaded(slice(1024, 3000)))
    >>> len(some), some == digests_of_rows(whole)[4:]
    (8, True)
    """
    found = []
    for start in range(0, block.n_rows, ROWS_OF_DIGEST):
        some = block.loaded(slice(start, min(start + ROWS_OF_DIGEST, block.n_rows)))
        X, weight = some.X, some.sample_weight
        features: tuple[Any, ...] = (X,)
        if issparse(X):
            features = X.indptr.astype(np.int64), X.indices.astype(np.int64), X.data
        found.append(digest_of(*features, some.y, *(() if weight is None else (weight,))))
    return found
