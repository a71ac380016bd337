"""Workers that exchange what they compute over links that lose some of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dask_gradcode.codes import CooperativeRepetition, Message
from dask_gradcode.rounds import (
    Absent,
    Arrived,
    Ask,
    Engine,
    Event,
    Logbook,
    Lost,
    Order,
    Patience,
    Round,
    TooMuchLostError,
    WaitRule,
)
from dask_gradcode.several import abreast, n_points_of
from dask_gradcode.stragglers import LossyLinks
from dask_gradcode.typing import Evaluation, Matrix, Vector
from dask_gradcode.work import (
    Block,
    Work,
    WorkLike,
    as_work,
    compute_payload,
    exchanged_sum,
    of_order,
)

__all__ = ["ExchangeObjective"]


class ExchangeObjective:
    """The sum over all blocks by a cooperative code, in this process, over links that lose.

    Rounds, plan and decoders are those of a cluster, and so is what links lose: nothing depends on
    time.

    Parameters
    ----------
    code : CooperativeRepetition
        How the sum is coded.
    blocks : mapping of int to Block
        All ``code.n_blocks`` blocks.
    work : Loss, callable or Work
        What to compute on each block.
    links : LossyLinks
        What is lost, by the round's number from 0.
    wait : WaitRule, optional
        When a round has enough messages. None: when the sum is exact.

    Raises
    ------
    TypeError
        If the code is no CooperativeRepetition, or ``links`` are no LossyLinks.

    Examples
    --------
    >>> from dask_gradcode.losses import Squared
    >>> blocks = {i: Block(np.full((1, 1), i + 1.0), np.ones(1)) for i in range(4)}
    >>> code = CooperativeRepetition(4, 2)
    >>> objective = ExchangeObjective(code, blocks, Squared(), LossyLinks(0.3))
    >>> seen = objective(np.zeros(1))
    >>> seen.gradient.round(9), seen.record.absent
    (array([-10.]), (0, 2, 5))
    """

    def __init__(
        self,
        code: CooperativeRepetition,
        blocks: Mapping[int, Block],
        work: WorkLike,
        links: LossyLinks,
        wait: WaitRule | None = None,
    ) -> None:
        if not isinstance(code, CooperativeRepetition):
            raise TypeError(f"code must be a CooperativeRepetition, got {code!r}.")
        if not isinstance(links, LossyLinks):
            raise TypeError(f"links must be LossyLinks, got {links!r}.")
        rows = np.array([blocks[i].n_rows for i in range(code.n_blocks)], dtype=float)
        work = as_work(work)
        port = _Exchange(code, blocks, work, links)
        self._engine = Engine(code, port, wait, block_rows=rows, work=work)

    @property
    def logs(self) -> Logbook:
        """What happened in the last 64 rounds, and in those that ended in an error or a doubt."""
        return self._engine.logs

    def __call__(self, w: Vector) -> Evaluation:
        """Run one round.

        Raises
        ------
        TooMuchLostError
            If too much was lost in all transmissions.
        """
        return self._engine(w)

    def exactly(self, w: Vector) -> Evaluation:
        """Run one round that is exact."""
        return self._engine.exactly(w)

    def second_order(self, w: Vector) -> Evaluation:
        """Run one round, for a Hessian, too."""
        return self._engine.second_order(w)

    def many(self, W: Any) -> list[Evaluation]:
        """Evaluate at several points, (n_points, n_parameters), in one round."""
        return self._engine.many(W)


class _Exchange:
    """A port to this process, in which nothing takes time and links lose what they should."""

    def __init__(
        self,
        code: CooperativeRepetition,
        blocks: Mapping[int, Block],
        work: Work,
        links: LossyLinks,
    ) -> None:
        self._code, self._blocks, self._links = code, blocks, links
        self._works = self._work = work
        self._round, self._w, self._clock = -1, np.zeros(0), 0.0
        self._asked: deque[tuple[int, int]] = deque()
        self._computed: dict[int, Vector] = {}  # the payload of each block, in this round

    def now(self) -> float:
        return self._clock

    def patience(self) -> Patience:
        return Patience()

    def begin(self, round: int, w: Vector | Matrix, order: int) -> Sequence[Lost]:
        self._round, self._w = round, abreast(w)
        self._work = of_order(self._works, order, n_points_of(w))
        self._asked.clear()
        self._computed.clear()
        return []

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            assert isinstance(order, Ask)  # nobody is late here
            self._asked.extend((order.role, message) for message in order.messages)

    def events(self, until: float | None) -> Sequence[Event]:
        role, index = self._asked.popleft()
        code, links, message = self._code, self._links, self._code.messages[index]
        self._clock += 1.0
        which = self._round, code.transmission(index), code.n_workers
        if not links.uploaded(*which)[role]:
            return [Absent(self._round, role, index)]
        received = links.received(*which)[role]
        parts = {block: self._of(block) for block in message.blocks if received[block]}
        sent = exchanged_sum(message, parts)
        return [Arrived(self._round, role, index, sent.payload, sent.blocks)]

    def _of(self, block: int) -> Vector:
        if block not in self._computed:
            alone = Message((block,), (1.0,))
            computed = compute_payload(self._code, alone, self._blocks, self._work, self._w)
            assert computed is not None  # nobody told it to stop
            self._computed[block] = computed
        return self._computed[block]

    def reached(self) -> Mapping[int, float]:
        return {}

    def explain(self, round: Round) -> BaseException:
        return TooMuchLostError.of(round.number, round.state)
