"""Whether a round has ended: it has enough, or nothing is left to hope for."""

from __future__ import annotations

import logging
from collections.abc import Collection
from math import inf

from dask_gradcode.codes import Decoding
from dask_gradcode.rounds.events import Silent
from dask_gradcode.rounds.outcomes import Done, Outcome, Overdue, Stuck
from dask_gradcode.rounds.patience import Waiting
from dask_gradcode.rounds.reach import could_decode
from dask_gradcode.rounds.rules import WaitRule
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.trust import Answers

__all__ = ["Arbiter"]

logger = logging.getLogger("dask_gradcode")

_DONE = Done()


class Arbiter:
    """Says whether a round has ended, and how.

    It has enough by its wait rule; or what has come and what still can is not enough, and its
    patience with the roles that may return is at its end.

    Parameters
    ----------
    number : int
        The round's number.
    rule : WaitRule
        When it has enough.
    waiting : Waiting
        How long it has been waiting for roles without which it cannot end, and may.
    state : State
        The round's, which learns which roles are given up.
    answers : Answers
        The round's. In the end the answers that nobody is left to contradict are believed.

    Attributes
    ----------
    decoding : Decoding or None
        How the answers add up; None until there are enough.
    """

    def __init__(
        self, number: int, rule: WaitRule, waiting: Waiting, state: State, answers: Answers
    ) -> None:
        self._number, self._rule, self._waiting = number, rule, waiting
        self._state, self._answers = state, answers
        self.decoding: Decoding | None = None

    def begin(self, now: float) -> None:
        """Note that the round begins."""
        self._waiting.hear(now)

    @property
    def until(self) -> float:
        """When the wait rule's time is up; inf is never."""
        until = self._rule.look_at(self._state)
        return inf if until is None else until

    def look_at(self, now: float) -> float:
        """Return when to decide again if nothing happens before; inf is never."""
        due, until = self._waiting.look_at(), self.until
        return until if now < until < due else due  # once it is up the first answer ends the round

    def decide(self, now: float) -> Outcome | None:
        """Return how the round has ended, None if it has not."""
        state = self._state
        if self._answers.dispute is not None:
            return None  # two are to be heard first
        if self._answers.contradiction is not None:
            return self._answers.contradiction
        self.decoding = self._rule.settle(state, now)
        if self.decoding is not None:
            return _DONE
        if self._rule.hopeless(state):
            if self._is_given_up(now):
                return self.decide(now) if self._answers.accept() else Stuck(state.missing())
        elif state.silent:
            given_up = self._given_up(now)
            for event in given_up:
                state.lose(event.role, event.why)
            if given_up:
                return self.decide(now)
        else:
            self._waiting.hope()
        if self._waiting.is_overdue(now):
            return Overdue(state.missing(), now - self._waiting.heard)
        return None

    def _is_given_up(self, now: float) -> bool:
        """Say whether no role is waited for that could return and be enough with the others."""
        state = self._state
        return (
            self._answers.is_agreed()
            # whatever is missing was lost on its way: no role is gone that could bring it
            or (bool(state.absent or state.parts) and not (state.lost or state.errors))
            or _has_failed_for_good(state)
            or self._has_waited(list(state.lost.values()), now)
        )

    def _given_up(self, now: float) -> list[Silent]:
        """Return the silent roles that the sum needs no more, or that have had their time."""
        silent = list(self._state.silent.values())
        if self._state.decodable:
            return silent
        silent = [event for event in silent if not event.may_be_busy]
        roles = {event.role for event in silent}
        if not roles or _is_enough_without(roles, self._state):
            self._waiting.hope()  # the live ones are enough, they are only slow
            return []
        if known := [event for event in silent if event.role in self._answers.given_up]:
            return known  # an earlier round has waited for them
        return silent if self._has_waited([event.why for event in silent], now) else []

    def _has_waited(self, whom: Collection[object], now: float) -> bool:
        """Say whether the round has waited long enough for somebody to come back."""
        if self._waiting.is_hopeful and self._waiting.may_hope:
            logger.warning("Round %d waits for %s", self._number, whom)
        return self._waiting.has_waited(now)


def _is_enough_without(roles: Collection[int], state: State) -> bool:
    """Say whether the exact sum can still come about without what some roles may yet send."""
    possible, gone = state.arrived | state.pending, set(roles)
    for role in gone:
        for message in state.code.messages_of[role]:
            if not state.arrived[message] and gone.issuperset(state.able_to_send(message)):
                possible[message] = False
    return could_decode(state, possible, gone)


def _has_failed_for_good(state: State) -> bool:
    """Say whether the work on some block has failed on all its holders."""
    if not state.errors:
        return False
    return any(state.errors.keys() >= set(holders) for holders in state.code.holders)
