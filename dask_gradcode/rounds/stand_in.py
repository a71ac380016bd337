"""What stands in a sum for the messages that are missing."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Vector

__all__ = ["ScaledUp", "StandIn"]


class StandIn(Protocol):
    """Makes a sum over the whole data set of one over a part of it."""

    def complete(self, total: Vector, decoding: Decoding, state: State) -> Vector:
        """Return the whole sum, as well as it is known; ``total`` stays as it is."""
        ...

    def drift(self, state: State) -> Vector | None:
        """Return by how much that may be off, as a payload; None if nothing tells."""
        ...


class ScaledUp:
    """The other rows stand for the missing ones.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    block_rows : ndarray of shape (n_blocks,), optional
        Rows of each block. None: blocks of equal size.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> code = Uncoded(4)
    >>> half = Decoding(np.array([1.0, 1.0, 0.0, 0.0]), 1.0, 1.0, 0.5)
    >>> ScaledUp(code).complete(np.array([3.0]), half, State(code))
    array([6.])
    """

    def __init__(self, code: GradientCode, block_rows: Vector | None = None) -> None:
        self._code = code
        self._rows = np.ones(code.n_blocks) if block_rows is None else block_rows

    def complete(self, total: Vector, decoding: Decoding, state: State) -> Vector:
        covered = decoding.covered
        if covered is None:
            covered = self._code.judge.covered(decoding.weights)
        whole: Vector = total * (self._rows.sum() / (covered @ self._rows))
        return whole

    def drift(self, state: State) -> Vector | None:
        return None
