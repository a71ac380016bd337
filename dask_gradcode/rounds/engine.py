"""The one loop that drives rounds: on a cluster, on a virtual clock, in this process.

A *port* is where a round meets the world. The engine asks it to begin a round, hands it the orders
of the round and hands the round its events, until the round has ended::

    optimizer -- w --> Engine -- begin, orders --> Port --> workers
                          ^                          |
                          +--------- events ---------+
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.payloads import Statistic
from dask_gradcode.rounds.batches import batches
from dask_gradcode.rounds.believing import witness_by
from dask_gradcode.rounds.books import Books
from dask_gradcode.rounds.evaluation import evaluation, evaluations
from dask_gradcode.rounds.events import Announced, Arrived, Event, Ready
from dask_gradcode.rounds.lateness import Lateness
from dask_gradcode.rounds.log import REMEMBERED, Logbook
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.outcomes import Done
from dask_gradcode.rounds.plans import Balancing, Confirming, Everybody, LetFinish, Policy
from dask_gradcode.rounds.port import Port
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.rounds.round import Round
from dask_gradcode.rounds.rules import UntilExact, WaitRule, rule_for
from dask_gradcode.rounds.stand_in import ScaledUp
from dask_gradcode.rounds.syndrome import SyndromeReferee
from dask_gradcode.rounds.trust import Witness
from dask_gradcode.several import Several, abreast, n_points_of
from dask_gradcode.typing import Evaluation, Matrix, Vector
from dask_gradcode.work import Work, of_order

__all__ = ["Engine"]


class Engine:
    """Runs the rounds of one fit, one after the other.

    Parameters
    ----------
    code : GradientCode
        How the sum is coded.
    port : Port
        What computes.
    wait : WaitRule, optional
        When a round has enough messages. None: until it is exact.
    policy : Policy, optional
        Which workers are asked, and when. None: ``Balancing`` where the rule is exact; otherwise
        everybody, as the same workers' rows would be left out in every round. With a referee
        ``Confirming``.
    block_rows : ndarray of shape (n_blocks,), optional
        Rows of each block, by which an approximate sum is scaled up. None: blocks of equal size.
    work : Work, optional
        Says what payloads contain. None: a value and a gradient.
    referee : Referee or SyndromeReferee, optional
        Says on which sums how many have to agree, or whether all do, and which roles are expelled.
        None, or one that compares nothing: the first answer is believed.
    books : Books, optional
        Note what is sent, to be audited.

    Attributes
    ----------
    doubts : list of tuple of int and Doubt
        What was sent in which round and cannot be right. The reader of the list clears it.
    logs : Logbook
        What happened in the last rounds, and in all that ended in an error or a doubt.

    Raises
    ------
    ValueError
        If the wait rule makes no sense for the code, or the plan needs a referee.

    Examples
    --------
    :class:`Port` has an example of both. The port of this process is behind
    :class:`~dask_gradcode.objective.InProcessObjective`:

    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.work import Block
    >>> from dask_gradcode.objective import InProcessObjective
    >>> code = FractionalRepetition(2, 1)
    >>> blocks = {i: Block(np.eye(2), np.ones(2)) for i in range(code.n_blocks)}
    >>> objective = InProcessObjective(code, blocks, lambda w, block: (float(block.n_rows), w))
    >>> objective(np.ones(2)).value
    4.0
    """

    def __init__(
        self,
        code: GradientCode,
        port: Port,
        wait: WaitRule | None = None,
        policy: Policy | None = None,
        block_rows: Vector | None = None,
        work: Work | None = None,
        referee: Referee | SyndromeReferee | None = None,
        books: Books | None = None,
    ) -> None:
        self._code, self._port, self._wait = code, port, rule_for(code, wait)
        self._memory = self._wait.memory(code)
        self._stand_in = self._memory or ScaledUp(code, block_rows)
        self._work, self._referee, self._books = work, referee, books
        self._compares = referee is not None and referee.compares
        if isinstance(policy, Confirming) and not isinstance(referee, Referee):
            raise ValueError(f"{policy!r} is for rounds whose sums are verified: verify=1 or more.")
        self._planner = (policy or self._usual_policy()).start(code)
        self._lateness = Lateness(code)
        self._n_rounds = 0
        self._recent: dict[int, Round] = {}  # that are done: answers to them may still come
        self._back: list[Ready] = []  # roles that came back between two rounds
        self.doubts: list[tuple[int, Doubt]] = []
        self.logs = Logbook()

    def _usual_policy(self) -> Policy:
        if self._memory is not None:
            return LetFinish()
        if isinstance(self._referee, Referee) and self._compares:
            return Confirming(self._referee.ways())
        if self._compares:  # it takes the answers of several
            return Everybody()
        return Balancing() if self._wait.exact else Everybody()

    @property
    def n_rounds(self) -> int:
        """How many rounds have begun."""
        return self._n_rounds

    def __call__(self, w: Vector) -> Evaluation:
        """Run one round and return value and gradient.

        Raises
        ------
        Exception
            What the port makes of a round that ends without a sum.
        """
        return self._evaluate(w, 1)

    def exactly(self, w: Vector) -> Evaluation:
        """Run one round in which nothing stands in for what is missing."""
        return self._evaluate(w, 1, exact=True)

    def second_order(self, w: Vector) -> Evaluation:
        """Run one round for value, gradient and Hessian; TypeError if the work has none."""
        return self._evaluate(w, 2)

    def many(self, W: ArrayLike) -> list[Evaluation]:
        """Return value and gradient at several points, in one round for each batch of them."""
        return [seen for batch in batches(W) for seen in self._abreast(batch)]

    def _abreast(self, points: Matrix) -> list[Evaluation]:
        if len(points) == 1:
            return [self.exactly(points[0])]
        round_, statistic = self.run(points), self._statistic(points, 1)
        assert isinstance(statistic, Several)
        seen = evaluations(round_, statistic)
        self.conclude(round_, seen[0].record)
        return seen

    def _evaluate(self, w: Vector, order: int, *, exact: bool = False) -> Evaluation:
        round_ = self.run(w, order, exact=exact)
        seen = evaluation(round_, self._statistic(w, order))
        self.conclude(round_, seen.record)
        return seen

    def _statistic(self, w: Vector | Matrix, order: int) -> Statistic:
        if self._work is None:
            return Statistic.at(w, order) if w.ndim == 1 else Several(Statistic.at(w[0]), len(w))
        return of_order(self._work, order, n_points_of(w)).statistic(abreast(w))

    def run(
        self, w: Vector | Matrix | None = None, order: int = 1, *, exact: bool = False
    ) -> Round:
        """Run one round until it is done; ``conclude`` it, or it teaches nothing.

        Parameters
        ----------
        w : ndarray of shape (n_parameters,) or (n_points, n_parameters), optional
            The point, or points. None: of rounds in which nothing is computed.
        order : {1, 2}, default=1
            Up to which order derivatives are wanted.
        exact : bool, default=False
            Whether nothing shall stand in for what is missing; it never does for several points
            and second derivatives.

        Returns
        -------
        Round
            The round.
        """
        port, exact = self._port, exact or order > 1 or (w is not None and w.ndim > 1)
        statistic = None if w is None else self._statistic(w, order)
        round_ = Round(
            self._n_rounds,
            self._code,
            UntilExact() if exact and self._memory is not None else self._wait,
            self._planner,
            port.patience(),
            self._stand_in,
            self._witness(Inspector(self._code, w, statistic)),
        )
        self._n_rounds += 1
        self.logs.add(round_.log)
        point = np.zeros(0) if w is None else w
        news: list[Event] = [*self._back, *port.begin(round_.number, point, order)]
        if self._memory is not None:
            news += self._memory.begin(round_.number, point, statistic, news, exact=exact)
        self._back.clear()
        if self._referee is not None:
            news = self._referee.begin(round_.number, point, order, news)
        orders = round_.begin(news, port.now())
        while round_.outcome is None:
            self._send(orders)
            orders = self._hand_over(port.events(round_.look_at), round_)
        if not isinstance(round_.outcome, Done):
            self.logs.keep(round_.number)
            raise port.explain(round_)
        round_.late = self._lateness.end(round_, port.reached())
        self._recent[round_.number] = round_
        self._recent.pop(round_.number - REMEMBERED, None)
        return round_

    def _witness(self, inspector: Inspector) -> Witness:
        if self._books is not None:
            return self._books.witness(self._n_rounds, inspector)
        return witness_by(self._referee if self._compares else None, inspector, self._n_rounds)

    def _send(self, orders: list[Order]) -> None:
        if orders:
            self._port.send(orders)
            if self._memory is not None:
                self._memory.ask(orders, self._port.now())

    def _hand_over(self, events: Sequence[Event], round_: Round) -> list[Order]:
        now, orders = self._port.now(), list[Order]()
        for event in events:
            if self._referee is not None and self._referee.ignores(event):
                continue
            addressed = round_
            if isinstance(event, Ready) and round_.outcome is not None:
                self._back.append(event)
            elif isinstance(event, Arrived | Announced) and event.round in self._recent:
                addressed = self._recent[event.round]
            n_doubts = len(addressed.doubts)
            orders += addressed.handle(event, now)
            if self._referee is not None:
                orders += self._referee.settle(addressed, round_, self._port.now)
                now = self._port.now()
            if isinstance(event, Arrived | Announced) and event.round in self._recent:
                self._lateness.heard(addressed, event.role, now)
            if self._memory is not None:
                heard = event, now, len(addressed.doubts) == n_doubts
                if round_.outcome is not None:
                    self._memory.hear_later(*heard)
                else:
                    orders += self._told(round_, self._memory.hear(*heard), now)
            if addressed.doubts and addressed.outcome is not None:  # it may withdraw them before
                self.logs.keep(addressed.number, addressed.doubts)
                self.doubts += ((addressed.number, doubt) for doubt in addressed.doubts)
                addressed.doubts.clear()
        is_due = round_.look_at is not None and now >= round_.look_at
        if round_.outcome is None and (is_due or not events):  # whatever others may chatter
            orders += round_.handle(None, now)
        return orders

    def _told(self, round_: Round, events: Sequence[Event], now: float) -> list[Order]:
        return [order for event in events for order in round_.handle(event, now)]

    def conclude(self, round_: Round, record: RoundRecord) -> None:
        """Let go of the messages of a round that is done, and learn from its record."""
        round_.forget()
        self._planner.end(record)

    def drain(self, timeout: float = 0.0) -> None:
        """Enter what has come late in the records of its rounds, after waiting for something."""
        if not self._recent:
            return
        newest = next(reversed(self._recent.values()))
        end = self._port.now() + timeout
        while True:
            events = self._port.events(end)
            self._hand_over(events, newest)
            if events or self._port.now() >= end:
                return
