"""What the client decides while messages arrive."""

from __future__ import annotations

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.codes.summing import Sum
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.rounds.answers import Ask, Done, Stuck, Wait
from dask_gradcode.rounds.events import Arrived, Event, Failed, Lost, Ready, Unplaced
from dask_gradcode.rounds.record import RoundRecord
from dask_gradcode.rounds.rules import WaitRule
from dask_gradcode.typing import Mask, Payload, Vector

__all__ = ["Round"]


class Round:
    """The client's view of one round.

    A message that is not finite although ``w`` is, is put aside and its worker counts as lost, as
    long as others can do without it. If they cannot, whoever may return, the sum is not finite.

    Parameters
    ----------
    number : int
        The round's number; answers to other rounds are dropped.
    code : GradientCode
        How the sum is coded.
    wait : WaitRule
        When to stop waiting.
    started : float
        When the round began, in seconds on the caller's clock.
    block_rows : ndarray of shape (n_blocks,), optional
        Rows of each block, by which an approximate sum is scaled up. None: blocks of equal size.
    w : ndarray of shape (n_parameters,), optional
        The point: messages must fit it in size. None: that is not checked.

    Attributes
    ----------
    doubts : list of Doubt
        What was sent and cannot be right.
    spared : set of int
        Who was not asked, as nobody needed them.
    late : set of int
        Of those who are silent at the end, who straggles; the others are not needed.

    Examples
    --------
    Worker 1 of two replicas answers first; nobody waits for worker 0.

    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import UntilExact
    >>> round_ = Round(0, FractionalRepetition(2, 1), UntilExact(), started=0.0)
    >>> round_.feed(Arrived(0, 1, 1, np.array([3.0, 0.5])), now=0.1)
    Done()
    >>> round_.result()
    array([3. , 0.5])
    """

    def __init__(
        self,
        number: int,
        code: GradientCode,
        wait: WaitRule,
        started: float,
        block_rows: Vector | None = None,
        w: Vector | None = None,
    ) -> None:
        self.number, self.code, self.wait, self.started = number, code, wait, started
        n_messages = len(code.messages)
        self._block_rows = np.ones(code.n_blocks) if block_rows is None else block_rows
        self._decoder = code.decoder()
        self._decoding: Decoding | None = None
        self._sum: Sum | None = code.sum()
        self._inspector = Inspector(code, w)
        self._aside: dict[int, Payload] = {}  # not finite
        self.doubts: list[Doubt] = []
        self.restored: set[int] = set()
        self.placed: set[int] = set()  # for the first time
        self.unplaced: set[int] = set()
        self.spared: set[int] = set()
        self.late: set[int] = set()
        self.seconds = float("nan")
        self.errors: dict[int, BaseException] = {}
        self.losses: dict[int, str] = {}
        self.arrived: Mask = np.zeros(n_messages, dtype=bool)
        self.pending: Mask = np.ones(n_messages, dtype=bool)
        self.arrived_at: Vector = np.full(n_messages, np.nan)
        self.decodable = False
        self._n_left = list(map(len, code.messages_of))  # messages, by role
        self.n_complete = 0  # roles all of whose messages have arrived

    def feed(self, event: Event | None, now: float) -> Done | Wait | Ask | Stuck:
        """Take note of an event and say what to do next.

        Parameters
        ----------
        event : Arrived, Failed, Lost, Unplaced, Ready or None
            What happened; None if only time went by. Answers to other rounds change nothing.
        now : float
            Seconds on the same clock as ``started``.

        Returns
        -------
        Done, Wait, Ask or Stuck
            Once Done, always Done.
        """
        if self._decoding is not None:
            if isinstance(event, Arrived) and event.round == self.number:
                self._note_late(event, now)
            return Done()
        match event:
            case Arrived(number, _, message, payload) if number == self.number:
                if not self.arrived[message]:  # a second copy of an answer changes nothing
                    self._take_in(message, payload, now)
            case Failed(number, role, message, error) if number == self.number:
                self.pending[message] = False
                self.errors[role] = error
            case Lost(role, why) | Unplaced(role, why):
                self.pending[list(self.code.messages_of[role])] = False
                self.losses[role] = why
                if isinstance(event, Unplaced):
                    self.unplaced.add(role)
            case Ready(role, again):
                (self.restored if again else self.placed).add(role)
                return self._ask_again(role, now)
        return self._next(now)

    def accept(self, now: float) -> Done | Wait | Stuck:
        """Take messages that were put aside for what they are: nobody is left to contradict them.

        Parameters
        ----------
        now : float
            Seconds on the same clock as ``started``.

        Returns
        -------
        Done, Wait or Stuck
            What to do next.
        """
        believed = {self.code.messages[message].worker for message in self._aside}
        self.doubts = [doubt for doubt in self.doubts if not believed.issuperset(doubt.roles)]
        for role in believed:
            self.losses.pop(role, None)
        for message, payload in list(self._aside.items()):
            self._add(message, payload)
        return self._next(now)

    def _take_in(self, message: int, payload: Payload, now: float) -> None:
        self.pending[message] = False
        self.arrived_at[message] = now - self.started
        doubt = self._doubt(message, payload)
        if doubt is None or len(doubt.roles) > 1:  # of two that differ either may be right
            self._add(message, payload)
            return
        self.losses[self.code.messages[message].worker] = doubt.what
        if self._inspector.fits(payload):
            self._aside[message] = payload

    def _doubt(self, message: int, payload: Payload) -> Doubt | None:
        doubt = self._inspector.doubt(message, payload)
        if doubt is not None:
            self.doubts.append(doubt)
        return doubt

    def _add(self, message: int, payload: Payload) -> None:
        assert self._sum is not None
        self._aside.pop(message, None)
        self.arrived[message] = True
        role = self.code.messages[message].worker
        self._n_left[role] -= 1
        self.n_complete += self._n_left[role] == 0
        self._sum.add(message, payload)
        self.decodable = self._decoder.add(message)

    def _note_late(self, event: Arrived, now: float) -> None:
        if np.isnan(self.arrived_at[event.message]):
            self.arrived_at[event.message] = now - self.started
            self._doubt(event.message, event.payload)

    def _next(self, now: float) -> Done | Wait | Stuck:
        self._decoding = self.wait.settle(self, now)
        if self._decoding is not None:
            self.seconds = now - self.started
            return Done()
        if self.wait.hopeless(self):
            return self.accept(now) if self._is_agreed() else Stuck(self.missing_roles())
        return Wait(self.wait.until(self.started))

    def _is_agreed(self) -> bool:
        """Say whether no return of a lost worker could do without the messages put aside."""
        if not self._aside:
            return False
        others = np.ones(len(self.code.messages), dtype=bool)
        others[list(self._aside)] = False
        return not self.code.can_decode(others)

    def _ask_again(self, role: int, now: float) -> Done | Wait | Ask | Stuck:
        self.losses.pop(role, None)
        self.errors.pop(role, None)
        self.unplaced.discard(role)
        again = tuple(
            message
            for message in self.code.messages_of[role]
            if not self.arrived[message] and not self.pending[message]
        )
        self.pending[list(again)] = True
        return Ask(role, again) if again else self._next(now)

    def decode(self) -> Decoding:
        """Return the best decoding of what has arrived."""
        return self._decoder.decode()

    def missing_roles(self) -> tuple[int, ...]:
        """Return the workers of which a message has not arrived."""
        return tuple(sorted({self.code.messages[i].worker for i in np.flatnonzero(~self.arrived)}))

    @property
    def out_of_time(self) -> bool:
        """Whether the wait rule's time was up when the round ended."""
        until = self.wait.until(self.started)
        return until is not None and self.started + self.seconds >= until

    def silent_roles(self) -> tuple[int, ...]:
        """Return the workers that had not answered in full when the round ended."""
        in_time = self.arrived_at <= self.seconds  # NaN is not
        return tuple(sorted({self.code.messages[i].worker for i in np.flatnonzero(~in_time)}))

    def result(self) -> Vector:
        """Return value and gradient of the whole data set.

        Returns
        -------
        ndarray of shape (1 + n_parameters,)
            The value, then the gradient. An approximate sum is scaled up to the whole data set by
            the rows that it counts.

        Raises
        ------
        RuntimeError
            If the round has not enough messages yet, or they have been let go.
        """
        decoding = self._settled()
        if self._sum is None:
            raise RuntimeError(f"The messages of round {self.number} have been let go.")
        total = self._sum.total(decoding)
        if not self.decodable:
            covered = decoding.weights @ self.code.encoding_matrix
            total = total * (self._block_rows.sum() / (covered @ self._block_rows))
        return total

    def forget(self) -> None:
        """Let go of the messages; what comes late can still be noted and compared."""
        self._sum = None
        self._aside.clear()

    def record(self, value: float, grad_norm: float) -> RoundRecord:
        """Return what the round did; ``arrived_at`` stays open for messages that come late."""
        decoding = self._settled()
        absent = set(self.losses) | set(self.errors)
        silent = set(self.silent_roles()) - absent
        return RoundRecord(
            round=self.number,
            value=value,
            grad_norm=grad_norm,
            seconds=self.seconds,
            arrived_at=self.arrived_at,
            used=decoding.weights != 0.0,
            late=tuple(sorted(silent & self.late)),
            lost=tuple(sorted(absent - self.unplaced)),
            residual=decoding.residual,
            amplification=decoding.amplification,
            exact=self.decodable,
            restored=tuple(sorted(self.restored)),
            spared=tuple(sorted(silent & self.spared)),
            not_needed=tuple(sorted(silent - self.late)),
            unplaced=tuple(sorted(absent & self.unplaced)),
            placed=tuple(sorted(self.placed)),
        )

    def _settled(self) -> Decoding:
        if self._decoding is None:
            raise RuntimeError(f"Round {self.number} has not enough messages yet.")
        return self._decoding
