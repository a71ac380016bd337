"""Workers that only take time, and the clock that they and the client share."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import (
    Arrived,
    Ask,
    Drop,
    Event,
    InsufficientWorkersError,
    Lost,
    Order,
    Patience,
    Round,
    Yield,
    Yielded,
)
from dask_gradcode.simulation.agenda import Agenda
from dask_gradcode.simulation.uplinks import Uplinks
from dask_gradcode.stragglers import StragglerModel
from dask_gradcode.typing import Mask, Matrix, Payload, Vector

__all__ = ["VirtualPort", "refuse_exchanges"]

# kinds of what is coming, in the order in which they come
_ANSWER, _SENT, _YIELDED, _TOLD, _READY, _FREE = range(6)


class VirtualPort:
    """Runs rounds on a virtual clock.

    As on a cluster a delay cannot be interrupted, computing is given up once a newer round asks the
    same worker, and only the newest round that has asked it is worked on: a worker that is still in
    an old round's delay then starts on the new one after that, with the new round's delay. A worker
    that is not asked goes on with what it has.

    Parameters
    ----------
    code : GradientCode
        Says which worker computes what.
    model : StragglerModel
        The delays and slowdowns.
    work : float or array-like of shape (n_workers,)
        Seconds in which a worker computes the whole data set.
    overhead : float
        Seconds of every message that are no worker's computing.
    payload : callable
        ``payload(index, w, order)`` gives a message that arrives; called in the order of arrival.
    upload : float or array-like of shape (n_workers,), default=0.0
        Seconds in which a worker sends a whole payload, one message after another.
    """

    def __init__(
        self,
        code: GradientCode,
        model: StragglerModel,
        work: ArrayLike,
        overhead: float,
        payload: Callable[[int, Vector | Matrix, int], Payload],
        upload: ArrayLike = 0.0,
    ) -> None:
        if not isinstance(model, StragglerModel):
            raise TypeError(
                f"straggler_model must be a StragglerModel, got {model!r}. "
                "dask_gradcode.stragglers has several."
            )
        refuse_exchanges(code)
        self._code, self._model, self._payload = code, model, payload
        self._work, self._overhead = _checked(work, overhead, code).tolist(), overhead
        self._uplinks = _links(upload, code)
        self._clock, self._round = 0.0, -1
        self._delays: list[float] = []  # of this round, as are the slowdowns
        self._slowdowns: list[float] = []
        # point, or points, and order of each round that somebody may still work on
        self._w: dict[int, tuple[Vector | Matrix, int]] = {}
        self._asked_by = [-1] * code.n_workers  # the newest round that asked a role, its delay
        self._began = [(0.0, 0.0)] * code.n_workers  # from when to when, and what it does after it
        self._agendas = [Agenda(code) for _ in range(code.n_workers)]
        # heap of what is coming: when, kind, message, role, round; void where a newer round has
        # asked the role, or the message is not expected any more then
        self._coming: list[tuple[float, int, int, int, int]] = []
        self._expected: dict[tuple[int, int], float] = {}  # when, by role and message

    def now(self) -> float:
        return self._clock

    def patience(self) -> Patience:
        return Patience()  # a silent worker stays silent

    def begin(self, round: int, w: Vector | Matrix, order: int) -> Sequence[Lost]:
        self._round = round
        self._delays = self._model.delays(round, self._code.n_workers).tolist()
        self._slowdowns = self._model.slowdowns(round, self._code.n_workers).tolist()
        self._w = {number: self._w[number] for number in {*self._asked_by} - {-1}}
        self._w[round] = w, order
        return []

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            role = order.role
            if self._asked_by[role] != self._round:
                self._begin(role)
            match order:
                case Ask(_, messages):
                    pace = self._work[role] * self._slowdowns[role] / self._code.n_blocks
                    for message, when in self._agendas[role].ask(messages, self._clock, pace):
                        self._expect(role, message, when)
                case Yield():  # it reads no orders before its delay is over
                    self._push(max(self._clock, self._began[role][1]), _TOLD, -1, role)
                case Drop(_, messages):
                    self._drop(role, messages)

    def _begin(self, role: int) -> None:
        """Have a role work on this round, after a delay that it may still be in."""
        began, ends = self._began[role]
        wakes_at = ends if began < self._clock else began  # else that delay had not begun yet
        begins = max(wakes_at, self._clock)
        self._asked_by[role] = self._round
        self._began[role] = begins, begins + self._delays[role]
        self._agendas[role].begin(self._began[role][1])
        if self._uplinks is not None:
            self._uplinks.clear(role)
            busy_until = self._uplinks.busy_until(role)
            if busy_until > self._clock:
                self._push(busy_until, _FREE, -1, role)

    def _expect(self, role: int, message: int, when: float) -> None:
        """Have an answer arrive; as long as it is still on its way, when it is ready to be sent."""
        if self._uplinks is not None:
            self._expected[role, message] = when
            self._push(when, _READY, message, role)
            return
        self._expected[role, message] = when + self._overhead
        self._push(when + self._overhead, _ANSWER, message, role)

    def _upload(self, role: int, message: int | None) -> None:
        """Have a role send what it has got ready, or what is next."""
        assert self._uplinks is not None
        if message is None:
            sent = self._uplinks.next(role, self._clock)
        else:
            del self._expected[role, message]
            share = 1.0 / self._code.messages[message].slices.n_slices
            sent = self._uplinks.add(role, message, share, self._clock)
        if sent is not None:
            message, when = sent
            self._push(when + self._overhead, _SENT, message, role)
            self._push(when, _FREE, -1, role)

    def _push(self, when: float, kind: int, message: int, role: int) -> None:
        heapq.heappush(self._coming, (when, kind, message, role, self._round))

    def _drop(self, role: int, messages: Sequence[int]) -> None:
        for message in messages:
            self._expected.pop((role, message), None)
        if self._uplinks is not None:
            self._uplinks.drop(role, messages)
        for message, when in self._agendas[role].drop(messages, self._clock):
            self._expect(role, message, when)

    def _cut(self, role: int) -> None:
        """Have a role send what it has finished, and go on with the block that it is at."""
        agenda = self._agendas[role]
        for message in agenda.unfinished(self._clock):
            self._expected.pop((role, message), None)
        finished, running = agenda.cut(self._clock)
        for message in finished:
            self._expect(role, message, self._clock)
        if running is not None:
            self._expect(role, *running)
        told = -1 if running is None else running[0]
        self._push(self._clock + self._overhead, _YIELDED, told, role)

    def events(self, until: float | None) -> Sequence[Event]:
        while True:
            while self._coming and self._is_void(self._coming[0]):
                heapq.heappop(self._coming)
            when = self._coming[0][0] if self._coming else np.inf
            if until is not None and until < when:
                self._clock = max(self._clock, until)
                return []
            if not self._coming:
                raise InsufficientWorkersError(
                    f"Round {self._round} never ends: all that its plan has asked for is here, and "
                    "its wait rule wants more."
                )
            if when == np.inf:  # what has arrived is all that ever will
                silent = sorted({role for *_, role, _ in self._coming})
                self._coming = []
                return [Lost(role, "it never answers") for role in silent]
            self._clock, kind, message, role, number = heapq.heappop(self._coming)
            if kind == _TOLD:
                self._cut(role)
            elif kind in (_READY, _FREE):
                self._upload(role, message if kind == _READY else None)
            elif kind == _YIELDED:
                return [Yielded(number, role, None if message < 0 else message)]
            else:
                if kind == _ANSWER:
                    del self._expected[role, message]  # which may be told twice, after a drop
                return [Arrived(number, role, message, self._payload(message, *self._w[number]))]

    def _is_void(self, coming: tuple[float, int, int, int, int]) -> bool:
        when, kind, message, role, number = coming
        if number != self._asked_by[role]:
            return True
        return kind in (_ANSWER, _READY) and self._expected.get((role, message)) != when

    def reached(self) -> Mapping[int, float]:
        begins = ((role, began) for role, (began, _) in enumerate(self._began))
        return {
            role: began
            for role, began in begins
            if self._asked_by[role] == self._round and began < self._clock
        }

    def explain(self, round: Round) -> BaseException:
        silent = ", ".join(map(str, round.state.missing()))
        return InsufficientWorkersError(
            f"Round {round.number} never ends: worker(s) {silent} never answer.\n"
            f"The code is {self._code!r}.\nIt tolerates {self._code.tolerance}. Use a code with "
            "more n_stragglers."
        )


def refuse_exchanges(code: GradientCode) -> None:
    """Raise ValueError of a code whose workers send each other what they compute."""
    if code.exchanges:
        raise ValueError(
            f"The workers of {code!r} wait for each other, which the virtual clock does not know. "
            "Each block is needed, so that a round takes as long as one of "
            f"Uncoded({code.n_workers}), and what the exchange takes. ExchangeObjective, "
            "transmissions_needed and blocks_recovered simulate what its links lose."
        )


def _links(upload: ArrayLike, code: GradientCode) -> Uplinks | None:
    """Return the workers' uplinks; None if sending takes no time."""
    seconds = _of_each("upload", upload, code, "seconds >= 0", lambda x: x >= 0)
    if not seconds.any():
        return None
    return Uplinks(np.broadcast_to(seconds, code.n_workers).tolist())


def _checked(work: ArrayLike, overhead: float, code: GradientCode) -> Vector:
    seconds = _of_each("work", work, code, "seconds > 0", lambda x: x > 0)
    if not 0 <= overhead < np.inf:
        raise ValueError(f"overhead must be seconds in the range [0, inf), got {overhead!r}.")
    return np.broadcast_to(seconds, code.n_workers)


def _of_each(
    name: str, given: Any, code: GradientCode, what: str, is_good: Callable[[Vector], Mask]
) -> Vector:
    """Return a number, or one for each worker, after a look at them."""
    try:
        seconds = np.asarray(given, dtype=float)
    except (TypeError, ValueError):  # no numbers
        seconds = np.array(np.nan)
    right = seconds.shape in ((), (code.n_workers,)) and np.isfinite(seconds).all()
    if not right or not is_good(seconds).all():
        raise ValueError(
            f"{name} must be {what}, one number or one for each of the {code.n_workers} workers, "
            f"got {given!r}."
        )
    return seconds
