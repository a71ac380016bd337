"""The audit of a fit: while it goes on, others compute again what one worker after another sent.

One check is under way at a time, of what one role has sent in one round. It goes on beside the
rounds, which do not wait for it. Where others come to another result, the role that is wrong is
expelled, all that it has ever sent is computed again, and the fit goes back to before the first of
its lies. At the end of a fit all of the last round is checked, so that a lie at the end is found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds.audit import Rotation
from dask_gradcode.rounds.journal import Journal, TakenBackError
from dask_gradcode.rounds.recount import Again, Answered, Bench, Recount
from dask_gradcode.rounds.recounting import Recounting
from dask_gradcode.rounds.trial import Mismatch, Trial
from dask_gradcode.rounds.verdicts import Discovery, Expelled
from dask_gradcode.typing import Evaluation, Matrix, Vector

__all__ = ["Auditing"]

logger = logging.getLogger("dask_gradcode")

Result = TypeVar("Result")

_AT_ONCE = 16
"""Answers of one worker that are computed again at once, when it has been found to lie."""


class Auditing:
    """Audits the rounds of one objective.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    bench : Bench
        Asks roles.
    limit : float
        Bytes of what the objective has said that are kept in memory; the rest goes to a file.
    seed : int, optional
        Of which role is audited when, and by which. None: nobody can foresee it.

    Attributes
    ----------
    recounting : Recounting
        Has answers computed again, and keeps what was sent and which roles are expelled.
    journal : Journal
        What the objective has said.
    found : list of Discovery
        Which roles were expelled, what was taken back, and what could not be checked at the end.
    """

    def __init__(
        self, code: GradientCode, bench: Bench, limit: float, seed: int | None = None
    ) -> None:
        self._code, self._bench, rng = code, bench, np.random.default_rng(seed)
        self.journal = Journal(limit)
        self.recounting = Recounting(code, bench, self.journal, rng)
        self._books, self._referee = self.recounting.books, self.recounting.referee
        self._rotation = Rotation(code.n_workers, rng)
        self._check: Recount | None = None
        self._seconds: dict[int, float] = {}
        self.found: list[Discovery] = []

    @property
    def n_blocks(self) -> int:
        """How many blocks have been computed again; in rounds it is all of them each time."""
        return self.recounting.n_blocks

    def close(self) -> None:
        """Wait for nothing more."""
        self._give_up()
        self.journal.close()

    # ---- what the objective tells

    def begin(self, kind: str, point: Matrix) -> list[Evaluation] | None:
        """Begin a call; return what it was answered before, if it was."""
        known = self.journal.recall(kind, point)
        self.recounting.begin()
        return known

    def end(self, kind: str, point: Matrix, seen: Sequence[Evaluation], rounds: range) -> None:
        """Take note of a call, look at the check that is under way, and begin another.

        Raises
        ------
        TakenBackError
            If a sum was wrong.
        """
        for record in {one.record.round: one.record for one in seen}.values():
            self.recounting.note(record)
            self._seconds[record.round] = record.seconds
        self.journal.keep(kind, point, seen, rounds)
        try:
            self.look()
        except TakenBackError as error:
            error.seen = seen
            raise
        if self._check is None and rounds:
            self._begin(rounds[-1])

    def look(self) -> None:
        """Look at what has come of checks; TakenBackError if a sum was wrong."""
        if self._check is not None and self._check.look():
            check, self._check = self._check, None
            self._weigh(check.told())
        self._compare()

    def audited(
        self,
        run: Callable[[], Result],
        where: Callable[[Result], Vector],
        drain: Callable[[], None],
    ) -> Result:
        """Run a fit until nothing that it was told was wrong."""
        self._give_up()
        self.journal.clear()
        while True:
            try:
                result = self._checked(run)
                drain()
                self._finish(self.journal.at(where(result)))
            except TakenBackError as error:
                logger.info("The fit begins again, by the same way up to round %d.", error.round)
            else:
                return result

    def _checked(self, run: Callable[[], Result]) -> Result:
        """Run a fit; what it stumbles over may be a lie, which comes first then."""
        try:
            return run()
        except (ArithmeticError, ValueError, Warning):  # singular matrices, too
            self._finish(())
            raise

    def _finish(self, end: Iterable[int]) -> None:
        """Check all of the last round, and of the rounds at the end of a fit.

        Raises
        ------
        TakenBackError
            If a sum was wrong.
        """
        if self._check is not None:
            self._check.wait()
        self.look()
        rounds = sorted({*self.journal.newest(), *end})
        left = self.recounting.unchecked(rounds)
        while left:
            self._weigh(self.recounting.recounted(left))
            before, left = left, self.recounting.unchecked(rounds)
            if left == before:
                break
        left = [one for one in left if not self.recounting.is_cleared(one.role)]
        if left:
            self._tell_of(left)

    # ---- checks

    def _begin(self, round: int) -> None:
        """Have somebody's answers to a round computed again."""
        left = self.recounting.unchecked([round])
        role = self._rotation.take({one.role for one in left})
        if role is not None:
            self._check = self.recounting.recount([one for one in left if one.role == role])

    def _give_up(self) -> None:
        if self._check is not None:
            self._check.close()
            self._check = None

    def _weigh(self, told: Sequence[Again]) -> None:
        """Compare what was computed again, and have mismatches tried."""
        for one in told:
            mismatch = self.recounting.mismatch(one)
            if mismatch is not None and one.answer.role not in self._referee.expelled:
                self._try(mismatch)

    def _compare(self) -> None:
        """Have roles tried that have sent different sums in a round, unasked."""
        while self._books.contradictions:
            round_, message, (one, other) = self._books.contradictions.pop(0)
            is_known = not self._referee.expelled.keys().isdisjoint((one, other))
            if is_known or round_ not in self.journal:
                continue
            claim = self._books.claimed(round_, other, message)
            self._try(Mismatch(Answered(round_, one, message), {message: (other, claim)}))

    # ---- which role is wrong

    def _try(self, mismatch: Mismatch) -> None:
        """Find out which role is wrong, and take back what follows from it."""
        answer, books = mismatch.answer, self._books
        self.recounting.recall(answer.round)
        ruling = Trial(self._code, self._bench, self.recounting.recall, books, mismatch).run()
        verdict, lies = ruling.verdict, list[int]()
        if ruling.dispute is not None and not verdict.absent:
            for event in self._referee.enter(answer.round, ruling.dispute, verdict):
                if isinstance(event, Expelled):
                    self._referee.expelled[event.role] = event.why
        for role in verdict.wrong:
            known = answer.round if role == answer.role else None
            found = self._lies(self._bench.addresses[role], known)
            blocks = self._code.blocks_of(role)
            self.found.append(Discovery(self._newest, role, "expelled", blocks, tuple(found)))
            lies += found
        if ruling.departed is not None:
            logger.warning(
                "Round %d: %s has sent a wrong sum as role %d, and has left since.",
                *(answer.round, ruling.departed, answer.role),
            )
            lies += self._lies(ruling.departed, answer.round)
        if lies:
            self._take_back(min(lies))

    def _lies(self, sender: str, known: int | None) -> list[int]:
        """Return the first round for which a worker has sent a lie, and one of which it is known.

        Only rounds count whose sums were made of it.
        """
        claimed = self._books.claimed
        if known is not None:
            used = self._books.used(known)
            if not any(claimed(known, *sent).sender == sender for sent in used):
                known = None
        suspects = [
            Answered(number, *sent)
            for number in self._books.rounds()
            if number in self.journal and (known is None or number < known)
            for sent in self._books.unchecked(number)
            if claimed(number, *sent).sender == sender
        ]
        first = self._first_wrong(suspects)
        return [number for number in (first, known) if number is not None]

    def _first_wrong(self, answers: Sequence[Answered]) -> int | None:
        """Return the round of the first answer that is wrong, or that nobody can check."""
        for start in range(0, len(answers), _AT_ONCE):
            some = answers[start : start + _AT_ONCE]
            told = {one.answer: one for one in self.recounting.recounted(some)}
            for answer in some:
                one = told.get(answer)
                if one is None or not one.is_complete or self.recounting.mismatch(one):
                    return answer.round
        return None

    def _take_back(self, first: int) -> None:
        rounds = tuple(range(first, self._newest + 1))
        seconds = sum(self._seconds.get(number, 0.0) for number in rounds)
        self.found.append(Discovery(self._newest, None, "taken back", (), rounds, seconds))
        self._give_up()
        self._books.forget(first)
        self.journal.rewind(first)
        text = (
            f"The sum of round {first} was wrong, as a worker has sent what is not right. Rounds "
            f"{first} to {rounds[-1]} are taken back: the fit goes on from what was known before."
        )
        logger.warning(text)
        raise TakenBackError(
            f"{text} Begin again: what was right is not computed twice. An objective's method "
            "audited() does so.",
            first,
            len(rounds),
        )

    def _tell_of(self, left: Sequence[Answered]) -> None:
        """Tell that answers to the last round could not be checked."""
        blocks = sorted({b for one in left for b in self._code.messages[one.message].blocks})
        self.found.append(Discovery(self._newest, None, "unverified", tuple(blocks)))
        logger.warning(
            "Round %d, blocks %s: nobody was left to compute again what was sent.",
            *(left[0].round, blocks),
        )

    @property
    def _newest(self) -> int:
        return max(self._seconds, default=0)
