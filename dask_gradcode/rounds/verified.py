"""The answers of a round whose sums are believed once enough roles agree on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.rounds.checked import CheckedAnswers, SyndromeWitness
from dask_gradcode.rounds.events import Event, Lost
from dask_gradcode.rounds.referee import Dispute, Referee, values_of
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.syndrome import SyndromeReferee
from dask_gradcode.rounds.trust import Answers, Witness
from dask_gradcode.rounds.verdicts import Expelled, Undecided
from dask_gradcode.typing import Payload
from dask_gradcode.work.account import digest_of

__all__ = ["Verification", "VerifiedAnswers", "answers_by", "witness_by"]


@dataclass(frozen=True)
class Verification:
    """A witness, and a referee for what several roles have sent.

    Parameters
    ----------
    witness : Witness
        Says what has a wrong size.
    referee : Referee
        Says how many have to agree on a sum.
    """

    witness: Witness
    referee: Referee

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Return what is wrong with the form of a message: of its content agreement decides."""
        doubt = self.witness.doubt(role, message, payload)
        return None if doubt is None or doubt.fits else doubt


def witness_by(
    referee: Referee | SyndromeReferee | None, inspector: Inspector, round: int
) -> Witness:
    """Return what looks at the answers of a round, as a referee wants them to be looked at."""
    match referee:
        case None:
            return inspector
        case SyndromeReferee():
            return SyndromeWitness(inspector, referee, round)
        case _:
            return Verification(inspector, referee)


def answers_by(code: GradientCode, state: State, witness: Witness) -> Answers:
    """Return the answers of a round, as a witness wants them to be looked at."""
    if isinstance(witness, SyndromeWitness):
        return CheckedAnswers(code, state, witness)
    if isinstance(witness, Verification):
        return VerifiedAnswers(code, state, witness, witness.referee)
    return Answers(code, state, witness)


class _Claim(NamedTuple):
    payload: Payload
    digest: bytes


class VerifiedAnswers(Answers):
    """Holds answers back until enough roles agree on a sum, and names two that differ.

    A sum that too few can still send is *unverified*: once those who could have confirmed it have
    been waited for in vain, it is taken as it is, and the record says so.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    state : State
        The round's.
    witness : Witness
        Says what has a wrong size.
    referee : Referee
        Says how many have to agree, and keeps who is expelled.
    """

    def __init__(
        self, code: GradientCode, state: State, witness: Witness, referee: Referee
    ) -> None:
        super().__init__(code, state, witness)
        self._referee = referee
        self._held: dict[int, dict[int, _Claim]] = {}  # by message and role
        self._apart: dict[int, tuple[int, int]] = {}  # two roles that differ, by message
        self._added: set[tuple[int, int]] = set()  # roles and messages
        self._undecided: set[tuple[int, frozenset[int]]] = set()

    def take_in(self, role: int, message: int, payload: Payload) -> None:
        self.inspect(role, message, payload)

    def inspect(self, role: int, message: int, payload: Payload) -> Doubt | None:
        doubt = super().inspect(role, message, payload)
        if doubt is None:
            claim = _Claim(payload, digest_of(values_of(payload)))
            self._held.setdefault(message, {})[role] = claim
            self._weigh(message)
        else:
            self._state.disbelieve(role, doubt.what)
        return doubt

    def note(self, event: Event) -> None:
        match event:
            case Expelled(role):
                self.expelled.append(role)
                self._withdraw(role, list(self._held))
            case Lost(role):  # it cannot be asked any more how it came to what others contradict
                self._withdraw(role, [m for m, pair in self._apart.items() if role in pair])
            case Undecided(message, role, other):
                self._undecided.add((message, frozenset((role, other))))
                self.unverified.update(self._code.messages[message].blocks)
                self._weigh(message)

    def _withdraw(self, role: int, messages: list[int]) -> None:
        for message in messages:
            self._held[message].pop(role, None)
            self._weigh(message)

    @property
    def dispute(self) -> Dispute | None:
        for message, (one, other) in self._apart.items():
            held = self._held[message]
            return Dispute(message, (one, other), (held[one].digest, held[other].digest))
        return None

    def _agree(self, message: int, one: int, other: int) -> bool:
        held = self._held[message]
        if held[one].digest == held[other].digest:
            return True
        if (message, frozenset((one, other))) in self._undecided:
            return True
        return self._referee.agree(one, held[one].payload, other, held[other].payload)

    def _sides(self, message: int) -> list[list[int]]:
        """Return for each role that has sent a message all who agree with it."""
        roles = self._heard(message)
        return [[b for b in roles if self._agree(message, a, b)] for a in roles]

    def _heard(self, message: int) -> list[int]:
        """Return who has sent a message, those left out who are expelled: maybe just now."""
        return sorted(self._held[message].keys() - self._referee.expelled.keys())

    def _weigh(self, message: int) -> None:
        """Note whether any two differ, and add the message to the sum if enough agree on it."""
        roles, sides = self._heard(message), self._sides(message)
        self._apart.pop(message, None)
        for one, side in zip(roles, sides, strict=True):
            if len(side) < len(roles):
                other = next(role for role in roles if role not in side)
                self._apart[message] = one, other
                break
        agreed = max(sides, key=len, default=[])
        if len(agreed) >= self._referee.needed(message):
            self._enter(message, agreed)

    def _enter(self, message: int, roles: list[int]) -> None:
        if self._sum is None:  # the round is over
            return
        for role in roles:
            if (role, message) not in self._added:
                self._added.add((role, message))
                self._add(role, message, self._held[message][role].payload)

    def _unsure(self) -> list[int]:
        """Return the messages that have come, and that nobody is left to confirm."""
        arrived, pending = self._state.arrived, self._state.pending
        return [m for m in self._held if self._heard(m) and not (arrived[m] or pending[m])]

    def _lacking(self, message: int) -> set[int]:
        """Return who could have confirmed a message and has not."""
        able = set(self._code.senders(message)) - self._referee.expelled.keys()
        return able - self._held[message].keys()

    def is_agreed(self) -> bool:
        unsure, given_up = self._unsure(), self._referee.given_up
        return bool(unsure) and all(self._lacking(message) <= given_up for message in unsure)

    def accept(self) -> bool:
        unsure = self._unsure()
        for message in unsure:
            self._referee.given_up |= self._lacking(message)
            self.unverified.update(self._code.messages[message].blocks)
            self._enter(message, max(self._sides(message), key=len))
        return bool(unsure)

    def forget(self) -> None:
        super().forget()
        for held in self._held.values():  # one is enough to compare what comes late
            for role in sorted(held)[1:]:
                del held[role]
