"""Many small chunks are taken together: a task for each would cost more than its work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import scipy.sparse

from dask_gradcode.cluster.data.chunk import Expected

__all__ = ["GROUPS", "SMALL", "group", "join_rows"]

GROUPS = 16
"""Into how many groups at least the chunks of a block are taken together."""

SMALL = 2**20
"""Bytes of a group that is not made any larger: copying more costs what it saves."""


def group(nbytes: Sequence[float], homes: Sequence[str | None], n_blocks: int) -> list[range]:
    """Return which chunks are taken together.

    Only such as lie side by side and are to be computed by the same worker.

    Parameters
    ----------
    nbytes : sequence of float
        Bytes of each chunk; NaN where that is not known: such a chunk stays alone.
    homes : sequence of str or None
        The worker that should compute each chunk.
    n_blocks : int
        Into how many blocks all rows will be cut.

    Returns
    -------
    list of range
        The chunks of each group, ascending; all of one chunk where there are few chunks.

    Examples
    --------
    >>> group([8.0] * 70, [None] * 70, n_blocks=1)[:2]
    [range(0, 5), range(5, 10)]
    >>> group([8.0, 8.0], [None, None], n_blocks=1)
    [range(0, 1), range(1, 2)]
    """
    most = -(-len(nbytes) // (GROUPS * n_blocks))
    found: list[range] = []
    for _, run in groupby(range(len(nbytes)), key=lambda chunk: homes[chunk]):
        start, size = None, 0.0
        for chunk in run:
            size += nbytes[chunk]
            if start is None or chunk - start == most or not size <= SMALL:
                found.append(range(chunk, chunk + 1))
                start, size = chunk, nbytes[chunk]
            else:
                found[-1] = range(start, chunk + 1)
    return found


def join_rows(expected: Sequence[Expected], *chunks: Any) -> Any:
    """Return one chunk of several that lie side by side.

    Parameters
    ----------
    expected : sequence of Expected
        What the array says of each chunk.
    *chunks
        Chunks of features, of targets or of weights.
    """
    if len(expected[0].shape) == 1:
        pairs = zip(expected, chunks, strict=True)
        return np.concatenate([said.column(chunk) for said, chunk in pairs])
    rows = [said.rows(chunk) for said, chunk in zip(expected, chunks, strict=True)]
    if any(map(scipy.sparse.issparse, rows)):
        return scipy.sparse.csr_array(scipy.sparse.vstack(rows, format="csr"))
    return np.concatenate(rows)
