"""Which roles would be better off on another worker, as theirs is much slower than others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median_low

from dask_gradcode.rounds import RoundRecord

__all__ = ["Slowness"]

MUCH = 2.0
"""In times that others take, for as much: who takes longer is slow."""

AT_LEAST = 0.01
"""Seconds that a slow role takes longer than others: for less it is not worth while to move it."""

IN_A_ROW, EVERY = 5, 2.0
"""How many rounds in a row a role must be slow, and at least how many seconds lie between two: what
else goes on on its machine may be over soon."""


class Slowness:
    """Looks at a round now and then, and says which roles have been slow for long.

    Each role computes as much as any other, and is asked for all of it at once. With codes whose
    roles do others' work as well (``code.divides``) nobody needs to look: they balance themselves.

    Attributes
    ----------
    slow : dict of int to str
        The roles that are slow, and how much.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> slowness = Slowness()
    >>> history = simulate(Uncoded(4), FixedDelay(3.0, workers=[1]), n_rounds=5)
    >>> for now, record in enumerate(history):
    ...     slowness.look(record, lambda: dict.fromkeys(range(4), 0.0), now=10.0 * now)
    >>> slowness.slow
    {1: 'it takes 13.0 times as long as others'}
    """

    def __init__(self) -> None:
        self.slow: dict[int, str] = {}
        self._in_a_row: dict[int, int] = {}
        self._look_at = 0.0

    def look(
        self, record: RoundRecord, reached: Callable[[], Mapping[int, float]], now: float
    ) -> None:
        """Look at a round that has just ended, if it is time to.

        Parameters
        ----------
        record : RoundRecord
            The round.
        reached : callable
            Returns when each role was asked in it, in seconds.
        now : float
            On any clock.
        """
        for role in (*record.relocated, *record.restored, *record.lost):
            self._clear(role)  # what is known is of another worker
        if now < self._look_at or not (asked := reached()):
            return
        self._look_at = now + EVERY
        began = min(asked.values())
        took, least = dict[int, float](), dict[int, float]()
        for role, when in asked.items():
            least[role] = record.seconds - (when - began)
        for answer in record.answers:
            if answer.role in asked:
                took[answer.role] = answer.seconds - (asked[answer.role] - began)
        usual = max(median_low(took.values()), 1e-9) if took else float("inf")
        for role in record.late:
            self._add(role, "it is late in round after round")
        for role in asked.keys() - set(record.late):
            seconds = took.get(role, least[role])
            if seconds > MUCH * usual and seconds > usual + AT_LEAST:
                self._add(role, f"it takes {seconds / usual:.1f} times as long as others")
            elif role in took:  # of silent roles nothing is known so soon
                self._clear(role)

    def news(
        self, record: RoundRecord, reached: Callable[[], Mapping[int, float]], now: float
    ) -> dict[int, str | None]:
        """Look, and return which roles are slow since then, or are not any more."""
        before = set(self.slow)
        self.look(record, reached, now)
        return {role: self.slow.get(role) for role in before ^ self.slow.keys()}

    def _add(self, role: int, why: str) -> None:
        self._in_a_row[role] = self._in_a_row.get(role, 0) + 1
        if self._in_a_row[role] >= IN_A_ROW:
            self.slow.setdefault(role, why)

    def _clear(self, role: int) -> None:
        self._in_a_row.pop(role, None)
        self.slow.pop(role, None)
