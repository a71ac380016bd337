"""One round: what the client decides while messages arrive. No Dask, no clock, no threads.

A transport on a cluster, the simulator's virtual clock and the in-process objective all feed a
:class:`Round` the same events and do what it answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.codes.summing import Sum
from dask_gradcode.inspection import Doubt, Inspector
from dask_gradcode.typing import Mask, Payload, Vector

__all__ = [
    "Arrived",
    "Ask",
    "Deadline",
    "Done",
    "Event",
    "Failed",
    "Fastest",
    "InsufficientWorkersError",
    "Lost",
    "Ready",
    "Round",
    "RoundRecord",
    "Stuck",
    "UntilExact",
    "Wait",
    "WaitRule",
]


class InsufficientWorkersError(RuntimeError):
    """Too few workers are left to decode, or to hold the blocks; the text names who is missing.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import NeverAnswers
    >>> try:
    ...     simulate(Uncoded(4), NeverAnswers(workers=[2]))
    ... except InsufficientWorkersError as error:
    ...     print(error)
    Round 0 never ends: worker(s) 2 never answer.
    The code is Uncoded(n_workers=4).
    It tolerates 0 silent worker(s), whoever they are. Use a code with more n_stragglers.
    """


# ---------------------------------------------------------------- what can happen in a round


@dataclass(frozen=True, eq=False)
class Arrived:
    """A message arrived.

    Parameters
    ----------
    round : int
        The number of the round that it answers.
    role : int
        The code worker that sent it.
    message : int
        Its index in ``code.messages``.
    payload : ndarray of shape (1 + n_parameters,) or Part
        The worker's combination of its block values, then of its block gradients.

    Examples
    --------
    >>> event = Arrived(round=0, role=1, message=1, payload=np.array([3.0, 0.5]))
    >>> event.payload
    array([3. , 0.5])
    """

    round: int
    role: int
    message: int
    payload: Payload


@dataclass(frozen=True, eq=False)
class Failed:
    """Computing a message raised; it will not arrive in this round.

    Parameters
    ----------
    round : int
        The number of the round that it should have answered.
    role : int
        The code worker that should have sent it.
    message : int
        Its index in ``code.messages``.
    error : BaseException
        What was raised.

    Examples
    --------
    >>> Failed(round=0, role=1, message=1, error=ZeroDivisionError("division by zero")).error
    ZeroDivisionError('division by zero')
    """

    round: int
    role: int
    message: int
    error: BaseException


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with all it had not yet sent.

    Parameters
    ----------
    role : int
        The code worker that it was.
    why : str
        What is known of it, for the texts of errors.

    Examples
    --------
    >>> Lost(role=1, why="its process ended")
    Lost(role=1, why='its process ended')
    """

    role: int
    why: str


@dataclass(frozen=True)
class Ready:
    """A role can answer again: its blocks are on a worker that lives.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Ready(role=1)
    Ready(role=1)
    """

    role: int


Event = Arrived | Failed | Lost | Ready
"""What can happen in a round."""


# ---------------------------------------------------------------- what a round answers


@dataclass(frozen=True)
class Done:
    """Enough has arrived: ``round.result()`` is the sum.

    Examples
    --------
    >>> Done() == Done()
    True
    """


@dataclass(frozen=True)
class Wait:
    """Wait for the next event.

    Parameters
    ----------
    until : float, optional
        When to look again if nothing happens, in seconds on the caller's clock. None: no need to.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> Round(0, Uncoded(2), Deadline(0.5), started=10.0).feed(None, now=10.1)
    Wait(until=10.5)
    """

    until: float | None = None


@dataclass(frozen=True)
class Ask:
    """Ask a role for more messages in this round.

    Parameters
    ----------
    role : int
        The code worker.
    messages : tuple of int
        Indices in ``code.messages``.

    Examples
    --------
    A worker was lost, and its role is on another one now:

    >>> from dask_gradcode.codes import Uncoded
    >>> round_ = Round(0, Uncoded(2), UntilExact(), started=0.0)
    >>> round_.feed(Lost(1, "its process ended"), now=0.1)
    Stuck(missing=(0, 1))
    >>> round_.feed(Ready(1), now=0.2)
    Ask(role=1, messages=(1,))
    """

    role: int
    messages: tuple[int, ...]


