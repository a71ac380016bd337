"""An audited fit in this process: roles that lie, in rounds that are told what comes first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from confirmers import Asking
from dask_gradcode.cluster.worker.lies import Lies, falsified
from dask_gradcode.codes import GradientCode
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Arrived, Ask, Engine, Everybody, Lost, Patience, Round
from dask_gradcode.rounds.auditing import Auditing
from dask_gradcode.rounds.recount import Told, Wanted
from dask_gradcode.rounds.recounting import SECOND_ORDER, VALUE
from dask_gradcode.typing import Evaluation, Vector
from dask_gradcode.work import Block, Piece, as_work, compute_message, of_order, pieces_of
from dask_gradcode.work.account import (
    Step,
    digests_of_rows,
)
from dask_gradcode.work.judging import redo

__all__ = ["Audited", "blocks_of"]


def blocks_of(code: GradientCode, n_rows: int = 12) -> dict[int, Block]:
    rng = np.random.default_rng(0)
    return {
        index: Block(rng.normal(size=(n_rows, 3)), rng.integers(0, 2, n_rows).astype(float))
        for index in range(code.n_blocks)
    }


class Audited:
    """An objective, its workers, and the bench before which these are asked.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    lies : sequence of Lies
        Who lies, and how.
    rounds : collection of int, optional
        In which rounds there are lies. None: in all from the first on that the lies have.
    order : callable, optional
        Puts the answers of a round in the order in which they come.
    n_looks : int, default=1
        How often somebody looks at what is computed again until it is there.
    """

    def __init__(
        self,
        code: GradientCode,
        lies: Sequence[Lies] = (),
        rounds: Collection[int] | None = None,
        order: Callable[[list[Any]], list[Any]] = list,
        n_looks: int = 1,
        seed: int = 0,
    ) -> None:
        self.code, self.lies, self.rounds = code, list(lies), rounds
        self.order, self.n_looks = order, n_looks
        self.works, self.blocks = as_work(Logistic()), blocks_of(code)
        self.digests = {i: digests_of_rows(block) for i, block in self.blocks.items()}
        self.wide = False
        self.addresses = {role: f"worker-{role}" for role in range(code.n_workers)}
        self.absent: dict[int, str] = {}
        self.asked: list[tuple[int, int]] = []  # by whom what was computed again
        self._points: dict[int, tuple[Vector, int]] = {}
        self.audit = Auditing(code, self, limit=1e6, seed=seed)
        books, referee = self.audit.recounting.books, self.audit.recounting.referee
        rows = np.array([block.n_rows for block in self.blocks.values()], dtype=float)
        rest = rows, self.works, referee, books
        self.engine = Engine(code, self, None, Everybody(), *rest)  # type: ignore[arg-type]
        self._answers: list[Arrived] = []
        self._number = -1

    # ---- the objective

    @property
    def is_repeating(self) -> bool:
        return self.audit.journal.is_repeating

    def __call__(self, w: Vector) -> Evaluation:
        return self._run(VALUE, w, lambda: self.engine(w))

    def second_order(self, w: Vector) -> Evaluation:
        return self._run(SECOND_ORDER, w, lambda: self.engine.second_order(w))

    def _run(self, kind: str, w: Vector, evaluate: Callable[[], Evaluation]) -> Evaluation:
        known = self.audit.begin(kind, w)
        if known is not None:
            return known[0]
        first = self.engine.n_rounds
        seen = evaluate()
        self.audit.end(kind, w, [seen], range(first, self.engine.n_rounds))
        return seen

    def audited(self, run: Callable[[], Any], where: Callable[[Any], Vector]) -> Any:
        return self.audit.audited(run, where, lambda: None)

    # ---- what a role computes

    def pieces(self, role: int, round: int, message: int) -> Sequence[Piece]:
        w, order = self._points[round]
        work = of_order(self.works, order)
        pieces: Sequence[Piece] = pieces_of(
            self.code, self.code.messages[message], self.blocks, work, w
        )
        for lies in self.lies if self.rounds is None or round in self.rounds else ():
            pieces = falsified(lies, pieces, role, round)
        return pieces

    def payload(self, role: int, round: int, message: int) -> Vector:
        found = compute_message(self.code, message, lambda leaf: self.pieces(role, round, leaf))
        assert found is not None
        return found

    # ---- the port

    def now(self) -> float:
        return 0.0

    def patience(self) -> Patience:
        return Patience()

    def reached(self) -> Mapping[int, float]:
        return {}

    def explain(self, round: Round) -> BaseException:
        return AssertionError(round.outcome)

    def send(self, orders: Sequence[Any]) -> None:
        asks = [order for order in orders if isinstance(order, Ask)]
        new = [
            Arrived(self._number, ask.role, m, self.payload(ask.role, self._number, m))
            for ask in asks
            for m in ask.messages
        ]
        self._answers += self.order(new)

    def events(self, until: float | None) -> Sequence[Any]:
        return [self._answers.pop(0)]

    def begin(self, round: int, w: Any, order: int) -> list[Lost]:
        self._points[round] = np.array(w), order
        if round > self._number:  # it is the port that is told, and not the bench
            self._number = round
            self._answers = self._answers[:1]  # one comes late
        return []

    # ---- the bench

    def where(self, role: int) -> str:
        return self.addresses[role]

    def round_alike(self, one: int, other: int) -> bool:
        return True

    def present(self) -> Collection[int]:
        return self.addresses.keys()

    def again(self, wanted: Mapping[Any, Wanted], recall: Callable[[int], None]) -> _Pending:
        for one in wanted.values():
            recall(one.round)
            self.asked.append((one.round, one.role))
        return _Pending(self, wanted)

    def inquire(self, round: int, message: int) -> _Asked:
        return _Asked(self, round, message)


class _Pending:
    def __init__(self, owner: Audited, wanted: Mapping[Any, Wanted]) -> None:
        self._owner, self._wanted, self._left = owner, wanted, owner.n_looks

    def look(self, timeout: float = 0.0) -> bool:
        self._left -= 1
        return self._left <= 0

    def told(self, ticket: Any) -> Told:
        round_, role, messages = self._wanted[ticket]
        if role in self._owner.absent:
            return self._owner.absent[role]
        return {m: self._owner.payload(role, round_, m) for m in messages}

    def close(self) -> None:
        pass


class _Asked(Asking):
    def __init__(self, owner: Audited, round: int, message: int) -> None:
        self.owner, self.round, self.message, self.n_bytes = owner, round, message, 0

    def _each(self, roles: Collection[int], ask: Callable[[Sequence[Piece]], Any]) -> Any:
        return {role: ask(self.owner.pieces(role, self.round, self.message)) for role in roles}

    def is_placed(self, step: Step, exhibit: Any) -> bool:
        return digests_of_rows(exhibit.rows) == self.owner.digests[step.block]

    def redo(self, role: int, step: Step, evidence: Any, exhibit: Any) -> Vector:
        w, order = self.owner._points[self.round]
        return redo(evidence, exhibit, step, of_order(self.owner.works, order), w, 1.0)

    def round_alike(self, one: int, other: int) -> bool:
        return self.owner.round_alike(one, other)
