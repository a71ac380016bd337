"""Which workers are late: the rule that tells stragglers from workers that were not needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from statistics import median_low

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.round import Round

__all__ = ["Lateness"]

CLEARLY = 3.0
"""In times that others take: a worker that has had so many of them for one ``w`` is late."""

IN_A_ROW, LONGER = 5, 1.5
"""Rounds in a row without a word, one of which left so many times as long as others take."""

AT_LEAST = 0.05
"""Seconds of silence, beyond what others take, before anybody is late: less is what an operating
system takes from a process now and then."""

_USUAL = 16  # rounds by which it is known how long others take


@dataclass(slots=True)
class _Worker:
    """What is known of a worker from round to round."""

    number: int = -1  # of the newest round that it was asked for
    owes: bool = False  # whether some of its messages to that have not come
    had: float = 0.0  # the time that it has had for them, in times that others take
    heard: float = -inf  # when it answered last
    # since then:
    silence: float = 0.0  # for how long it has owed something
    n_asked: int = 0  # how many rounds it was asked for
    longest: float = 0.0  # the longest of them, in times that others take
    late: bool = False

    def ask(self, number: int, owes: bool) -> None:
        self.number, self.owes, self.had = number, owes, 0.0
        self.n_asked += 1

    def answer(self, now: float) -> None:
        self.heard, self.late = now, False
        self.silence = self.longest = self.had = 0.0
        self.n_asked = 0

    def wait(self, seconds: float, others: float) -> None:
        self.silence += seconds
        self.had += seconds / others  # by this round's pace: a whole machine may stand still
        self.longest = max(self.longest, self.had)

    def straggles(self, others: float) -> bool:
        alone = self.longest >= CLEARLY
        in_a_row = self.n_asked >= IN_A_ROW and self.longest >= LONGER
        return self.silence >= others + AT_LEAST and (alone or in_a_row)


class Lateness:
    """Says at the end of each round which workers are late.

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
        Says how many workers there are.

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
        self._usual: deque[float] = deque(maxlen=_USUAL)
        self._workers = [_Worker() for _ in range(code.n_workers)]

    def heard(self, round_: Round, role: int, now: float) -> None:
        """Note an answer that came after the end of its round, which has it entered already."""
        worker = self._workers[role]
        worker.answer(now)
        if round_.number == worker.number:
            worker.owes = bool(round_.state.owed(role))

    def end(self, round_: Round, asked: Mapping[int, float]) -> set[int]:
        """Learn from a round that is done, and return which silent workers are late.

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
        counts = len(self._usual) > 1  # in the first one connections open
        new = state.restored | state.placed | state.relocated
        answered = new.union(answer.role for answer in state.answers)
        for role, worker in enumerate(self._workers):
            if role in new:  # it knows nothing of what was asked of another worker
                worker.owes = False
            since = max(worker.heard, state.started)
            if role in asked:
                worker.ask(round_.number, bool(state.owed(role)))
                since = max(since, asked[role])
            if role in answered:
                worker.answer(now)
            elif worker.owes and counts:
                worker.wait(max(now - since, 0.0), others)
        silent = {role: self._workers[role] for role in state.unanswered(round_.seconds)}
        for worker in silent.values():
            worker.late = worker.late or worker.straggles(others)
        if round_.out_of_time:
            return {role for role, worker in silent.items() if worker.owes}
        return {role for role, worker in silent.items() if worker.late}

    def _time_others_take(self, round_: Round) -> float:
        """Return seconds, above 0."""
        came = [answer.seconds for answer in round_.state.answers]
        this = max(median_low(came), 1e-9)
        self._usual.append(this)
        return max(this, median_low(self._usual))
