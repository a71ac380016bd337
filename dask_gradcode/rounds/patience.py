"""How long a round waits for the workers without which it cannot end."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

__all__ = ["Patience", "Waiting"]


@dataclass(frozen=True)
class Patience:
    """How long a round waits for the workers without which it cannot end.

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

    Attributes
    ----------
    heard : float
        When the last answer came, or the round began.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._patient_until = inf  # while the roles that are there can still be enough
        self.hear(0.0)

    def hear(self, now: float) -> None:
        """Note that the round begins, or that an answer has come."""
        self.heard, self._overdue_at = now, now + self._patience.answer

    def hope(self) -> None:
        """Note that the roles that are there can still be enough."""
        self._patient_until = inf

    @property
    def may_hope(self) -> bool:
        """Whether anybody may come back."""
        return self._patience.recover > 0

    @property
    def is_hopeful(self) -> bool:
        """Whether the roles that are there can still be enough, as far as is known."""
        return self._patient_until == inf

    def has_waited(self, now: float) -> bool:
        """Note that the roles there are not enough; say whether that has lasted too long."""
        if self._patient_until == inf:
            self._patient_until = now + self._patience.recover
        return now >= self._patient_until

    def is_overdue(self, now: float) -> bool:
        """Say whether no answer has come for too long."""
        return now >= self._overdue_at

    def look_at(self) -> float:
        """Return when one of the two is due, if nothing happens before; inf is never."""
        overdue_at, patient_until = self._overdue_at, self._patient_until
        return overdue_at if overdue_at < patient_until else patient_until
