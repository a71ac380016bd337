"""What is in a chunk of rows, and how rows are cut into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import scipy.sparse

from dask_gradcode.checks import as_rows
from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.codes import GradientCode
from dask_gradcode.fingerprint import Moments, project
from dask_gradcode.kernels import are_ones
from dask_gradcode.targets import TargetFacts, describe_targets

__all__ = [
    "Piece",
    "XFacts",
    "balance",
    "cut",
    "describe_X",
    "describe_y",
    "held_nbytes",
    "nbytes_of",
    "pieces",
    "runs",
]

_PROFILE = 64  # parts of a chunk whose stored values are counted


@dataclass(frozen=True)
class XFacts:
    """What a chunk of X holds; ``problem`` is an error if it cannot be used.

    ``nbytes`` are the bytes that its rows take on a worker, ``of_ones`` how many of these are of
    stored values that are all one, which need not be held. ``stored`` is how many values a sparse
    chunk stores up to each of ``cut(n_rows, ...)``'s rows: enough to balance blocks, and small
    however many rows there are. By ``moments`` the rows are known again.
    """

    n_rows: int
    n_features: int
    nbytes: int
    problem: Exception | None = None
    stored: tuple[int, ...] | None = None
    moments: Moments = field(default_factory=Moments)
    of_ones: int = 0

    @property
    def n_values(self) -> int:
        """How many values are stored."""
        return self.n_rows * self.n_features if self.stored is None else self.stored[-1]


def describe_X(expected: Expected, chunk: Any, estimator: str) -> XFacts:
    """Check a chunk of X where it is."""
    chunk = expected.rows(chunk)
    try:
        checked = as_rows(chunk, estimator, ensure_min_samples=0, ensure_all_finite=False)
        numbers = project(checked)
        if not np.isfinite(numbers).all():  # as they are if all of X is: one pass, not two
            as_rows(checked, estimator, ensure_min_samples=0)
        n_rows, n_features = checked.shape
        stored = None
        if scipy.sparse.issparse(checked):
            stored = tuple(checked.indptr[cut(n_rows, _PROFILE)].tolist())
        nbytes, of_ones = nbytes_of(checked)
        moments = Moments.of(numbers)
        facts = XFacts(n_rows, n_features, nbytes, stored=stored, moments=moments)
        return replace(facts, of_ones=of_ones)
    except (ValueError, TypeError) as error:
        return XFacts(0, 0, 0, problem=_plain(error))


def describe_y(y: Any, sample_weight: Any, estimator: str) -> TargetFacts:
    """Check a chunk of y and its weights where they are."""
    try:
        return describe_targets(y, sample_weight, estimator)
    except (ValueError, TypeError) as error:
        return TargetFacts(problem=_plain(error))


def nbytes_of(X: Any) -> tuple[int, int]:
    """Return the bytes that rows take on a worker, and how many are of values that are all one.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
        Rows of any dtype: workers hold float32 and float64, and short indices.

    Examples
    --------
    >>> nbytes_of(np.ones((10, 3))), nbytes_of(scipy.sparse.csr_array(np.eye(10)))
    ((240, 0), (208, 80))
    """
    item = 4 if X.dtype == np.float32 else 8
    if not scipy.sparse.issparse(X):
        return X.size * item, 0
    of_index = 4 if max(X.nnz, X.shape[1]) < 2**31 else 8
    of_values = X.nnz * item
    nbytes = of_values + X.nnz * of_index + (X.shape[0] + 1) * 8
    return nbytes, of_values if are_ones(X.data) else 0


def held_nbytes(chunks: Sequence[XFacts]) -> int:
    """Return the bytes that all chunks take on workers.

    Values that are all one are not held, unless others lie in the same rows of a role: that is
    known once all are placed, so here they count as soon as there are others anywhere.
    """
    bare = all(chunk.of_ones or not chunk.n_values for chunk in chunks)
    return sum(chunk.nbytes - (chunk.of_ones if bare else 0) for chunk in chunks)


def _plain(error: ValueError | TypeError) -> Exception:
    """Return an error of the same kind as scikit-learn has, without traceback and subclass."""
    return (TypeError if isinstance(error, TypeError) else ValueError)(str(error))


# ---------------------------------------------------------------- cutting


def cut(n_rows: int, n_parts: int) -> list[int]:
    """Return the borders of ``n_parts`` parts of near-equal size.

    Examples
    --------
    >>> cut(10, 3)
    [0, 3, 6, 10]
    """
    return [n_rows * part // n_parts for part in range(n_parts + 1)]


def balance(chunks: Sequence[XFacts], n_blocks: int) -> list[int]:
    """Return the borders of blocks of near-equal work, each of one row at the least.

    Work is rows where the chunks are dense, and values stored where they are sparse.

    Examples
    --------
    >>> balance([XFacts(10, 1, 80)], 2)
    [0, 5, 10]
    """
    n_rows = sum(chunk.n_rows for chunk in chunks)
    if any(chunk.stored is None for chunk in chunks if chunk.n_rows):
        return cut(n_rows, n_blocks)
    rows, work = [0], [0]
    for chunk in chunks:
        start, before = rows[-1], work[-1]
        rows += [start + row for row in cut(chunk.n_rows, _PROFILE)[1:]]
        # a row costs something, too, where it stores nothing
        done = zip(chunk.stored or (), cut(chunk.n_rows, _PROFILE), strict=True)
        work += [before + stored + row for stored, row in done][1:]
    shares = np.interp(np.linspace(0, work[-1], n_blocks + 1), work, rows)
    borders = np.rint(shares).astype(int).tolist()
    for block in range(1, n_blocks):
        borders[block] = max(borders[block - 1] + 1, min(borders[block], n_rows - n_blocks + block))
    return borders


def runs(code: GradientCode) -> list[range]:
    """Return which blocks lie side by side on the same workers, to which they go together.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
    >>> runs(CyclicRepetition(3, 1)), runs(FractionalRepetition(4, 1))
    ([range(0, 1), range(1, 2), range(2, 3)], [range(0, 2), range(2, 4)])
    """
    found = []
    for _, run in groupby(range(code.n_blocks), key=lambda block: code.holders[block]):
        blocks = list(run)
        found.append(range(blocks[0], blocks[-1] + 1))
    return found


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop`` of a source chunk."""

    chunk: int
    start: int
    stop: int


def pieces(lengths: Sequence[int], start: int, stop: int) -> list[Piece]:
    """Return where rows ``start`` to ``stop`` are in chunks of the given lengths.

    Examples
    --------
    >>> pieces([4, 0, 4], 2, 6)
    [Piece(chunk=0, start=2, stop=4), Piece(chunk=2, start=0, stop=2)]
    """
    found, offset = [], 0
    for chunk, length in enumerate(lengths):
        first, last = max(start - offset, 0), min(stop - offset, length)
        if first < last:
            found.append(Piece(chunk, first, last))
        offset += length
    return found
