"""The answers of a round that are believed once one more than decoding needs agrees with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.events import Event, Lost
from dask_gradcode.rounds.minutes import Checks
from dask_gradcode.rounds.outcomes import Contradicted
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.syndrome import SyndromeReferee
from dask_gradcode.rounds.trust import Answers, Witness
from dask_gradcode.typing import Payload

__all__ = ["CheckedAnswers", "SyndromeWitness"]


@dataclass(frozen=True)
class SyndromeWitness:
    """A witness, and a referee for what all have sent together.

    Parameters
    ----------
    witness : Witness
        Says what has a wrong size or is not finite.
    referee : SyndromeReferee
        Says whether payloads agree.
    round : int
        The round's number.
    """

    witness: Witness
    referee: SyndromeReferee
    round: int

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Return what is wrong with a message on its own."""
        return self.witness.doubt(role, message, payload)


class CheckedAnswers(Answers):
    """Holds answers back until one more than decoding needs has come, and they agree.

    If they do not, all are waited for that can still come, as more answers tell which is wrong:
    that role is expelled. Where it cannot be told, the round ends in a contradiction. A sum that
    nobody is left to check is *unverified*: once the roles that could have checked it have been
    waited for in vain, it is taken as it is, and the record says so.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    state : State
        The round's.
    witness : SyndromeWitness
        Says what is wrong.
    """

    def __init__(self, code: GradientCode, state: State, witness: SyndromeWitness) -> None:
        super().__init__(code, state, witness)
        self._referee, self._round = witness.referee, witness.round
        self._held: dict[int, Payload] = {}  # by message, which is a role's number
        self._is_alarmed = self._waits_no_more = self._is_unchecked = False
        self._checks = self.begin()
        state.at_least = self._referee.n_checked

    def begin(self) -> Checks:
        self._checks = Checks(dict(self._referee.expelled), set(self._referee.given_up))
        return self._checks

    def take_in(self, role: int, message: int, payload: Payload) -> None:
        doubt = self.inspect(role, message, payload)
        if doubt is not None:
            self._state.disbelieve(role, doubt.what)
            if doubt.fits:
                self._aside[role, message] = payload
            self._end_if_all_came()
            return
        self._held[message] = payload
        self._state.hold(message)
        self._weigh()

    def note(self, event: Event) -> None:
        if isinstance(event, Lost) and event.role in self._held:
            self._state.hold(event.role)  # what it has sent is here
        self._end_if_all_came()

    def _weigh(self) -> None:
        """Add what has come to the sum if it agrees; if not, expel what is known to be wrong."""
        if len(self._held) < self._referee.n_checked:
            if self._is_unchecked and self._code.can_decode(self._code.available(self._held)):
                self.unverified.update(range(self._code.n_blocks))
                self._enter()
        elif self._agree():
            self.unverified.clear()
            self._enter()
        elif wrong := self._expel():
            for role in wrong:
                del self._held[role]
                self._state.lose(role, self._referee.expelled[role])
                self.expelled.append(role)
            if self._state.arrived[list(wrong)].any():  # it is in the sum, of which none was spare
                self._contradict()
            self._enter()
        else:
            self._is_alarmed = True
            self._wait_for_more()
            self._end_if_all_came()

    def _agree(self) -> bool:
        self._checks.agreed.append(self._referee.agree(self._held))
        return self._checks.agreed[-1]

    def _expel(self) -> tuple[int, ...]:
        wrong = self._referee.expel(self._round, self._held)
        self._checks.wrong.append({role: self._referee.expelled[role] for role in wrong})
        return wrong

    def _enter(self) -> None:
        self._is_alarmed, self._state.at_least = False, 0
        for message, payload in sorted(self._held.items()):
            if not self._state.arrived[message]:
                self._add(message, message, payload)

    # ---- what does not agree

    def _n_to_come(self) -> int:
        pending = self._state.pending
        return int(np.count_nonzero(pending) - np.count_nonzero(pending[list(self._held)]))

    def _wait_for_more(self) -> None:
        """Wait for all that can come, and first for the roles that may come back."""
        can = len(self._held) + self._n_to_come()
        self._state.at_least = can if self._waits_no_more else self._code.n_workers

    def _end_if_all_came(self) -> None:
        """End an alarm if nobody can add anything to it."""
        nobody_returns = self._waits_no_more or not self._state.lost
        if self._is_alarmed and nobody_returns and not self._n_to_come():
            self._contradict()

    def _contradict(self) -> None:
        self.contradiction = Contradicted(tuple(sorted(self._held)))

    # ---- what cannot be checked

    def is_agreed(self) -> bool:
        if self._is_unchecked:
            return super().is_agreed()
        without = self._referee.given_up | self._referee.expelled.keys()
        return self._state.lost.keys() <= without | {role for role, _ in self._aside}

    def accept(self) -> bool:
        lost = self._state.lost.keys() - {role for role, _ in self._aside}
        self._referee.given_up |= lost - self._referee.expelled.keys()
        if self._is_alarmed:
            self._waits_no_more = True
            self._wait_for_more()
            self._end_if_all_came()
            return True
        if not self._is_unchecked:
            self._is_unchecked, self._state.at_least = True, 0
            self._weigh()
            return True
        is_more = super().accept()  # what is not finite may be right
        if is_more:
            self.unverified.update(range(self._code.n_blocks))
            self._enter()
        return is_more

    def forget(self) -> None:
        super().forget()
        self._held.clear()
