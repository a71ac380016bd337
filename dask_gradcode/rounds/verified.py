"""The answers of a round in which sums are believed once enough roles agree on them.

What a role says of a sum is its *claim*: the sum itself, or only its digest, as long as the role
keeps the sum. To agree on a sum digests are enough. To add it up, one of the roles that agree must
have sent it; to compare the sums of two roles that do not round alike, both must have.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.events import Announced, Event, Failed, Lost, Ready
from dask_gradcode.rounds.ledger import Kept
from dask_gradcode.rounds.minutes import Minutes
from dask_gradcode.rounds.referee import Dispute, Referee, values_of
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.trust import Answers, Witness
from dask_gradcode.rounds.verdicts import Expelled, Undecided
from dask_gradcode.typing import Payload
from dask_gradcode.work.account import digest_of
from dask_gradcode.work.judging import is_close

__all__ = ["Verification", "VerifiedAnswers"]

logger = logging.getLogger("dask_gradcode")


@dataclass(frozen=True)
class Verification:
    """A witness, and a referee for what several roles have sent.

    Parameters
    ----------
    witness : Witness
        Says what has a wrong size.
    referee : Referee
        Says how many have to agree on a sum, and which roles compute the same bits.
    """

    witness: Witness
    referee: Referee

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Return what is wrong with the form of a message: of its content agreement decides."""
        doubt = self.witness.doubt(role, message, payload)
        return None if doubt is None or doubt.fits else doubt

    def digest(self, role: int, message: int, payload: Payload) -> bytes:
        """Return the digest of what a role has sent."""
        return digest_of(values_of(payload))

    def minutes(self) -> Minutes:
        """Return what is known at the beginning of a round."""
        referee = self.referee
        return Minutes(referee.n_faulty, dict(referee.expelled), set(referee.given_up))


class _Claim(NamedTuple):
    digest: bytes
    payload: Payload | None  # None: the role keeps it


