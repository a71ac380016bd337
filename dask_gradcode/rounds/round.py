"""What the client decides while messages arrive.

A round is a state machine. It is told *events* (an answer came, a worker is gone, time went by) and
says with *orders* what shall be done; it knows neither Dask nor threads nor clocks, so that a
cluster, a simulation and a test on a scripted clock drive the same one::

    begin(news, now)   --> orders
    handle(event, now) --> orders      as often as something happens, at the latest at look_at
    outcome            --> None until the round has ended, then Done, Stuck or Overdue

Four things decide together, and each knows only its own. The *plan* says which role is asked for
what, and when. The *state* knows which roles have answered and which still can. The *wait rule*
says whether that is enough. *Patience* says how long to wait for roles still needed. A round ends
either with the sum or with the reason why there is none, and answers that come after that change
neither; they are only entered in its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.rounds.arbiter import Arbiter
from dask_gradcode.rounds.believing import answers_by
from dask_gradcode.rounds.events import Absent, Announced, Arrived, Event, Failed, Lost, Yielded
from dask_gradcode.rounds.log import RoundLog
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.outcomes import Done, Outcome
from dask_gradcode.rounds.patience import Patience, Waiting
from dask_gradcode.rounds.plans import Everybody, Planner, Policy
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.rules import UntilExact, WaitRule
from dask_gradcode.rounds.stand_in import ScaledUp, StandIn
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.testimony import witness_of
from dask_gradcode.rounds.trust import Answers, Witness
from dask_gradcode.rounds.verdicts import Expelled, Undecided
from dask_gradcode.typing import Vector

__all__ = ["Round"]


class Round:
    """The client's view of one round.

    Parameters
    ----------
    number : int
        The round's number; answers to other rounds are dropped.
    code : GradientCode
        How the sum is coded.
    wait : WaitRule, optional
        When to stop waiting. None: when the sum is exact.
    planner : Planner, optional
        Which roles are asked, and when. None: everybody, at once.
    patience : Patience, optional
        How long to wait for roles without which the round cannot end. None: nobody comes back.
    stand_in : StandIn, optional
        What stands in an approximate sum for what is missing. None: the others, scaled up, as if
        blocks were of equal size.
    witness : Witness, optional
        Says what cannot be right. None: an ``Inspector`` that knows nothing of sizes.

    Attributes
    ----------
    state : State
        Which roles have answered, and which can.
    answers : Answers
        What they carry.
    outcome : Done, Stuck, Overdue or None
        How the round has ended; None while it goes on.
    look_at : float or None
        When to call ``handle`` at the latest, with None if nothing has happened by then.
    seconds : float
        How long it took until it was done.
    late : set of int
        The roles silent at the end that straggle, as the driver of the round says. The other
        silent ones are not needed.
    log : RoundLog
        What has happened.

    Examples
    --------
    Worker 1 of two replicas answers first; nobody waits for worker 0.

    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> round_ = Round(0, FractionalRepetition(2, 1))
    >>> round_.begin([], now=0.0)
    [Ask(role=0, messages=(0,)), Ask(role=1, messages=(0,))]
    >>> round_.handle(Arrived(0, 1, 0, np.array([3.0, 0.5])), now=0.1)
    []
    >>> round_.outcome, round_.result()
    (Done(), array([3. , 0.5]))
    """

    def __init__(
        self,
        number: int,
        code: GradientCode,
        wait: WaitRule | None = None,
        planner: Planner | None = None,
        patience: Patience | None = None,
        stand_in: StandIn | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.number, self.code = number, code
        self._wait = wait or UntilExact()
        self._planner = planner or Everybody().start(code)
        self._patience = patience or Patience()
        self._stand_in = stand_in or ScaledUp(code)
        self.state = State(code)
        self.outcome: Outcome | None = None
        self.look_at: float | None = None
        self.seconds, self.late = nan, set[int]()
        self.log = RoundLog(number, code, self._wait, self._planner.copy(), self._patience)
        self.answers: Answers = answers_by(code, self.state, witness or Inspector(code))
        self._waiting = Waiting(self._patience)
        self._arbiter = Arbiter(number, self._wait, self._waiting, self.state, self.answers)

    @classmethod
    def replay(cls, log: RoundLog, plan: Policy | None = None) -> Round:
        """Run a round again from its log, without a cluster.

        Parameters
        ----------
        log : RoundLog
            What happened.
        plan : Policy, optional
            Which roles are asked, and when, by a plan that knows no earlier rounds. None: as then.

        Returns
        -------
        Round
            In the state in which it was; it has no result, as payloads are not kept.

        Raises
        ------
        ValueError
            If nothing has happened.
        """
        planner = log.planner.copy() if plan is None else plan.start(log.code)
        known = log.number, log.code, log.wait, planner, log.patience
        round_ = cls(*known, witness=witness_of(log))
        log.retell(round_.begin, round_.handle)
        if round_.outcome is not None:
            round_.forget()
        return round_

    # ---- what happens

    def begin(self, news: Sequence[Event], now: float) -> list[Order]:
        """Begin, and say which roles are asked first.

        Parameters
        ----------
        news : sequence of Lost, Unplaced, Ready and Relocated
            What has become of roles since the last round.
        now : float
            Seconds on the caller's clock.

        Returns
        -------
        list of Order
            What to do.
        """
        self.state.started = now
        self.log.minutes = self.answers.begin()
        self._arbiter.begin(now)
        for event in news:
            self._take_note(event, now)
        orders = self.state.ledger.noted(self._planner.begin(self.state, now), now)
        if not self._is_over(now):
            self._set_look_at(now)
        self.log.begin(news, now, orders)
        return orders

    def handle(self, event: Event | None, now: float) -> list[Order]:
        """Take note of an event and say what to do about it.

        Parameters
        ----------
        event : Event or None
            What happened; None if only time went by. Answers to other rounds, and second copies of
            an answer, are no more than that.
        now : float
            Seconds on the same clock as in ``begin``.

        Returns
        -------
        list of Order
            What to do; nothing, once the round has ended.
        """
        orders, doubts = list[Order](), self.answers.doubts
        n_doubts = len(doubts)
        if self.outcome is not None:
            self._note_late(event, now)
        else:
            news = event if self._is_news(event) else None
            self._take_note(news, now)
            if not self._is_over(now):
                orders = self.state.ledger.noted(self._planner.react(news, self.state, now), now)
                self._set_look_at(now)
        self.log.note(now, event, doubts[n_doubts:], orders)
        return orders

    def _take_note(self, event: Event | None, now: float) -> None:
        if isinstance(event, Arrived):
            self._waiting.hear(now)
            self.state.receive(event.role, event.message, now, event.blocks)
            self.answers.take_in(event.role, event.message, event.payload)
        elif event is not None:
            if isinstance(event, Absent | Announced):
                self._waiting.hear(now)
            self.state.note(event, now)
            self.answers.note(event)

    def _note_late(self, event: Event | None, now: float) -> None:
        """Enter in the record an answer that comes after the end."""
        if isinstance(event, Arrived) and self._is_news(event):
            self.state.receive(event.role, event.message, now)
            self.answers.inspect(event.role, event.message, event.payload)
        elif isinstance(event, Announced | Expelled | Lost | Undecided) and self._is_news(event):
            if isinstance(event, Announced):
                self.state.note(event, now)
            self.answers.note(event)

    def _is_news(self, event: Event | None) -> bool:
        """Say whether an event answers no other round, and is no second copy."""
        if isinstance(event, Arrived | Announced | Absent):
            is_second = self.state.ledger.has_answered(event.role, event.message)
            return event.round == self.number and not is_second
        return not isinstance(event, Failed | Yielded) or event.round == self.number

    @property
    def doubts(self) -> list[Doubt]:
        """What was sent and cannot be right."""
        return self.answers.doubts

    def _is_over(self, now: float) -> bool:
        """Decide, and end the round if it has enough, or no hope that it will."""
        self.outcome = self._arbiter.decide(now)
        if self.outcome is not None:
            self.look_at = None
        if isinstance(self.outcome, Done):
            self.seconds = now - self.state.started
        return self.outcome is not None

    def _set_look_at(self, now: float) -> None:
        planned = inf if self._planner.look_at is None else self._planner.look_at
        due = min(self._arbiter.look_at(now), planned)
        self.look_at = None if due == inf else due

    # ---- what came of it

    @property
    def out_of_time(self) -> bool:
        """Whether the round has done without what others still owed."""
        remembers = bool(self.state.carried.ages) and not self.state.decodable
        return remembers or self.state.started + self.seconds >= self._arbiter.until

    def result(self) -> Vector:
        """Return the sum over the whole data set.

        Returns
        -------
        ndarray of shape (n_entries,)
            A payload. Something stands in an approximate sum for what is missing.

        Raises
        ------
        RuntimeError
            If the round has not enough messages yet, or they have been let go.
        """
        total = self.answers.total(decoding := self._settled())
        if not self.state.decodable:
            total = self._stand_in.complete(total, decoding, self.state)
        return total

    def drift(self) -> Vector | None:
        """Return by how much the result may be off, a payload; None if nothing tells."""
        return None if self.state.decodable else self._stand_in.drift(self.state)

    def forget(self) -> None:
        """Let go of the messages; what comes late can still be noted and compared."""
        self.answers.forget()

    def record(self, value: float, grad_norm: float) -> RoundRecord:
        """Return what the round did; ``answers`` stays open for messages that come late."""
        self.state.settle(decoding := self._settled())
        took = self.seconds, self.late, value, grad_norm
        found = self.answers.expelled, self.answers.unverified
        return RoundRecord.of(self.number, self.state, decoding, *took, *found)

    def _settled(self) -> Decoding:
        if self._arbiter.decoding is None:
            raise RuntimeError(f"Round {self.number} has not enough messages yet.")
        return self._arbiter.decoding
