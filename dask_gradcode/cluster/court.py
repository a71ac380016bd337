"""How workers that sent different sums are asked how they came to them: by Dask tasks.

Disputes are rare and rounds are not, so none of this is on a round's way: whatever the transport
of a fit, each question is a task that is pinned to the worker of a role.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.asking import ask
from dask_gradcode.cluster.client.waiting import is_late
from dask_gradcode.cluster.placement.arithmetic import describer
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.transport.passage import Passage
from dask_gradcode.cluster.worker.accounts import (
    Copy,
    Question,
    look_through,
    show,
    show_ends,
    show_rows,
    tell,
)
from dask_gradcode.codes.slices import WHOLE
from dask_gradcode.rounds.hearing import Inquiry
from dask_gradcode.typing import Matrix, Payload, Vector
from dask_gradcode.work import Work, of_order
from dask_gradcode.work.account import (
    ROWS_OF_DIGEST,
    Account,
    Evidence,
    Exhibit,
    Step,
    digests_of_rows,
)
from dask_gradcode.work.judging import redo

__all__ = ["Court"]

_KEPT = 4
"""Rounds of which the point is kept, for answers that come late."""


class Court:
    """Asks the roles of a placement; one fit long.

    When it is opened it has every role say what rows it holds. Roles that hold the same blocks must
    say the same, or nobody could tell later whose rows are right.

    Parameters
    ----------
    data : Placement
        The data.
    work : Work
        What is computed on each block.
    n_faulty : int
        How many of the roles that hold a block may be faulty.
    n_asked : int, optional
        How many of them have to say at the beginning what they hold. None: ``n_faulty + 1``.
    wide : bool, default=False
        Whether accounts are of all columns, as roles that hold the same rows see different ones.

    Raises
    ------
    RuntimeError
        If roles hold different rows of a block, and fewer than ``n_faulty + 1`` agree.
    """

    def __init__(
        self,
        data: Placement,
        work: Work,
        n_faulty: int,
        *,
        n_asked: int | None = None,
        wide: bool = False,
    ) -> None:
        self._data, self._work, self._n_faulty = data, work, n_faulty
        self._n_asked, self._wide = n_faulty + 1 if n_asked is None else n_asked, wide
        self._job = dumps((data.code, work))
        cut = not wide and work.per_column is not None
        self._columns = data.columns.of(work.per_column or 1) if cut else None
        self._passages: dict[int, Passage] = {}
        self._began_at = dict(data.addresses)
        self._copies = self._look_through()
        self._placed = {block: self._agreed(block) for block in range(data.code.n_blocks)}

    # ---- for the referee

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        """Note at which point a round is."""
        self._passages.pop(round, None)  # it is the newest then
        passage = self._passages[round] = Passage(self._work, self._columns)
        passage.begin(round, w, order)
        while len(self._passages) > _KEPT:
            del self._passages[next(iter(self._passages))]

    def inquire(self, round: int, message: int) -> Inquiry:
        """Return how to ask about a message."""
        return _Questioning(self, round, message)

    def round_alike(self, one: int, other: int) -> bool:
        """Say whether two roles compute by the same libraries and instructions.

        Of one that has gone to another worker since the beginning that is not known.
        """
        here = self._data.addresses
        ways = [
            self._copies[role].how
            for role in (one, other)
            if role in self._copies and here.get(role) == self._began_at[role]
        ]
        return len(ways) == 2 and ways[0] == ways[1]

    def where(self, role: int) -> str:
        """Say which worker plays a role."""
        return f"role {role} on {self._data.addresses[role]}"

    # ---- for those who ask

    def question(self, round: int, message: int, seed: int) -> Question | None:
        """Return what roles are asked; None if the round is too long ago."""
        if round not in self._passages:
            return None
        passage = self._passages[round]
        how = passage.order, passage.n_points, seed, self._wide
        return Question(self._job, message, round, *how)

    def point(self, round: int, role: int) -> Vector:
        """Return a round's point as a role sees it."""
        return self._passages[round].part(role)

    def received(self, round: int, role: int, payload: Vector) -> Payload:
        """Return what a role has computed of a round as a part of the whole payload."""
        return self._passages[round].received(round, role, payload, WHOLE)

    def work(self, question: Question) -> Work:
        """Return the work of the round of a question."""
        return of_order(self._work, question.derivatives, question.n_points)

    def coefficient(self, message: int, block: int) -> float:
        """Return the coefficient of a block in a message."""
        sent = self._data.code.messages[message]
        return sent.coefficients[sent.blocks.index(block)]

    def is_placed(self, step: Step, exhibit: Exhibit) -> bool:
        """Say whether rows are those of a step, as they were placed."""
        placed = self._placed[step.block]
        if placed is None:  # nobody has told
            return True
        first, stop = 0, len(placed)
        if step.rows is not None:
            first, stop = step.rows[0] // ROWS_OF_DIGEST, -(-step.rows[1] // ROWS_OF_DIGEST)
        rows = exhibit.rows if exhibit.first == first * ROWS_OF_DIGEST else None
        return rows is not None and digests_of_rows(rows) == placed[first:stop]

    def ask(
        self, function: Callable[..., Any], roles: Collection[int], args: Callable[[int], Any]
    ) -> dict[int, Any]:
        """Run a task on the shards of roles; a text in the place of a result says why not."""
        return ask(self._data, function, roles, args)

    # ---- at the beginning

    def _look_through(self) -> dict[int, Copy]:
        code, n_needed = self._data.code, self._n_asked
        took: list[float] = []

        def enough(told: Mapping[int, Any], waited: float) -> bool:
            here = {role for role, copy in told.items() if isinstance(copy, Copy)}
            took.extend([waited] * (len(here) - len(took)))
            is_known = all(len(here.intersection(held)) >= n_needed for held in code.holders)
            return is_known and is_late(waited, took, code.n_workers)

        describe, roles = describer(), range(code.n_workers)
        args = self._job, describe, self._wide
        told = ask(self._data, look_through, roles, lambda role: args, enough)
        return {role: copy for role, copy in told.items() if isinstance(copy, Copy)}

    def _agreed(self, block: int) -> list[bytes] | None:
        """Return the digests of a block's rows on which enough roles agree; None if nobody told."""
        said: dict[tuple[bytes, ...], list[int]] = {}
        for role in self._data.code.holders[block]:
            if role in self._copies:
                said.setdefault(tuple(self._copies[role].digests[block]), []).append(role)
        if not said:
            return None
        digests, agreeing = max(said.items(), key=lambda item: len(item[1]))
        if len(said) > 1 and len(agreeing) <= self._n_faulty:
            holders = sorted(role for roles in said.values() for role in roles)
            which = " and ".join(map(self.where, holders))
            raise RuntimeError(
                "Sums can be verified where roles hold the same rows, and the copies of "
                f"block {block} differ: {which}. Nobody can tell whose are right: one of these "
                "workers is faulty. Place the data anew, without them, or with more n_stragglers."
            )
        return list(digests)


