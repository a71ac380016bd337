"""Which roles are to compute again what others have sent, and whether that is what they sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.batches import batches
from dask_gradcode.rounds.books import Books
from dask_gradcode.rounds.journal import Journal
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.recount import Again, Answered, Bench, Recount, whole_sum
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.rounds.trial import Mismatch

__all__ = ["MANY", "SECOND_ORDER", "VALUE", "Recounting"]

VALUE, SECOND_ORDER, MANY = "value", "second order", "many"
"""Kinds of calls of an objective."""


class Recounting:
    """Has answers computed again.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    bench : Bench
        Asks roles.
    journal : Journal
        Knows the points of rounds.
    rng : numpy.random.Generator
        Draws which role is asked, and the secret vector of the books.

    Attributes
    ----------
    bench : Bench
        Asks roles.
    referee : Referee
        Knows which roles are expelled.
    books : Books
        What was sent.
    n_checks, n_blocks : int
        How many answers were computed again, and of how many blocks they are.
    """

    def __init__(
        self, code: GradientCode, bench: Bench, journal: Journal, rng: np.random.Generator
    ) -> None:
        self._code, self.bench, self._journal, self._rng = code, bench, journal, rng
        self.referee = Referee(code, 0, bench)
        self._addresses: dict[int, str] = dict(bench.addresses)
        secret = rng.integers(2**32, size=4).tolist()
        self.books = Books(secret, self.bitwise, lambda role: self._addresses.get(role, ""))
        self._away: set[int] = set()
        self._late: set[int] = set()
        self.n_checks = self.n_blocks = 0

    def begin(self) -> None:
        """Note where roles are, before a round."""
        self._addresses = dict(self.bench.addresses)

    def note(self, record: RoundRecord) -> None:
        """Note what a round has used, and which roles were away."""
        used = [(sent.role, sent.message) for sent in record.answers if sent.used]
        self.books.use(record.round, used)
        self._away = {*record.lost, *record.unplaced}
        self._late = set(record.late)

    def recall(self, round: int) -> None:
        """Have the bench know the point of a round."""
        point, kind, place = self._journal.point(round)
        if kind == MANY:
            batch = batches(point)[place]
            point = batch if len(batch) > 1 else batch[0]
        self.bench.begin(round, point, 2 if kind == SECOND_ORDER else 1)

    def recount(self, answers: Sequence[Answered]) -> Recount:
        """Have answers computed again."""
        how = self.bench, self.recall, answers, self._able, self._late
        recount = Recount(self._code, *how)
        self.n_checks += recount.n_answers
        self.n_blocks += recount.n_blocks
        return recount

    def recounted(self, answers: Sequence[Answered]) -> list[Again]:
        """Have answers computed again, and wait for that."""
        recount = self.recount(answers)
        try:
            recount.wait()
        finally:
            recount.close()
        return recount.told()

    def _able(self, answer: Answered) -> list[int]:
        """Return which roles can compute an answer again, in an order that nobody can foresee.

        They are there, on another worker, and not expelled.
        """
        sender, here = self.books.claimed(*answer).sender, self.bench.addresses
        away = {answer.role, *self._away, *self.referee.expelled}
        order = self._rng.permutation(sorted(set(self.bench.present()) - away)).tolist()
        return [role for role in order if here[role] != sender]

    def mismatch(self, one: Again) -> Mismatch | None:
        """Return how an answer differs from what was sent, or note that it does not.

        Nothing can be said of what nobody, or only a role not believed, has computed again.
        """
        answer, said = one.answer, self.books.claimed(*one.answer)
        if not one.is_complete or not self.referee.expelled.keys().isdisjoint(
            one.auditors.values()
        ):
            return None
        total = whole_sum(self._code, answer.message, one.parts)
        bitwise = all(self.bitwise(answer.role, role) for role in one.auditors.values())
        if said.agrees(self.books.claim(total, ""), bitwise=bitwise):
            self.books.clear(*answer)
            return None
        others = {
            part: (role, self.books.claim(one.parts[part], self.bench.addresses[role]))
            for part, role in one.auditors.items()
        }
        return Mismatch(answer, others)

    def bitwise(self, one: int, other: int) -> bool:
        """Say whether two roles compute the same bits."""
        return not self.bench.wide and self.bench.round_alike(one, other)

    def unchecked(self, rounds: Sequence[int]) -> list[Answered]:
        """Return what some rounds have used and nobody has computed again."""
        expelled = self.referee.expelled
        return [
            Answered(number, *sent)
            for number in rounds
            for sent in self.books.unchecked(number)
            if sent[0] not in expelled
        ]

    def is_cleared(self, role: int) -> bool:
        """Say whether a role is honest, as another holder of one of its blocks was expelled.

        Of a block's holders one at most is faulty.
        """
        expelled, holders = self.referee.expelled.keys(), self._code.holders
        return any(not expelled.isdisjoint(holders[block]) for block in self._code.blocks_of(role))
