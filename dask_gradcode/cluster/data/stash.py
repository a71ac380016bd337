"""Source chunks that wait on disk until they have been placed: memory is for the next ones."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from dask.sizeof import sizeof
from distributed import get_worker
from distributed.protocol.serialize import (
    dask_deserialize,
    dask_serialize,
    deserialize,
    serialize,
)

from dask_gradcode.cluster.data.disk import file_of_task
from dask_gradcode.cluster.data.stored import StoredRows
from dask_gradcode.cluster.data.written import write_rows
from dask_gradcode.kernels import folded, one_for_all, unfolded

__all__ = ["Stashed", "stash"]


@dataclass(frozen=True, eq=False)
class Stashed:
    """A chunk of rows on a worker's disk. On its way to another worker it becomes the rows."""

    rows: StoredRows


def stash(chunk: Any) -> Any:
    """Write a chunk to this worker's disk, if it is one of plain rows; any other stays as it is."""
    is_plain = isinstance(chunk, scipy.sparse.csr_array) or type(chunk) is np.ndarray
    if not is_plain or chunk.ndim != 2 or chunk.dtype.kind not in "fiub" or not chunk.shape[0]:
        return chunk
    part = write_rows(file_of_task(str(get_worker().get_current_task())), chunk).rows
    return Stashed(StoredRows([part], part.values.dtype))


@sizeof.register(Stashed)  # type: ignore[untyped-decorator]
def _sizeof(stashed: Stashed) -> int:
    """Return the bytes on disk: tasks shall come to the rows, and to spill them costs nothing."""
    return stashed.rows.nbytes


@dask_serialize.register(Stashed)  # type: ignore[untyped-decorator]
def _serialize(stashed: Stashed, context: Any = None) -> Any:
    if context is None:  # Dask spills it, and this process reads it back
        return {"spilled": True}, [pickle.dumps(stashed.rows)]
    rows = stashed.rows[:]
    if scipy.sparse.issparse(rows):
        rows = folded(one_for_all(rows))
    header, frames = serialize(rows, on_error="raise")
    return {"rows": header}, frames


@dask_deserialize.register(Stashed)  # type: ignore[untyped-decorator]
def _deserialize(header: Any, frames: Any) -> Any:
    if "spilled" in header:
        return Stashed(pickle.loads(frames[0]))
    return unfolded(deserialize(header["rows"], frames))
