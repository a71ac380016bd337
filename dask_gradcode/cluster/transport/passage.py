"""What travels of a point and of payloads: a role's columns, where it does not see all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dask_gradcode.cluster.data.columns import Columns, received
from dask_gradcode.codes.slices import Slices
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds.log import REMEMBERED
from dask_gradcode.several import abreast, n_points_of
from dask_gradcode.typing import Matrix, Payload, Vector
from dask_gradcode.work import Work, of_order

__all__ = ["Passage"]


class Passage:
    """Cuts points for roles, and makes whole what they send: also that of an older round.

    Parameters
    ----------
    work : Work
        Says what payloads contain.
    columns : Columns, optional
        Which columns each role sees. None: points and payloads travel whole.

    Attributes
    ----------
    round : int
        The newest round.
    order : {1, 2}
        Up to which order derivatives are wanted in it.
    n_points : int
        At how many points.
    """

    def __init__(self, work: Work, columns: Columns | None) -> None:
        self._work, self._columns = work, columns
        self.round, self.order, self.n_points = -1, 1, 1
        self._statistics: dict[int, Statistic] = {}  # of the last rounds
        self._part: Callable[[int], Vector] = lambda role: np.zeros(0)

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        """Begin a round at a point, or several, which are copied."""
        self.round, self.order, self.n_points = round, order, n_points_of(w)
        point = abreast(np.asarray(w, dtype=np.float64))
        self._statistics[round] = of_order(self._work, order, self.n_points).statistic(point)
        self._statistics.pop(round - REMEMBERED, None)
        if self._columns is None:
            whole = point.copy()  # the caller may change it
            self._part = lambda role: whole
        else:
            self._part = self._columns.cut(point, self.n_points)

    def part(self, role: int) -> Vector:
        """Return what a role needs of the point."""
        return self._part(role)

    def received(self, round: int, role: int, payload: Vector, slices: Slices) -> Payload:
        """Return what a role has sent for a round as a part of the whole payload.

        Parameters
        ----------
        round, role : int
            Which round, and whose answer to it.
        payload : ndarray of shape (n_entries,)
            What has come.
        slices : Slices
            Of the message.
        """
        if round not in self._statistics:
            return payload
        return received(role, payload, slices, self._statistics[round], self._columns)