@dataclass(frozen=True)
class Stuck:
    """What has arrived and what still can is not enough.

    Parameters
    ----------
    missing : tuple of int
        The roles of which a message has not arrived.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> round_ = Round(0, Uncoded(2), UntilExact(), started=0.0)
    >>> round_.feed(Arrived(0, 0, 0, np.zeros(2)), now=0.1)
    Wait(until=None)
    >>> round_.feed(Lost(1, "its process ended"), now=0.2)
    Stuck(missing=(1,))
    """

    missing: tuple[int, ...]


# ---------------------------------------------------------------- when to stop waiting


class WaitRule(ABC):
    """When a round has enough messages.

    Attributes
    ----------
    exact : bool
        Whether every result is the exact sum. Solvers with line searches need that.

    Examples
    --------
    A rule of one's own says in ``settle`` whether the round has enough. This one wants the exact
    sum and at least ``n`` messages:

    >>> class AtLeast(UntilExact):
    ...     n = 2
    ...
    ...     def settle(self, round, now):
    ...         return super().settle(round, now) if round.arrived.sum() >= self.n else None
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> round_ = Round(0, FractionalRepetition(3, 2), AtLeast(), started=0.0)
    >>> round_.feed(Arrived(0, 1, 1, np.zeros(2)), now=0.1)
    Wait(until=None)
    >>> round_.feed(Arrived(0, 2, 2, np.zeros(2)), now=0.2)
    Done()
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def settle(self, round: Round, now: float) -> Decoding | None:
        """Return the decoding to use if the round has enough, else None."""

    def until(self, started: float) -> float | None:
        """Return when to look again if nothing happens, in seconds on the clock of ``started``."""
        return None

    def hopeless(self, round: Round) -> bool:
        """Say whether ``settle`` can never succeed with what may still arrive."""
        return not round.pending.any() and not round.arrived.any()

    def check(self, code: GradientCode) -> None:
        """Raise ValueError if the rule makes no sense for a code."""
        return


@dataclass(frozen=True)
class UntilExact(WaitRule):
    """Wait until the sum can be decoded exactly.

    Parameters
    ----------
    max_amplification : float, default=1e6
        When a decoding would multiply rounding errors by more than this, wait for one more message
        while any can still come.

    Examples
    --------
    >>> UntilExact()
    UntilExact(max_amplification=1000000.0)
    """

    max_amplification: float = 1e6
    exact: ClassVar[bool] = True

    def settle(self, round: Round, now: float) -> Decoding | None:
        if not round.decodable:
            return None
        decoding = round.decode()
        good = decoding.amplification <= self.max_amplification
        return decoding if good or not round.pending.any() else None

    def hopeless(self, round: Round) -> bool:
        # can_decode costs a pass over the messages, so it is asked only after a loss.
        if round.decodable or not (round.losses or round.errors):
            return False
        return not round.code.can_decode(round.arrived | round.pending)


@dataclass(frozen=True)
class Fastest(WaitRule):
    """Wait for the fastest workers only and ignore the others: the paper's biased baseline.

    The sum over the blocks that were counted is scaled up to the whole data set by their rows.

    Parameters
    ----------
    n_workers : int
        How many workers to wait for.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 6
       ("ignoring stragglers").

    Examples
    --------
    >>> Fastest(3)
    Fastest(n_workers=3)
    """

    n_workers: int

    def settle(self, round: Round, now: float) -> Decoding | None:
        if round.n_complete >= self.n_workers:
            return round.decode()
        # only a loss can leave fewer: then all that came, if nothing more can
        lossy = bool(round.losses or round.errors)
        over = lossy and round.arrived.any() and not round.pending.any()
        return round.decode() if over else None

    def check(self, code: GradientCode) -> None:
        whole = isinstance(self.n_workers, Integral) and not isinstance(self.n_workers, bool)
        if not whole or not 1 <= self.n_workers <= code.n_workers:
            raise ValueError(
                f"Fastest needs n_workers between 1 and the code's {code.n_workers}, "
                f"got {self.n_workers!r}."
            )


@dataclass(frozen=True)
class Deadline(WaitRule):
    """Wait until the sum is exact or time is up, then take the best approximation there is.

    At least one message is waited for; what is missing is recorded as the round's residual.

    Parameters
    ----------
    seconds : float
        Time from the start of the round.

    Examples
    --------
    >>> Deadline(0.5)
    Deadline(seconds=0.5)
    """

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, Real) or not self.seconds > 0:
            raise ValueError(f"Deadline needs seconds > 0, got {self.seconds!r}.")

    def settle(self, round: Round, now: float) -> Decoding | None:
        over = now >= self.until(round.started) or not round.pending.any()
        return round.decode() if round.decodable or (over and round.arrived.any()) else None

    def until(self, started: float) -> float:
        return started + self.seconds


# ---------------------------------------------------------------- the round itself


@dataclass(frozen=True, eq=False)
class RoundRecord:
    """What one round did.

    Parameters
    ----------
    round : int
        Its number, from 0.
    value : float
        The objective's value, as the solver sees it.
    grad_norm : float
        ``max |gradient|``, as the solver sees it.
    seconds : float
        From the start of the round until it had enough.
    arrived_at : ndarray of shape (n_messages,)
        Seconds after the start at which each message arrived, NaN if it never did. Messages that
        came too late for the round are entered when they come.
    used : ndarray of bool, shape (n_messages,)
        Which messages the sum was decoded from.
    late : tuple of int
        Workers that had not answered when the round ended, although they were asked.
    lost : tuple of int
        Workers that could not answer, or whose answer could not be right: dead, frozen, in error.
    residual : float
        ``max |weights @ B - 1|``: above rounding, the sum is approximate.
    amplification : float
        How much the decoding multiplied rounding errors.
    exact : bool
        Whether the sum is the exact one.
    restored : tuple of int
        Workers that had been lost and could answer again from this round on.
    spared : tuple of int
        Workers that were not asked, as the others were enough and in time.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> record = simulate(Uncoded(2), FixedDelay(3.0, workers=[1]), n_rounds=1)[0]
    >>> record.seconds, record.arrived_at, record.late
    (3.5, array([0.5, 3.5]), ())
    """

    round: int
    value: float
    grad_norm: float
    seconds: float
    arrived_at: Vector
    used: Mask
    late: tuple[int, ...]
    lost: tuple[int, ...]
    residual: float
    amplification: float
    exact: bool
    restored: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()


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

    Examples
    --------
    Worker 1 of two replicas answers first; nobody waits for worker 0.

    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
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
        self.spared: set[int] = set()
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
        event : Arrived, Failed, Lost, Ready or None
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
            case Lost(role, why):
                self.pending[list(self.code.messages_of[role])] = False
                self.losses[role] = why
            case Ready(role):
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
        self.restored.add(role)
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
        lost = tuple(sorted(set(self.losses) | set(self.errors)))
        spared = tuple(sorted(self.spared.difference(lost)))
        excused = {*lost, *spared}
        return RoundRecord(
            round=self.number,
            value=value,
            grad_norm=grad_norm,
            seconds=self.seconds,
            arrived_at=self.arrived_at,
            used=decoding.weights != 0.0,
            late=tuple(role for role in self.missing_roles() if role not in excused),
            lost=lost,
            residual=decoding.residual,
            amplification=decoding.amplification,
            exact=self.decodable,
            restored=tuple(sorted(self.restored)),
            spared=spared,
        )

    def _settled(self) -> Decoding:
        if self._decoding is None:
            raise RuntimeError(f"Round {self.number} has not enough messages yet.")
        return self._decoding
