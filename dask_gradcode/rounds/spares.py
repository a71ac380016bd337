"""Who gets ``w`` first in a round, and how long those wait for it who are likely not needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median_low

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import RoundRecord

__all__ = ["Spares", "Turn"]

AT_ONCE = 0.001
"""Seconds; less than what epoll can count would be as long."""

LEARN_EVERY = 16
"""Rounds after which those come first who were not needed: they may have become faster."""

_FIRST = 2  # rounds without waiting at first: one alone, with its connections, says little
_LEAST, _MOST = 16, 1024  # rounds without waiting, after a round that has shown it to be wrong


@dataclass(frozen=True)
class Turn:
    """How a round begins.

    Parameters
    ----------
    roles : sequence of int
        In what order they get ``w``.
    n_likely : int, optional
        So many of them, the first ones, are likely to be enough. None: nothing is known.
    wait : float
        For how many seconds the others wait, if they are needed at all.
    """

    roles: Sequence[int]
    n_likely: int | None = None
    wait: float = 0.0

    def asked(self, started: float, unsent: Collection[int]) -> dict[int, float]:
        """Return when each role got ``w``, but those who have not got it."""
        at_once = len(self.roles) if self.n_likely is None else self.n_likely
        return {
            role: started if place < at_once else started + self.wait
            for place, role in enumerate(self.roles)
            if role not in unsent
        }


class Spares:
    """Learns from round to round who is needed, and whether the others are.

    While no worker straggles, those who were not needed in the last round are spared: they get
    ``w`` only when the round has lasted as long as rounds do. They take no processor from the
    others where they share one, nor the client's connection, and redundancy costs nothing. The
    first round in which they were needed after all, or in which a wait rule wanted more than the
    others had sent, lasts up to twice as long; for at least 16 rounds after it, and twice as many
    with each such round that comes soon again, nobody is spared. Nor in the first two rounds.

    Parameters
    ----------
    code : GradientCode
        Which role has which messages.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> code = FractionalRepetition(2, 1)
    >>> spares = Spares(code)
    >>> spares.begin([0, 1])
    Turn(roles=[0, 1], n_likely=None, wait=0.0)
    >>> for record in simulate(code, FixedDelay(3.0, workers=[0]), n_rounds=2):
    ...     spares.end(record)
    >>> spares.begin([0, 1])
    Turn(roles=[1, 0], n_likely=1, wait=1.0)
    """

    def __init__(self, code: GradientCode) -> None:
        self._code = code
        self._n_rounds = 0
        self._likely: set[int] | None = None  # who was needed in the last round
        self._seconds: deque[float] = deque(maxlen=8)
        self._spares_waited = False  # in the round that is running
        self._n_at_once = _FIRST  # rounds yet in which nobody is spared
        self._penalty, self._n_calm = _LEAST, 0  # and how many such rounds come after an error

    def begin(self, roles: Sequence[int]) -> Turn:
        """Return how the next round begins, among the roles that can be asked."""
        self._n_rounds += 1
        self._spares_waited = False
        if self._likely is None or not self._likely.issubset(roles):
            return Turn(list(roles))
        likely = self._likely
        if self._n_rounds % LEARN_EVERY == 0:
            return Turn(sorted(roles, key=lambda role: role in likely))
        self._spares_waited = self._n_at_once == 0
        wait = max(median_low(self._seconds), AT_ONCE) if self._spares_waited else AT_ONCE
        return Turn(sorted(roles, key=lambda role: role not in likely), len(likely), wait)

    def end(self, record: RoundRecord) -> None:
        """Learn from a round."""
        needed = {
            role
            for role, messages in enumerate(self._code.messages_of)
            if record.used[list(messages)].any()
        }
        if self._spares_waited and self._likely is not None:
            self._judge(needed <= self._likely and not self._wanted_more(record))
        self._n_at_once = max(0, self._n_at_once - 1)
        self._likely = needed
        self._seconds.append(record.seconds)

    def _wanted_more(self, record: RoundRecord) -> bool:
        """Say whether a round went on after all who were likely needed had answered."""
        assert self._likely is not None
        answers = [message for role in self._likely for message in self._code.messages_of[role]]
        return bool((record.arrived_at[answers] < record.seconds).all())

    def _judge(self, well: bool) -> None:
        """Take in whether it was well to spare those who were not likely needed."""
        self._n_calm = self._n_calm + 1 if well else 0
        if not well:
            self._n_at_once = self._penalty + 1  # this round counts too
            self._penalty = min(2 * self._penalty, _MOST)
        elif self._n_calm >= self._penalty:
            self._penalty = _LEAST