class _Questioning:
    """Asks roles about one message of one round."""

    def __init__(self, court: Court, round: int, message: int) -> None:
        self._court, self._round, self._message = court, round, message
        # drawn after the answers have come, so that nobody can have suited them to it
        self._question = court.question(round, message, seed=uuid.uuid4().int % 2**32)
        self.n_bytes = 0

    def accounts(self, roles: Collection[int]) -> Mapping[int, Account | str]:
        told = self._ask(tell, roles)
        for one in told.values():
            if isinstance(one, Account):
                self.n_bytes += 16 * (len(one.digests) + 1) + int(one.marks.nbytes)
        return told

    def evidence(self, roles: Collection[int], number: int) -> Mapping[int, Evidence | str]:
        told = self._ask(show, roles, number)
        self.n_bytes += sum(one.nbytes for one in told.values() if isinstance(one, Evidence))
        return told

    def ends(self, roles: Collection[int]) -> Mapping[int, list[Vector] | str]:
        told = self._ask(show_ends, roles)
        lists = [ends for ends in told.values() if isinstance(ends, list)]
        self.n_bytes += sum(end.nbytes for ends in lists for end in ends)
        return told

    def rows(self, role: int, number: int) -> Exhibit | str:
        told: Exhibit | str = self._ask(show_rows, [role], number)[role]
        if isinstance(told, Exhibit):
            self.n_bytes += told.rows.nbytes
        return told

    def is_placed(self, step: Step, exhibit: Exhibit) -> bool:
        return self._court.is_placed(step, exhibit)

    def redo(self, role: int, step: Step, evidence: Evidence, exhibit: Exhibit) -> Vector:
        court, round_ = self._court, self._round
        coefficient = court.coefficient(self._message, step.block)
        assert self._question is not None
        work, w = court.work(self._question), court.point(round_, role)
        return redo(evidence, exhibit, step, work, w, coefficient)

    def round_alike(self, one: int, other: int) -> bool:
        return self._court.round_alike(one, other)

    def _ask(
        self, function: Callable[..., Any], roles: Collection[int], *more: Any
    ) -> dict[int, Any]:
        court, round_, question = self._court, self._round, self._question
        if question is None:
            return dict.fromkeys(roles, f"round {round_} is too long ago")
        self.n_bytes += sum(court.point(round_, role).nbytes for role in roles)
        return court.ask(function, roles, lambda role: (question, court.point(round_, role), *more))
