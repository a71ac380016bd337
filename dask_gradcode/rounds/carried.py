"""What a round is told of earlier ones, under a rule that remembers what they have left."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Busy", "Carried", "Free", "Slow", "Stale"]


@dataclass(frozen=True)
class Busy:
    """A role still works on what an older round has asked it for.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Busy(role=1)
    Busy(role=1)
    """

    role: int


@dataclass(frozen=True)
class Free:
    """A role has done what an older round had asked it for.

    Parameters
    ----------
    role : int
        The code worker.
    slow : bool, default=False
        Whether that has taken it clearly longer than others take.

    Examples
    --------
    >>> Free(role=1)
    Free(role=1, slow=False)
    """

    role: int
    slow: bool = False


@dataclass(frozen=True)
class Slow:
    """A role's last answer has taken clearly longer than others take.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Slow(role=1)
    Slow(role=1)
    """

    role: int


@dataclass(frozen=True)
class Stale:
    """A message of an older round is there, and it is known how much such ones change.

    Parameters
    ----------
    role : int
        The code worker that has sent it.
    message : int
        Its index in ``code.messages``.
    age : int
        How many rounds ago its point was the newest.

    Examples
    --------
    >>> Stale(role=1, message=1, age=3)
    Stale(role=1, message=1, age=3)
    """

    role: int
    message: int
    age: int


class Carried:
    """What is known in a round of what earlier ones have left.

    Attributes
    ----------
    busy : set of int
        Roles that still work on what an older round has asked them for.
    slow : set of int
        Roles that take clearly longer than others.
    ages : dict of int to int
        How many rounds old what is remembered of each message is, where it may stand in for it.

    Examples
    --------
    >>> carried = Carried()
    >>> for event in Busy(role=1), Stale(role=1, message=1, age=8), Free(role=1, slow=True):
    ...     carried.note(event)
    >>> carried.busy, carried.slow, carried.ages
    (set(), {1}, {1: 8})
    """

    def __init__(self) -> None:
        self.busy: set[int] = set()
        self.slow: set[int] = set()
        self.ages: dict[int, int] = {}

    def note(self, event: Busy | Free | Slow | Stale) -> None:
        """Note what a round is told."""
        match event:
            case Busy(role):
                self.busy.add(role)
            case Free(role, slow):
                self.release(role)
                (self.slow.add if slow else self.slow.discard)(role)
            case Slow(role):
                self.slow.add(role)
            case Stale(_, message, age):
                self.ages[message] = age

    def release(self, role: int) -> None:
        """Note that a role works on nothing older, whatever has become of it."""
        self.busy.discard(role)
