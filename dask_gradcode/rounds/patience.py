"""How long a round waits for those without whom it cannot end."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

__all__ = ["Patience", "Waiting"]


@dataclass(frozen=True)
class Patience:
    """How long a round waits for those without whom it cannot end.

    Slow workers are waited for, as long as something comes now and then. Silent ones, and lost ones
    that may be replaced, are waited for from the moment at which the others are not enough.

    Parameters
    ----------
    recover : float, default=0.0
        Seconds to wait for the lost to be replaced and the silent to wake, once the others are not
        enough. 0: nobody ever comes back.
    answer : float, default=inf
        Seconds without any answer after which the round is given up.

    Examples
    --------
    >>> Patience(recover=60.0)
    Patience(recover=60.0, answer=inf)
    """

    recover: float = 0.0
    answer: float = inf


class Waiting:
    """For how long a round has been waiting, by its patience.

    Parameters
    ----------
    patience : Patience
        For how long it may.
    now : float
        When the round begins.

    Attributes
    ----------
    heard : float
        When the last answer came.
    """

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self.heard = now
        self._helpless_since: float | None = None

    def hope(self) -> None:
        """Note that those who are there can still be enough."""
        self._helpless_since = None

    @property
    def is_hopeful(self) -> bool:
        """Whether those who are there can still be enough, as far as is known."""
        return self._helpless_since is None

    def has_waited(self, now: float) -> bool:
        """Note that those who are there are not enough; say whether that has lasted too long."""
        if self._helpless_since is None:
            self._helpless_since = now
        return now >= self._helpless_since + self._patience.recover  # as look_at has it

    def is_overdue(self, now: float) -> bool:
        """Say whether no answer has come for too long."""
        return now >= self.heard + self._patience.answer

    def look_at(self) -> float | None:
        """Return when one of the two is due, if nothing happens before."""
        times = []
        if self._patience.answer < inf:
            times.append(self.heard + self._patience.answer)
        if self._helpless_since is not None:
            times.append(self._helpless_since + self._patience.recover)
        return min(times, default=None)
