"""Which is wrong: a worker, or one of the others, which came to another result for what it sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dask_gradcode.codes import GradientCode
from dask_gradcode.codes.forest import leaves
from dask_gradcode.rounds.books import Books, Claim
from dask_gradcode.rounds.hearing import Verdict, hear
from dask_gradcode.rounds.recount import Answered, Bench, Wanted, whole_sum
from dask_gradcode.rounds.referee import Dispute
from dask_gradcode.typing import Payload

__all__ = ["Mismatch", "Ruling", "Trial"]


@dataclass(frozen=True)
class Mismatch:
    """An answer, and what others have come to for it.

    Parameters
    ----------
    answer : Answered
        Which answer.
    others : mapping of int to tuple of int and Claim
        By part of its message, the role that has computed it again, and what came of that.
    """

    answer: Answered
    others: Mapping[int, tuple[int, Claim]]


@dataclass(frozen=True)
class Ruling:
    """What was found.

    Parameters
    ----------
    dispute : Dispute or None
        Which roles were heard, about what.
    verdict : Verdict
        Which role is wrong.
    departed : str or None
        The address of a worker that has sent a wrong sum, and has gone since.
    """

    dispute: Dispute | None = None
    verdict: Verdict = field(default_factory=Verdict)
    departed: str | None = None


class Trial:
    """One mismatch, and the roles that it is about.

    They compute what is disputed once more, block by block. A role that comes to another result
    than before is wrong. If none does, the first block in which they differ is heard, as any
    dispute is.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    bench : Bench
        Asks roles.
    recall : callable
        ``recall(round)`` has the bench know a round's point again.
    books : Books
        What was sent.
    mismatch : Mismatch
        What is disputed.
    """

    def __init__(
        self,
        code: GradientCode,
        bench: Bench,
        recall: Callable[[int], None],
        books: Books,
        mismatch: Mismatch,
    ) -> None:
        self._code, self._bench, self._recall, self._books = code, bench, recall, books
        self._answer, self._others = mismatch.answer, mismatch.others
        self._told: dict[int, Mapping[int, Payload]] = {}

    def run(self) -> Ruling:
        """Find out which role is wrong; none, if one does not answer or it cannot be said."""
        code, (_, role, message) = self._code, self._answer
        wanted = {role: list(leaves(code, message))}
        for part, (other, _) in self._others.items():
            wanted.setdefault(other, []).extend(leaves(code, part))
        absent = self._ask(wanted)
        if absent:
            return Ruling(self._between(message), Verdict(absent=absent))
        said = self._books.claimed(*self._answer)
        if not self._comes_to(role, message, said):
            if said.sender == self._bench.addresses.get(role):
                return self._contradicted(message, role)
            return Ruling(departed=said.sender)
        for part, (other, claim) in self._others.items():
            if not self._comes_to(other, part, claim):
                is_same = claim.sender == self._bench.addresses.get(other)
                return self._contradicted(message, other) if is_same else Ruling()
        return self._heard()

    def _ask(self, wanted: Mapping[int, Sequence[int]]) -> dict[int, str]:
        """Have roles compute messages, and return which do not, and why."""
        round_ = self._answer.round
        tasks = {role: Wanted(round_, role, messages) for role, messages in wanted.items()}
        pending = self._bench.again(tasks, self._recall)
        try:
            while not pending.look(1.0):
                pass
        finally:
            pending.close()
        absent: dict[int, str] = {}
        for role in wanted:
            told = pending.told(role)
            if isinstance(told, str):
                absent[role] = told
            else:
                self._told[role] = told
        return absent

    def _comes_to(self, role: int, message: int, said: Claim) -> bool:
        """Say whether a role comes to what was sent before."""
        told = self._told[role]
        below = {leaf: told[leaf] for leaf in leaves(self._code, message)}
        now = self._claim(whole_sum(self._code, message, below), role)
        bitwise = said.sender == now.sender and not self._bench.wide
        return said.agrees(now, bitwise=bitwise)

    def _claim(self, payload: Payload, role: int) -> Claim:
        return self._books.claim(payload, self._bench.addresses.get(role, ""))

    def _contradicted(self, message: int, role: int) -> Ruling:
        wrong = {role: "it cannot account for what it sent"}
        return Ruling(self._between(message), Verdict(wrong))

    def _between(self, message: int) -> Dispute:
        """Return the dispute of the role with the first of the others."""
        other, claim = next(iter(self._others.values()))
        said = self._books.claimed(*self._answer)
        return Dispute(message, (self._answer.role, other), (said.digest, claim.digest))

    def _heard(self) -> Ruling:
        """Hear the two that differ in a block, in the first in which any do."""
        round_, role, _ = self._answer
        for part, (other, _) in self._others.items():
            for leaf in leaves(self._code, part):
                ours, theirs = (self._claim(self._told[who][leaf], who) for who in (role, other))
                if ours.agrees(theirs, bitwise=self._bench.round_alike(role, other)):
                    continue
                claims = {role: ours.digest, other: theirs.digest}
                self._recall(round_)
                verdict = hear(self._bench.inquire(round_, leaf), claims)
                dispute = Dispute(leaf, (role, other), (ours.digest, theirs.digest))
                return Ruling(dispute, verdict)
        return Ruling()
