"""Whether one step of an account is right: the client computes it itself."""

from __future__ import annotations

from enum import Enum

import numpy as np

from dask_gradcode.kernels import never, one_blas_thread
from dask_gradcode.typing import Vector
from dask_gradcode.work.account import Account, ChunkedWork, Evidence, Exhibit, Step
from dask_gradcode.work.base import Work

__all__ = ["ROUNDING", "Finding", "compare", "first_parting", "is_close", "redo"]

ROUNDING = 1e-8
"""How far sums may differ, relative to their norm, that are computed with other kernels of BLAS."""


class Finding(Enum):
    """What has become of a step that was computed again."""

    EQUAL = "equal bit for bit"
    CLOSE = "equal within rounding"
    WRONG = "wrong"


def first_parting(one: Account, other: Account, *, bitwise: bool) -> int | None:
    """Return the first step after which two accounts differ, None if none does.

    Parameters
    ----------
    one, other : Account
        Of the same steps.
    bitwise : bool
        Whether both round alike, so that digests tell. If not, it is the first after which marks
        differ by more than rounding.
    """
    if bitwise:
        pairs = enumerate(zip(one.digests, other.digests, strict=True))
        return next((i for i, (a, b) in pairs if a != b), None)
    scale = np.maximum(one.marks[:, 0], other.marks[:, 0])
    apart = ~(np.abs(one.marks - other.marks).max(axis=1) <= ROUNDING * scale)  # NaN: apart
    return int(apart.argmax()) if apart.any() else None


def is_close(one: Vector, other: Vector, scale: float = 0.0) -> bool:
    """Say whether two vectors are equal within rounding; infinities and NaN where both have them.

    Parameters
    ----------
    one, other : ndarray of shape (n_entries,)
        The vectors.
    scale : float, default=0.0
        The norm of what they were computed from, if that is larger than theirs.
    """
    if one.size != other.size:
        return False
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return False
    a, b = one[finite], other[finite]
    with np.errstate(over="ignore", invalid="ignore"):
        largest = max(float(np.abs(a).max(initial=0.0)), scale)
        return bool(np.abs(a - b).max(initial=0.0) <= ROUNDING * largest)


def redo(
    evidence: Evidence, exhibit: Exhibit, step: Step, work: Work, w: Vector, coefficient: float
) -> Vector:
    """Compute one step, and return the state after it.

    Parameters
    ----------
    evidence : Evidence
        The state before it.
    exhibit : Exhibit
        Its rows.
    step : Step
        Which step.
    work : Work
        What is computed on each block.
    w : ndarray of shape (n_parameters,)
        The point, as the worker sees it.
    coefficient : float
        Of the block in the message.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.work import Block, as_work, pieces_of
    >>> from dask_gradcode.work.account import evidence_of, rows_of
    >>> code, work, w = Uncoded(1), as_work(Squared()), np.ones(1)
    >>> blocks = {0: Block(np.array([[1.0], [3.0]]), np.zeros(2))}
    >>> pieces = pieces_of(code, code.messages[0], blocks, work, w)
    >>> evidence, rows = evidence_of(pieces, 0), rows_of(pieces, 0)
    >>> found = redo(evidence, rows, Step(piece=0, block=0, part=0, rows=(0, 2)), work, w, 1.0)
    >>> compare(found, evidence)
    <Finding.EQUAL: 'equal bit for bit'>
    >>> evidence.after[0] += 1.0
    >>> compare(found, evidence)
    <Finding.WRONG: 'wrong'>
    """
    rows, parts = exhibit.rows, work.parts(exhibit.rows, w)
    if step.rows is None:
        alone = parts[step.part] if len(parts) > step.part else work
    else:
        start, stop = (row - exhibit.first for row in step.rows)
        rows = rows.loaded(slice(start, stop))
        assert isinstance(work, ChunkedWork)
        alone = work.on(None)
    state = evidence.before.copy()
    with one_blas_thread():
        alone.add(rows, w, coefficient, state, never)
    return state


def compare(state: Vector, evidence: Evidence) -> Finding:
    """Say what becomes of a step, given the state after it that was computed here."""
    if state.tobytes() == evidence.after.tobytes():
        return Finding.EQUAL
    scale = float(np.abs(evidence.before[np.isfinite(evidence.before)]).max(initial=0.0))
    return Finding.CLOSE if is_close(state, evidence.after, scale) else Finding.WRONG
