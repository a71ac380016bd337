"""When a round has enough messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.rounds.memory import Memory
from dask_gradcode.rounds.reach import could_decode
from dask_gradcode.rounds.state import State

__all__ = ["Deadline", "Fastest", "UntilExact", "WaitRule", "rule_for"]


class WaitRule(ABC):
    """When a round has enough messages.

    Attributes
    ----------
    exact : bool
        Whether every result is the exact sum. Solvers with line searches need that.

    Examples
    --------
    A rule of one's own says in ``settle`` whether the round has enough. This one wants the exact
    sum and at least ``n`` answers:

    >>> class AtLeast(UntilExact):
    ...     n = 2
    ...
    ...     def settle(self, state, now):
    ...         return super().settle(state, now) if len(state.answers) >= self.n else None
    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Arrived, Round
    >>> round_ = Round(0, FractionalRepetition(3, 2), AtLeast())
    >>> _ = round_.begin([], now=0.0)
    >>> _ = round_.handle(Arrived(0, 1, 0, np.zeros(2)), now=0.1)
    >>> round_.outcome
    >>> _ = round_.handle(Arrived(0, 2, 0, np.zeros(2)), now=0.2)
    >>> round_.outcome
    Done()
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def settle(self, state: State, now: float) -> Decoding | None:
        """Return the decoding to use if the round has enough, None if not."""

    def until(self, started: float) -> float | None:
        """Return when to look again if nothing happens, in seconds on the clock of ``started``."""
        return None

    def look_at(self, state: State) -> float | None:
        """Return the same, as far as it can be said by now; the time of a round may move."""
        return self.until(state.started)

    def hopeless(self, state: State) -> bool:
        """Say whether ``settle`` can never succeed with what may still arrive."""
        return not state.pending.any() and not state.arrived.any()

    def memory(self, code: GradientCode) -> Memory | None:
        """Return what keeps older sums for a fit; None if none stands in for what is missing."""
        return None

    def check(self, code: GradientCode) -> None:
        """Raise ValueError if the rule makes no sense for a code."""
        if self.exact and not code.is_exact:
            raise ValueError(
                f"{self!r} waits for an exact sum, and that of {type(code).__name__} never is.\n"
                "Use wait=Deadline(seconds) or Fastest(n_workers), or another code."
            )


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

    def settle(self, state: State, now: float) -> Decoding | None:
        if not state.decodable:
            return None
        decoding = state.decode()
        good = decoding.amplification <= self.max_amplification
        return decoding if good or not state.pending.any() else None

    def hopeless(self, state: State) -> bool:
        # this costs a pass over the messages, so it is asked only after a loss
        if state.decodable or not (state.lost or state.errors or state.absent or state.parts):
            return False
        return not could_decode(state, state.arrived | state.pending)


@dataclass(frozen=True)
class Fastest(WaitRule):
    """Wait for the fastest workers only and ignore the others: the paper's biased baseline.

    A round ends before if the sum is exact already, as it may be where blocks are held twice. If
    not, the sum over the blocks that were counted is scaled up to the whole data set by their rows.

    Parameters
    ----------
    n_workers : int
        How many workers to wait for.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 6
       ("ignoring stragglers").
    .. [2] Wang, Charles and Papailiopoulos, "ErasureHead", arXiv 1901.09671: the same with groups
       of replicas.

    Examples
    --------
    >>> Fastest(3)
    Fastest(n_workers=3)
    """

    n_workers: int

    def settle(self, state: State, now: float) -> Decoding | None:
        if state.decodable or state.n_complete >= self.n_workers:
            return _something(state)
        # only a loss can leave fewer: then all that came, if nothing more can
        lossy = bool(state.lost or state.errors or state.absent)
        return _something(state) if lossy and not state.pending.any() else None

    def hopeless(self, state: State) -> bool:
        return not state.pending.any() and _something(state) is None

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

    def settle(self, state: State, now: float) -> Decoding | None:
        over = now >= self.until(state.started) or not state.pending.any()
        return _something(state) if state.decodable or over else None

    def hopeless(self, state: State) -> bool:
        return not state.pending.any() and _something(state) is None

    def until(self, started: float) -> float:
        return started + self.seconds


def rule_for(code: GradientCode, wait: WaitRule | None) -> WaitRule:
    """Return a rule that fits a code; by default the sum is exact.

    Raises
    ------
    TypeError
        If it is no rule.
    ValueError
        If it makes no sense for the code.
    """
    rule = UntilExact() if wait is None else wait
    if not isinstance(rule, WaitRule):
        raise TypeError(
            f"wait must be a WaitRule, such as Deadline(0.5) or Remember(), got {wait!r}. "
            "dask_gradcode.rounds has several."
        )
    rule.check(code)
    return rule


def _something(state: State) -> Decoding | None:
    """Return the best decoding of what has arrived; None if that tells nothing."""
    if not state.arrived.any():
        return None
    decoding = state.decode()
    return decoding if decoding.used.any() else None
