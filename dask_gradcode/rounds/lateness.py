"""Who is late: the rule that tells those who straggle from those who were only not needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median_low

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.round import Round
from dask_gradcode.typing import Mask

__all__ = ["Lateness"]

CLEARLY = 3.0
"""In times that others take: who has had so many of them for one ``w`` is late."""

IN_A_ROW, LONGER = 5, 1.5
"""Rounds in a row without a word, one of which left so many times as long as others take."""

AT_LEAST = 0.05
"""Seconds of silence, beyond what others take, before anybody is late: less is what an operating
system takes from a process now and then."""

_USUAL = 16  # rounds by which it is known how long others take


class Lateness:
    """Says at the end of each round who is late.

    Most workers that are silent when a round ends are healthy: the others were enough, and the next
    round supersedes the work on this one. A worker is late if it is silent at the end and

    - it has left one ``w`` unanswered for clearly more time than others take, which is three times
      as long: because the round waited for somebody, or because the worker was spared in the rounds
      after it; or
    - it has answered none of the last five rounds that it was asked for, one of which left it half
      as much time again as others take; or
    - the round ended because the wait rule's time was up, so that its message is missing in the
      sum.

    By one of the first two a worker is late only once it has been silent for 50 ms longer than
    others take, not counting the first round, in which connections are opened; and then it is so
    until it answers anything, spared or not. The time others take is the median arrival of a round,
    or that of the last 16 rounds if it is longer: a machine that stands still makes nobody late.

    Parameters
    ----------
    code : GradientCode
        Which role has which messages.

    Examples
    --------
    Worker 1 is silent for 10 s, while rounds take half a second:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> history = simulate(FractionalRepetition(4, 1), FixedDelay(10.0, workers=[1]), n_rounds=5)
    >>> [record.late for record in history]
    [(), (), (), (1,), (1,)]
    >>> history[0].not_needed
    (1, 3)
    """

    def __init__(self, code: GradientCode) -> None:
        n = code.n_workers
        self._code = code
        self._usual: deque[float] = deque(maxlen=_USUAL)
        # by worker: the newest round that it was asked for, how many of its messages have not
        # come, and the time that it has had for them, in times that others take
        self._number, self._owed, self._had = np.full(n, -1), np.zeros(n, dtype=int), np.zeros(n)
        # when it answered last, for how long it has owed something since, and how many rounds it
        # was asked for, the longest of them in times that others take
        self._heard, self._silence = np.full(n, -np.inf), np.zeros(n)
        self._n_asked, self._longest = np.zeros(n), np.zeros(n)
        self._late: Mask = np.zeros(n, dtype=bool)

    def heard(self, round_: Round, role: int, now: float) -> None:
        """Note an answer that came after the end of its round, which has it entered already."""
        self._answer(role, now)
        if round_.number == self._number[role]:
            self._owed[role] = len(round_.state.owed(role))

    def end(self, round_: Round, asked: Mapping[int, float]) -> set[int]:
        """Learn from a round that is done, and return who of the silent is late.

        Parameters
        ----------
        round_ : Round
            The round.
        asked : mapping of int to float
            When each role got the round's ``w``, on the round's clock; the others have an older
            one, or none.

        Returns
        -------
        set of int
            The roles.
        """
        state, now = round_.state, round_.state.started + round_.seconds
        others = self._time_others_take(round_)
        roles = list(asked)
        new = sorted(state.restored | state.placed)
        self._owed[new] = 0  # it knows nothing of what was asked of another worker
        self._number[roles] = round_.number
        self._owed[roles] = [len(state.owed(role)) for role in roles]
        self._had[roles] = 0.0
        self._n_asked[roles] += 1
        since = np.maximum(self._heard, state.started)
        since[roles] = np.maximum(since[roles], list(asked.values()))
        counts = (self._owed > 0) & (len(self._usual) > 1)  # in the first one connections open
        lasted = np.where(counts, np.maximum(now - since, 0.0), 0.0)
        self._silence += lasted
        self._had += lasted / others  # by this round's pace: a whole machine may stand still
        self._longest = np.maximum(self._longest, self._had)
        self._answer([*{answer.role for answer in state.answers}, *new], now)
        silent = np.zeros_like(self._late)
        silent[list(state.unanswered(round_.seconds))] = True
        self._late |= silent & self._straggle(others)
        late = self._owed > 0 if round_.out_of_time else self._late
        return set(np.flatnonzero(silent & late).tolist())

    def _answer(self, roles: ArrayLike, now: float) -> None:
        index = np.asarray(roles, dtype=int)
        self._heard[index], self._late[index] = now, False
        self._silence[index] = self._n_asked[index] = self._longest[index] = self._had[index] = 0

    def _time_others_take(self, round_: Round) -> float:
        """Return seconds, above 0."""
        came = [answer.seconds for answer in round_.state.answers]
        this = max(median_low(came), 1e-9)
        self._usual.append(this)
        return max(this, median_low(self._usual))

    def _straggle(self, others: float) -> Mask:
        alone = self._longest >= CLEARLY
        in_a_row = (self._n_asked >= IN_A_ROW) & (self._longest >= LONGER)
        straggle: Mask = (self._silence >= others + AT_LEAST) & (alone | in_a_row)
        return straggle