class VerifiedAnswers(Answers):
    """Holds answers back until enough roles agree on a sum, and names two that differ.

    A sum that too few can still send is *unverified*: once the roles that could have confirmed it
    have been waited for in vain, it is taken as it is, and the record says so.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    state : State
        The round's, which learns from which roles an announced sum may be wanted.
    verification : Verification
        Says what has a wrong size, and which roles agree.
    """

    def __init__(self, code: GradientCode, state: State, verification: Verification) -> None:
        super().__init__(code, state, verification)
        self._verification, self._referee = verification, verification.referee
        self._held: dict[int, dict[int, _Claim]] = {}  # by message and role
        self._apart: dict[int, tuple[int, int]] = {}  # two roles that differ, by message
        self._changed: dict[int, tuple[int, bytes, bytes]] = {}  # contradict themselves, and how
        self._added: set[tuple[int, int]] = set()  # roles and messages
        self._undecided: set[tuple[int, frozenset[int]]] = set()
        self._minutes = verification.minutes()

    def begin(self) -> Minutes:
        self._minutes = self._verification.minutes()
        return self._minutes

    # ---- what comes

    def take_in(self, role: int, message: int, payload: Payload) -> None:
        self.inspect(role, message, payload)

    def inspect(self, role: int, message: int, payload: Payload) -> Doubt | None:
        doubt = super().inspect(role, message, payload)
        if doubt is not None:
            self._state.disbelieve(role, doubt.what)
            self._withdraw(role, [message])
            return doubt
        digest = self._verification.digest(role, message, payload)
        self._minutes.digests.setdefault((role, message), []).append(digest)
        before = self._held.get(message, {}).get(role)
        if before is not None and before.payload is None and before.digest != digest:
            self._changed[message] = role, before.digest, digest
        else:
            self._claim(role, message, _Claim(digest, payload))
        return None

    def note(self, event: Event) -> None:
        match event:
            case Announced(_, role, message, digest):
                self._claim(role, message, _Claim(digest, None))
            case Expelled(role, why):
                self._referee.expelled.setdefault(role, why)
                self.expelled.append(role)
                self._withdraw(role, list(self._held))
            case Lost(role):  # it cannot be asked any more how it came to what others contradict
                self._withdraw(role, [m for m, pair in self._apart.items() if role in pair])
                for message in self._kept_by(role):
                    self._weigh(message)
            case Failed(_, role, message):
                self._withdraw(role, [message])
            case Ready(role):  # on another worker, which keeps nothing and will compute anew
                self._withdraw(role, [m for m in self._kept_by(role) if not self._state.arrived[m]])
            case Undecided(message, role, other):
                self._undecided.add((message, frozenset((role, other))))
                self.unverified.update(self._code.messages[message].blocks)
                self._weigh(message)

    def _claim(self, role: int, message: int, claim: _Claim) -> None:
        self._held.setdefault(message, {})[role] = claim
        if self._sum is not None:
            self._referee.given_up.discard(role)  # it is back
        self._weigh(message)

    def _withdraw(self, role: int, messages: list[int]) -> None:
        for message in messages:
            if message in self._held:
                self._held[message].pop(role, None)
                if self._changed.get(message, (None,))[0] == role:
                    del self._changed[message]
                self._weigh(message)

    def _kept_by(self, role: int) -> list[int]:
        """Return the messages of which a role has only told the digest."""
        return [m for m, held in self._held.items() if role in held and held[role].payload is None]

    # ---- which roles agree

    @property
    def given_up(self) -> Set[int]:
        return self._referee.given_up

    @property
    def dispute(self) -> Dispute | None:
        for message, (role, before, after) in self._changed.items():
            return Dispute(message, (role, role), (before, after))
        for message, (one, other) in self._apart.items():
            held = self._held[message]
            return Dispute(message, (one, other), (held[one].digest, held[other].digest))
        return None

    def _agree(self, message: int, one: int, other: int) -> bool | None:
        """Say whether two claims are of the same sum; None if that cannot be said by digests."""
        a, b = self._held[message][one].digest, self._held[message][other].digest
        if a == b or (message, frozenset((one, other))) in self._undecided:
            return True
        alike, close = self._minutes.alike, self._minutes.close
        if (one, other, a, b) not in alike:
            alike[one, other, a, b] = self._referee.round_alike(one, other)
        if alike[one, other, a, b]:
            return False
        sent, also = self._sent(message, a), self._sent(message, b)
        if sent is None or also is None:
            return None
        if (a, b) not in close:
            close[a, b] = is_close(values_of(sent), values_of(also))
        return close[a, b]

    def _sent(self, message: int, digest: bytes) -> Payload | None:
        """Return a payload of a digest, from any role that has sent it."""
        for role in self._heard(message):
            claim = self._held[message][role]
            if claim.digest == digest and claim.payload is not None:
                return claim.payload
        return None

    def _sides(self, message: int) -> list[list[int]]:
        """Return for each role with a claim all that agree with it."""
        roles = self._heard(message)
        return [[b for b in roles if self._agree(message, a, b)] for a in roles]

    def _heard(self, message: int) -> list[int]:
        """Return which roles have a claim, without the expelled ones: maybe just now."""
        return sorted(self._held[message].keys() - self._referee.expelled.keys())

    def _weigh(self, message: int) -> None:
        """Note whether any two differ, and add the message to the sum if enough agree on it."""
        roles = self._heard(message)
        pairs = [(a, b, self._agree(message, a, b)) for a, b in combinations(roles, 2)]
        self._apart.pop(message, None)
        if differ := [(a, b) for a, b, agree in pairs if agree is False]:
            self._apart[message] = differ[0]
        agreed = max(self._sides(message), key=len, default=[])
        is_agreed = len(agreed) >= self._referee.needed(message)
        if is_agreed and self._has_come(message, agreed):
            self._enter(message, agreed)
        if self._sum is not None:
            unsure = {role for a, b, agree in pairs if agree is None for role in (a, b)}
            self._say_who_keeps(message, unsure, is_agreed=is_agreed)

    def _has_come(self, message: int, roles: list[int]) -> bool:
        return any(self._held[message][role].payload is not None for role in roles)

    def _say_who_keeps(self, message: int, unsure: set[int], *, is_agreed: bool) -> None:
        """Tell the state which roles a payload may be wanted from."""
        roles, held = self._heard(message), self._held[message]
        is_over = self._state.arrived[message]
        wanted = set() if is_over else unsure if self._has_come(message, roles) else set(roles)
        kept = tuple(
            role
            for role in sorted(wanted - self._state.lost.keys())
            if self._sent(message, held[role].digest) is None
        )
        self._state.keep(message, Kept(kept, is_agreed or bool(unsure)))

    # ---- what is believed

    def _enter(self, message: int, roles: list[int]) -> None:
        """Add a message, as most of the agreeing roles have computed it, to the last bit."""
        if self._sum is None:  # the round is over
            return
        held = self._held[message]
        sent = [role for role in roles if held[role].payload is not None]
        said = [held[role].digest for role in roles]
        first = max(sent, key=lambda role: (said.count(held[role].digest), -role))
        for role in (first, *roles):
            if (role, message) not in self._added:
                self._added.add((role, message))
                payload = held[first].payload
                assert payload is not None
                self._add(role, message, payload)

    def _unsure(self) -> list[int]:
        """Return the messages that have come, and that nobody is left to confirm."""
        arrived, pending = self._state.arrived, self._state.pending
        return [
            m
            for m in self._held
            if not (arrived[m] or pending[m]) and self._has_come(m, self._heard(m))
        ]

    def _lacking(self, message: int) -> set[int]:
        """Return which roles could have confirmed a message and have not."""
        able = set(self._code.senders(message)) - self._referee.expelled.keys()
        return able - self._held[message].keys()

    def is_agreed(self) -> bool:
        unsure, given_up = self._unsure(), self._referee.given_up
        return bool(unsure) and all(self._lacking(message) <= given_up for message in unsure)

    def accept(self) -> bool:
        unsure = self._unsure()
        for message in unsure:
            blocks, lacking = self._code.messages[message].blocks, self._lacking(message)
            if not lacking <= self._referee.given_up:
                logger.warning(
                    "The sum over blocks %s is taken unverified: %s has not confirmed it.",
                    *(list(blocks), " or ".join(f"role {role}" for role in sorted(lacking))),
                )
            self._referee.given_up |= lacking
            self.unverified.update(blocks)
            sides = [side for side in self._sides(message) if self._has_come(message, side)]
            self._enter(message, max(sides, key=len))
        return bool(unsure)

    def forget(self) -> None:
        super().forget()
        for held in self._held.values():  # one is enough to compare what comes late
            kept = min(held, key=lambda role: (held[role].payload is None, role), default=None)
            for role in held.keys() - {kept}:
                del held[role]
