"""How many points share a round."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.typing import Matrix

__all__ = ["MOST_BYTES", "batches"]

MOST_BYTES = 2**25
"""Of the points of a round, and so about of a message: enough for a product of matrices to be at
its best, little beside the data, and little enough that no message blocks a connection for long."""


def batches(W: ArrayLike, most_bytes: int = MOST_BYTES) -> list[Matrix]:
    """Return points in as few batches as there may be, which differ by one point at most.

    Parameters
    ----------
    W : array-like of shape (n_points, n_parameters)
        The points; copied.
    most_bytes : int, default=MOST_BYTES
        Of a batch, unless that is a single point.

    Raises
    ------
    ValueError
        If it has another shape.

    Examples
    --------
    >>> [len(batch) for batch in batches(np.zeros((5, 100)), most_bytes=2000)]
    [2, 2, 1]
    """
    points = np.array(W, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(
            "W must have shape (n_points, n_parameters), with a point in each row, got an array of "
            f"shape {points.shape}. One point alone is objective(w)."
        )
    if not len(points):
        return []
    fit = max(most_bytes // max(points[0].nbytes, 1), 1)
    return np.array_split(points, -(-len(points) // fit))
