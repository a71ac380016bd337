"""What of a sum travels: all of it, or slices."""

from __future__ import annotations

import numpy as np

from dask_gradcode.cluster.data.columns import entries_of
from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.codes import Message
from dask_gradcode.typing import Vector
from dask_gradcode.work import Work

__all__ = ["of_all_columns", "sent_of"]


def sent_of(message: Message, payload: Vector, shard: Shard, work: Work, w: Vector) -> Vector:
    """Return what a worker sends of a sum.

    Parameters
    ----------
    message : Message
        What is sent.
    payload : ndarray of shape (n_entries,)
        The sum, of the shard's columns.
    shard : Shard
        Says which these are.
    work : Work
        What was computed.
    w : ndarray of shape (n_parameters,)
        The point, of these columns.

    Returns
    -------
    ndarray
        A view of the payload where it is sent as it is. Several slices are added up in all
        columns, as other workers do that have others.
    """
    if not message.slices.is_plain:
        payload = of_all_columns(payload, shard, work, w)
    return message.slices.of(payload)


def of_all_columns(payload: Vector, shard: Shard, work: Work, w: Vector) -> Vector:
    """Return a sum of the shard's columns as one of all columns."""
    columns, width = shard.columns, work.per_column
    if columns is None or width is None:
        return payload
    n_slopes = shard.n_features * width
    n_parameters = w.size + n_slopes - columns.size * width
    statistic = work.statistic(np.zeros(n_parameters))
    whole = np.zeros(statistic.size)
    whole[entries_of(columns, n_slopes, width, statistic)] = payload
    return whole
