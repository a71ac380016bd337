"""Workers in this process that confirm each other's sums, of which some lie, and who asks them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dask_gradcode.cluster.worker.lies import Lies, falsified
from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Inspector
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Arrived, Patience, Planner, Round
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.rounds.verified import Verification
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, Piece, Work, as_work, pieces_of
from dask_gradcode.work.account import (
    ROWS_OF_DIGEST,
    Step,
    account_of,
    digests_of_rows,
    ends_of,
    evidence_of,
    rows_of,
)
from dask_gradcode.work.judging import redo
from dask_gradcode.work.payload import add_up

W = np.array([0.3, -0.2, 0.1, 0.5])
LOGISTIC = as_work(Logistic())


def blocks_of(code: GradientCode, n_rows: int = 40) -> dict[int, Block]:
    rng = np.random.default_rng(0)
    return {
        index: Block(rng.normal(size=(n_rows, 3)), rng.integers(0, 2, n_rows).astype(float))
        for index in range(code.n_blocks)
    }


class Workers:
    """The roles of a code in this process, of which some lie."""

    def __init__(
        self,
        code: GradientCode,
        lies: Sequence[Lies] = (),
        blocks: Mapping[int, Block] | None = None,
        work: Work = LOGISTIC,
        alike: Callable[[int, int], bool] = lambda one, other: True,
        factor: Mapping[int, float] | None = None,
    ) -> None:
        self.code, self.lies, self.work, self.alike = code, lies, work, alike
        self.blocks = blocks_of(code) if blocks is None else blocks
        self.digests = {i: digests_of_rows(block) for i, block in self.blocks.items()}
        self.absent: dict[int, str] = {}
        self.factor = factor or {}  # by which a role rounds otherwise
        self.referee: Referee | None = None

    def pieces(self, role: int, round: int, message: int) -> Sequence[Piece]:
        blocks = self.blocks
        if role in self.factor:
            blocks = {
                i: Block(b.X * self.factor[role], b.y, b.sample_weight) for i, b in blocks.items()
            }
        pieces: Sequence[Piece] = pieces_of(
            self.code, self.code.messages[message], blocks, self.work, W
        )
        for lies in self.lies:
            pieces = falsified(lies, pieces, role, round)
        return pieces

    def payload(self, role: int, message: int, round: int = 0) -> Vector:
        payload = add_up(self.pieces(role, round, message), [], lambda: False)
        assert payload is not None
        return payload

    def referees(self, n_faulty: int) -> Referee:
        self.referee = Referee(self.code, n_faulty, self)
        return self.referee

    def begin(self, round: int, w: Any, order: int) -> None:
        pass

    def inquire(self, round: int, message: int) -> Asked:
        return Asked(self, round, message)

    def round_alike(self, one: int, other: int) -> bool:
        return self.alike(one, other)

    def where(self, role: int) -> str:
        return f"role {role}"


class Asking:
    """Asks roles in this process for what they can tell of a message."""

    def _each(self, roles: Collection[int], ask: Callable[[Sequence[Piece]], Any]) -> Any:
        raise NotImplementedError

    def accounts(self, roles: Collection[int]) -> Any:
        return self._each(roles, lambda pieces: account_of(pieces, 0))

    def evidence(self, roles: Collection[int], number: int) -> Any:
        return self._each(roles, lambda pieces: evidence_of(pieces, number))

    def ends(self, roles: Collection[int]) -> Any:
        return self._each(roles, ends_of)

    def rows(self, role: int, number: int) -> Any:
        return self._each([role], lambda pieces: rows_of(pieces, number))[role]


class Asked(Asking):
    """Asks workers in this process."""

    def __init__(self, workers: Workers, round: int, message: int) -> None:
        self.workers, self.round, self.message, self.n_bytes = workers, round, message, 0

    def _each(self, roles: Collection[int], ask: Callable[[Sequence[Piece]], Any]) -> Any:
        return {
            role: self.workers.absent.get(role)
            or ask(self.workers.pieces(role, self.round, self.message))
            for role in roles
        }

    def is_placed(self, step: Step, exhibit: Any) -> bool:
        found = digests_of_rows(exhibit.rows)
        first = exhibit.first // ROWS_OF_DIGEST
        return found == self.workers.digests[step.block][first : first + len(found)]

    def redo(self, role: int, step: Step, evidence: Any, exhibit: Any) -> Vector:
        return redo(evidence, exhibit, step, self.workers.work, W, 1.0)

    def round_alike(self, one: int, other: int) -> bool:
        return self.workers.alike(one, other)


def begun(
    workers: Workers,
    referee: Referee,
    number: int = 0,
    news: Sequence[Any] = (),
    planner: Planner | None = None,
    **patience: float,
) -> Round:
    """Return a round that has begun."""
    statistic = workers.work.statistic(W)
    witness = Verification(Inspector(workers.code, W, statistic), referee)
    waits = Patience(**patience) if patience else None
    round_ = Round(number, workers.code, planner=planner, patience=waits, witness=witness)
    round_.begin(referee.begin(number, W, 1, news), now=0.0)
    return round_


def honest_sum(code: GradientCode, **others: Any) -> Vector:
    workers = Workers(code, **others)
    round_ = Round(0, code)
    round_.begin([], now=0.0)
    for role in range(code.n_workers):
        for message in code.messages_of[role]:
            round_.handle(Arrived(0, role, message, workers.payload(role, message)), now=1.0)
    return round_.result()
