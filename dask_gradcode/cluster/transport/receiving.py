"""What has come, as a round takes it."""

from __future__ import annotations

from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.codes import GradientCode
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds import Arrived
from dask_gradcode.rounds.log import REMEMBERED
from dask_gradcode.typing import Vector

__all__ = ["Receiving"]


class Receiving:
    """Says where in the payload of its round lies what a role has sent.

    Answers to older rounds may still come, in which payloads were longer or shorter.

    Parameters
    ----------
    code : GradientCode
        Says which slices are sent.
    columns : Columns or None
        The columns that each role sees. None: all see all of them.
    """

    def __init__(self, code: GradientCode, columns: Columns | None) -> None:
        self._code, self._columns = code, columns
        self._statistics: dict[int, Statistic] = {}  # by round

    def begin(self, round: int, statistic: Statistic) -> None:
        """Note what payloads of a round contain."""
        self._statistics[round] = statistic
        self._statistics.pop(round - REMEMBERED, None)

    def arrived(self, round: int, role: int, message: int, payload: Vector) -> Arrived:
        """Return the event of an answer.

        Parameters
        ----------
        round : int
            The number of its round.
        role : int
            Who has sent it.
        message : int
            Its index in ``code.messages``.
        payload : ndarray of shape (n_entries,)
            What has come.
        """
        statistic, slices = self._statistics.get(round), self._code.messages[message].slices
        if statistic is None:  # of a round that nobody remembers
            return Arrived(round, role, message, payload)
        if self._columns is None:
            return Arrived(round, role, message, slices.carried(payload, statistic.size))
        whole = self._columns.whole(role, payload, statistic, slices)
        return Arrived(round, role, message, whole)
