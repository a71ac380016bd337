"""When a round has enough messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

from dask_gradcode.codes import Decoding, GradientCode

if TYPE_CHECKING:
    from dask_gradcode.rounds.round import Round

__all__ = ["Deadline", "Fastest", "UntilExact", "WaitRule"]


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
    >>> import numpy as np
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Arrived, Round
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
