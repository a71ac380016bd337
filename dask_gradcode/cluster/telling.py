"""What is said of rounds to the user that runs them: in the log, and as warnings."""

from __future__ import annotations

import logging
import warnings

from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds import RoundRecord

__all__ = ["Telling"]

logger = logging.getLogger("dask_gradcode")


class Telling:
    """Says of the rounds of an objective what should be known, once.

    Parameters
    ----------
    data : Placement
        The data.
    """

    def __init__(self, data: Placement) -> None:
        self._data, self._told = data, set[Doubt]()
        self._is_first = True
        self._incomplete = False  # the first round began without some of the roles

    def begin(self) -> None:
        """Warn that a fit begins below the tolerance that was asked for."""
        if not self._is_first:
            return
        self._is_first = False
        self._data.roles.tend()
        lost = self._data.lost
        if not lost:
            return
        self._incomplete = True
        which = "; ".join(f"role {role}: {why}" for role, why in sorted(lost.items()))
        text = (
            f"Rounds begin before all roles are placed ({which}). The code tolerates "
            f"{self._data.code.tolerance}; until all are placed it tolerates fewer. "
            "history_.events says from which round on it is complete."
        )
        logger.warning(text)
        warnings.warn(text, stacklevel=5)  # where the round was called for

    def end(self, record: RoundRecord) -> None:
        """Say that all roles are placed, after a beginning without some of them."""
        if self._incomplete and not (record.unplaced or record.lost):
            self._incomplete = False
            logger.warning(
                "Round %d: all roles are placed; tolerated from now on: %s",
                record.round,
                self._data.code.tolerance,
            )

    def doubt(self, doubts: list[tuple[int, Doubt]]) -> None:
        """Warn of what workers have sent and that cannot be right, and clear the list."""
        for number, doubt in doubts:
            if doubt in self._told:
                continue
            self._told.add(doubt)
            where = " and ".join(
                f"role {role} on {self._data.addresses[role]}" for role in doubt.roles
            )
            text = f"Round {number}, blocks {list(doubt.blocks)}, {where}: {doubt.what}."
            logger.warning(text)
            if len(doubt.roles) > 1:
                warnings.warn(f"{text} One of them may be faulty.", stacklevel=3)
        doubts.clear()
